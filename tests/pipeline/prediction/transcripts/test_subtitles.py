"""SubRip and WebVTT as people have them: times, markup, sounds, identifiers, rolling captions, encodings."""

from pathlib import Path

import pytest

from pipeline.prediction.transcripts import read_transcript
from tests.pipeline.prediction.transcripts.files import essence, read, said, srt

VTT = """WEBVTT - a talk
Kind: captions

NOTE nobody says
this: line

STYLE
::cue { color: red }

intro
00:00.500 --> 00:02.000 align:start
<v.loud Ann Lee>Hi <i.x>you</i></v> <v Bob>Yo &lt;b&gt; &#33;</v>

00:02.000 --> 00:03.000
<v Ann Lee>How many?
42

00:03.000 --> 00:04.000
Bob: <c.yellow>ok</c> <lang en>then</lang>

a stray line

last
00:04.000 --> 00:05.000
<v>And <00:00:04.500>so</v>
"""
YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:03.429 align:start position:0%
@
so<00:00:00.960><c> where</c><00:00:01.520><c> were</c><00:00:02.159><c> you</c>

00:00:03.429 --> 00:00:03.439 align:start position:0%
so where were you
@

00:00:03.439 --> 00:00:05.749 align:start position:0%
so where were you
at<00:00:03.760><c> home</c>

00:00:05.749 --> 00:00:05.759 align:start position:0%
at home
@

00:00:05.759 --> 00:00:07.000 align:start position:0%
at home
all<00:00:06.000><c> day</c>
""".replace("@", " ")


@pytest.mark.parametrize(
    ("times", "start", "end"),
    [
        ("00:00:03,5 --> 00:00:04,25", 3.5, 4.25),
        ("00:00:03.500 --> 00:00:04.250", 3.5, 4.25),
        ("00:01,500 --> 00:02,250", 1.5, 2.25),
        ("1:02 --> 75:00", 62.0, 4500.0),
        ("1:02:03 --> 100:00:00,001", 3723.0, 360000.001),
        ("00 : 00 : 01 , 500 -->00:00:02,000 X1:40 Y1:20", 1.5, 2.0),
        ("00:00:01,500 -> 00:00:02,000", 1.5, 2.0),
        ("00:00:01,500 → 00:00:02,000", 1.5, 2.0),
    ],
)
def test_times_are_those_that_stand_there(tmp_path: Path, times: str, start: float, end: float) -> None:
    assert essence(read(tmp_path, ".srt", f"1\n{times}\nAnn: Hi\n")) == [("Ann", "Hi", start, end)]


def test_vtt_has_voices_identifiers_comments_and_settings(tmp_path: Path) -> None:
    found = read(tmp_path, ".vtt", VTT)
    assert essence(found) == [
        ("Ann Lee", "Hi you", 0.5, 1.143), ("Bob", "Yo <b> !", 1.143, 2.0), ("Ann Lee", "How many? 42", 2.0, 3.0),
        ("Bob", "ok then", 3.0, 4.0), ("Bob", "And so", 4.0, 5.0),
    ]  # fmt: skip
    assert "1 lines stand outside of any subtitle, and were passed over" in found.notes


def test_a_less_than_sign_is_text_and_a_tag_is_not(tmp_path: Path) -> None:
    texts = ['<font color="#ff0">Ann: I <3 you & me</font>', "<b>Bob:</b> 5 < 6 and 7 > 3", "Ann: a <b and c> d <y>",
             "Bob: if x<i then<br/>i{\\an8}>x &amp; &eacute;&notit; R&D", "{\\i1}Ann:{\\i0} {braces}"]  # fmt: skip
    assert said(read(tmp_path, ".srt", srt(*texts))) == [
        ("Ann", "I <3 you & me"), ("Bob", "5 < 6 and 7 > 3"), ("Ann", "a <b and c> d <y>"),
        ("Bob", "if x<i then i>x & é¬it; R&D"), ("Ann", "{braces}"),
    ]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tag", ["<v" + "." * 60, "<v" + " " * 60_000, "<v" + "\t" * 60_000, "<p " + "=" * 60_000,
                                 "(" + "9" * 60_000 + "a)"])  # fmt: skip
def test_a_long_tag_that_never_ends_is_text_and_takes_no_time(tmp_path: Path, tag: str) -> None:
    assert "here" in said(read(tmp_path, ".srt", srt(f"Ann: look {tag} here", f"{tag} so", "Bob: ok")))[0][1]
    whole = read(tmp_path, ".srt", srt("<v.loud.low.   Ann Lee>Hi</v>", '<p class="a=b">Bob: Yo</p>'))
    assert said(whole) == [("Ann Lee", "Hi"), ("Bob", "Yo")]


def test_numbers_of_subtitles_are_told_from_numbers_that_are_said(tmp_path: Path) -> None:
    times = "00:00:0{0},000 --> 00:00:0{0},900\n"
    no_numbers = f"{times.format(1)}Ann: How many?\n42\n\n{times.format(2)}Bob: 7\n8\n"
    assert said(read(tmp_path, ".srt", no_numbers)) == [("Ann", "How many? 42"), ("Bob", "7 8")]
    no_blanks = f"1\n{times.format(1)}Ann: Hi\n2\n{times.format(2)}Bob: Yo\n"
    assert said(read(tmp_path, ".srt", no_blanks)) == [("Ann", "Hi"), ("Bob", "Yo")]
    blanks = f"10\n{times.format(1)}Ann: Hi\n\nthere\n\n11\n\n{times.format(2)}\n\n12\n{times.format(3)}Bob: Yo\n\n"
    found = read(tmp_path, ".srt", blanks.replace("11\n\n", "2\n\n"))
    assert said(found) == [("Ann", "Hi there"), ("Bob", "Yo")]
    assert found.notes == ["1 subtitles are empty: passed over"]
    same_line = "1\n00:00:01,000 --> 00:00:02,000 Ann: Hi there\n"
    assert said(read(tmp_path, ".srt", same_line)) == [("Ann", "Hi there")]


def test_an_arrow_that_is_said_is_no_time(tmp_path: Path) -> None:
    assert said(read(tmp_path, ".srt", srt("Ann: go --> there", "Bob: 5 -> 7"))) == [
        ("Ann", "go --> there"), ("Bob", "5 -> 7")
    ]  # fmt: skip


def test_rolling_captions_say_each_line_once(tmp_path: Path) -> None:
    youtube = read(tmp_path, ".vtt", YOUTUBE)
    assert essence(youtube) == [
        ("speaker", "so where were you", 0.16, 3.429), ("speaker", "at home", 3.439, 5.749),
        ("speaker", "all day", 5.759, 7.0),
    ]  # fmt: skip
    assert youtube.notes[0] == "the captions roll: 4 lines that repeat the caption before were left out"
    assert len(youtube.notes) == 2
    rolled = read(tmp_path, ".srt", srt("so where\nwere you", "were you\nall day", "all day\n>> at home", ">> at home"))
    assert [line.text for line in rolled.lines] == ["so where were you", "all day", "at home"]
    grown = read(tmp_path, ".srt", srt("so", "so where", "so where were you", "I", "I was"))
    assert essence(grown) == [("speaker", "so where were you", 0.0, 6.0), ("speaker", "I was", 6.0, 10.0)]


def test_what_is_said_twice_stays_twice(tmp_path: Path) -> None:
    found = read(tmp_path, ".srt", srt("Ann: No.", "No.", "No.\nNever.", "Bob: Yes.", "Yes.", "Yes, Ann."))
    assert [line.text for line in found.lines] == ["No.", "No.", "No. Never.", "Yes.", "Yes.", "Yes, Ann."]


def test_sounds_and_music_are_nobodys_words(tmp_path: Path) -> None:
    texts = ["[door slams]", "♪ la la ♪", "(LAUGHS)", "♪ la\nla ♪", "# la la #", "（笑）", "*sighs*",
             "Ann: (laughs) Oh [crying] no. (SIGHS)", "Bob: I saw him (the tall one).",
             "[sighs] Ann: ♪ hm ♪ Well (sobs)…", "[GUNSHOT] Run!", "Bob: (angrily)", "Yes."]  # fmt: skip
    found = read(tmp_path, ".srt", srt(*texts))
    assert said(found) == [
        ("Ann", "Oh no."), ("Bob", "I saw him (the tall one)."), ("Ann", "Well …"), ("Ann", "Run!"), ("Bob", "Yes.")
    ]  # fmt: skip
    assert found.notes == [
        "8 times there are no words, only sounds or music (the first: subtitle 1, '[door slams]'): passed over"
    ]


def test_a_subtitle_without_length_is_marked_and_the_others_are_not(tmp_path: Path) -> None:
    content = srt("Ann: Hi", "Bob: Yo", "Ann: So", "Bob: Ok").replace("--> 00:00:04", "--> 00:00:02")
    found = read(tmp_path, ".srt", content.replace("--> 00:00:06", "--> 00:00:03"))
    assert [line.problem for line in found.lines] == [
        "", "subtitle 2: ends at 2 s, not after its start 2 s", "subtitle 3: ends at 3 s, not after its start 4 s", ""
    ]  # fmt: skip
    assert found.notes == ["2 subtitles have no length, because they do not end after their start: they are predicted "
                           "from their words alone"]  # fmt: skip


@pytest.mark.parametrize("reference", ["&#" + "1" * 5000 + ";", "&#x" + "f" * 5000 + ";", "&#99999999;"])
def test_a_reference_to_no_character_is_a_gap(tmp_path: Path, reference: str) -> None:
    assert said(read(tmp_path, ".srt", srt(f"Ann: {reference}!")))[0] == ("Ann", "\ufffd!")


SENTENCES = {
    "cp1251": ("Анна: Где ты был?", "Борис: Дома."),
    "koi8_r": ("Анна: Где ты был вчера вечером? Я тебя ждала.", "Борис: Дома. Я не знал, что ты придёшь. Прости меня."),
    "cp1252": ("Zoé: Où étais-tu ? Je t'ai attendue — “ça va” ?", "Paul: Très bien, à bientôt."),
    "cp1250": ("Jan: Gdzie byłeś? Proszę cię.", "Ela: Żartujesz? Nie wiem, co się stało."),
    "cp1254": ("Ayşe: Neredeydin? Çok güzel bir gün.", "Ali: Şimdi geliyorum, görüşürüz."),
    "cp1253": ("Άννα: Πού ήσουν χθες το βράδυ;", "Νίκος: Στο σπίτι, δεν ένιωθα καλά."),
    "cp932": ("太郎: こんにちは、元気ですか？", "花子: はい、元気です。"),
    "euc_jp": ("太郎: こんにちは、元気ですか？", "花子: はい、元気です。"),
    "gb18030": ("张三：你好，你今天怎么样？", "李四：我很好，谢谢。"),
    "big5": ("張三：你好，你今天怎麼樣？", "李四：我很好，謝謝。"),
    "cp949": ("철수: 안녕하세요, 오늘 어때요?", "영희: 좋아요."),
    "iso2022_jp_ext": ("太郎: こんにちは、元気ですか？", "花子: はい、元気です。"),
    "iso2022_kr": ("철수: 안녕하세요, 오늘 어때요?", "영희: 좋아요."),
    "utf-16-le": ("Анна: Где ты был?", "Борис: Дома."),
    "utf-16-be": ("张三：你好", "李四：好"),
}


@pytest.mark.parametrize("encoding", SENTENCES)
def test_a_guessed_encoding_is_right_and_noted(tmp_path: Path, encoding: str) -> None:
    texts = SENTENCES[encoding]
    found = read(tmp_path, ".srt", srt(*texts).encode(encoding))
    assert [line.text for line in found.lines] == [text.replace("：", ": ").split(": ", 1)[1] for text in texts]
    name = encoding.upper() if encoding.startswith("utf") else encoding
    assert [note for note in found.notes if f"was read as {name}, which is a guess" in note]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_an_encoding_that_is_known_is_not_noted(tmp_path: Path, encoding: str) -> None:
    found = read(tmp_path, ".srt", srt("Зоя: Где ты?", "Ян: Дома.").encode(encoding))
    assert said(found) == [("Зоя", "Где ты?"), ("Ян", "Дома.")]
    assert found.notes == []


def test_bytes_that_are_no_text_are_left_out_with_a_note_or_refused(tmp_path: Path) -> None:
    found = read(tmp_path, ".srt", srt("Ann: H\0i", "Bob: Yo").encode())
    assert said(found) == [("Ann", "Hi"), ("Bob", "Yo")]
    assert found.notes == ["talk.srt: 1 control characters (such as NUL) were left out"]
    found = read(tmp_path, ".srt", srt("Zoé: Où ça ?", "Ann: Là, à côté.").encode() + b"\xff\n")
    assert said(found) == [("Zoé", "Où ça ?"), ("Ann", "Là, à côté. \ufffd")]
    assert found.notes == ["talk.srt: 1 places are not UTF-8, and stand as \ufffd"]
    for content in (bytes(range(256)) * 20, b"\1" * 50 + b"text"):
        with pytest.raises(Exception, match=r"talk\.srt: is no text file") as raised:
            read(tmp_path, ".srt", content)
        assert type(raised.value).__name__ == "UserError"


def test_a_text_file_may_hold_subtitles(tmp_path: Path) -> None:
    (tmp_path / "talk.txt").write_text(srt("Ann: Hi", "Bob: Yo"))
    assert said(read_transcript(tmp_path / "talk.txt")) == [("Ann", "Hi"), ("Bob", "Yo")]

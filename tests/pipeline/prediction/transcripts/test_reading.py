"""Transcripts: formats, speakers, order, and words for what cannot be understood."""

import re
from pathlib import Path

import pytest

from foundation.errors import UserError
from pipeline.prediction.transcripts import SUFFIXES, TranscriptLine, read_transcript
from tests.pipeline.prediction.transcripts.files import essence, read

SRT = """1
00:00:03,000 --> 00:00:04,500
<i>Ann: How are
you?</i>

2
00:00:01,000 --> 00:00:02,500 X1:40
{\\an8}Dr. Bob: Hello: you.

3
01:00:05,250 --> 01:00:06,000
I am fine.
"""
VTT = """WEBVTT - a talk

NOTE nothing

00:01.000 --> 00:02.500 align:start
<v Ann Lee>How are <b>you</b> &amp; her?</v>

two
00:02.250 --> 00:04.000
Bob: Fine.
"""
TABLE = 'start,end,text,speaker\n0.5,1.25,"Well, hello.",Ann\n0:00:02,00:03.5,,Bob\n'
IEMOCAP = """Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
M: a note
Ses01F_impro01_M000 [007.5712-010.4750]: Do you have your forms?
Ses01F_impro01_MXX0 [011.0000-010.0000]: never
"""


def test_srt_names_speakers_and_is_sorted_by_time(tmp_path: Path) -> None:
    found = read(tmp_path, ".srt", SRT)
    assert essence(found) == [
        ("Dr. Bob", "Hello: you.", 1.0, 2.5),
        ("Ann", "How are you?", 3.0, 4.5),
        ("Ann", "I am fine.", 3605.25, 3606.0),
    ]
    assert [note for note in found.notes if "sorted by their start" in note]
    assert not [note for note in found.notes if "names no speakers" in note]


def test_vtt_has_voices_and_overlaps_are_noted(tmp_path: Path) -> None:
    found = read(tmp_path, ".vtt", VTT)
    assert essence(found) == [("Ann Lee", "How are you & her?", 1.0, 2.5), ("Bob", "Fine.", 2.25, 4.0)]
    assert found.notes == [
        "1 utterances begin before another has ended: each is predicted from the sound and picture of its own "
        "interval, other voices included"
    ]


def test_tables_take_seconds_and_times(tmp_path: Path) -> None:
    assert essence(read(tmp_path, ".csv", TABLE)) == [("Ann", "Well, hello.", 0.5, 1.25), ("Bob", "", 2.0, 3.5)]
    clips = read(tmp_path, ".csv", 'text,file,region\nOne,b.mp4,"0,0,8,8"\nTwo,a.mp4,\n')
    assert [(line.file, line.start, line.region) for line in clips.lines] == [
        ("b.mp4", None, "0,0,8,8"), ("a.mp4", None, "")
    ]  # fmt: skip


def test_iemocaps_transcription_shows_each_actors_half(tmp_path: Path) -> None:
    found = read(tmp_path, ".txt", IEMOCAP, "Ses01F_impro01")
    assert essence(found) == [("F", "Excuse me.", 6.2901, 8.2357), ("M", "Do you have your forms?", 7.5712, 10.475)]
    assert [line.region for line in found.lines] == ["6,122,348,238", "366,122,348,238"]
    # In Ses01M_… the man wears the markers, and is on the left; of any other name nothing is known.
    assert [line.region[:2] for line in read(tmp_path, ".txt", IEMOCAP, "Ses01M_impro01").lines] == ["36", "6,"]
    assert [line.region for line in read(tmp_path, ".txt", IEMOCAP).lines] == ["", ""]


def test_iemocaps_sentences_are_found_where_the_release_has_them(tmp_path: Path) -> None:
    folder = tmp_path / "dialog/transcriptions"
    sound = tmp_path / "sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"
    for path in (folder, sound.parent):
        path.mkdir(parents=True)
    sound.touch()
    first, second = read(folder, ".txt", IEMOCAP, "Ses01F_impro01").lines
    assert first.audio == ""
    assert (folder / second.audio).resolve() == sound.resolve()


@pytest.mark.parametrize(
    ("written", "seconds"), [("12.5", 12.5), ("1:02", 62.0), ("1:02:03.5", 3723.5), ("0:00:12,25", 12.25), ("", None)]
)
def test_times_of_a_table_are_seconds_or_a_clocks(tmp_path: Path, written: str, seconds: float | None) -> None:
    assert read(tmp_path, ".csv", f'text,start\nHi,"{written}"\n').lines[0].start == seconds


@pytest.mark.parametrize("written", ["1:2:3:4", "-1", "nan", "1:x", "1:60:00", "0:60", "1e300", "9" * 9, "12:", ":12"])
def test_what_is_no_time_of_a_table_is_named(tmp_path: Path, written: str) -> None:
    with pytest.raises(UserError, match=f"line 2: end = '{written}': must be seconds"):
        read(tmp_path, ".csv", f"text,end\nHi,{written}\n")


def test_every_column_of_a_table_goes_to_its_own_field(tmp_path: Path) -> None:
    content = 'region,audio,file,end,start,speaker,text\n"1,2,3,4", a.wav , b.mp4 ,2,1, Ann  Lee , e\u0301  x \n'
    assert read(tmp_path, ".csv", content).lines == [
        TranscriptLine("line 2", "é x", "Ann Lee", 1.0, 2.0, "b.mp4", "a.wav", "1,2,3,4")
    ]
    for start, end in (("2", "2"), ("", "0")):
        with pytest.raises(UserError, match="must be after start"):
            read(tmp_path, ".csv", f"text,start,end\nHi,{start},{end}\n")


def test_who_is_unnamed_goes_on_with_the_speaker_before_or_the_first(tmp_path: Path) -> None:
    found = read(tmp_path, ".txt", "Hm.\nBob: One.\nTwo.\nAnn: Three.\nFour.\n")
    assert [line.speaker for line in found.lines] == ["Bob", "Bob", "Bob", "Ann", "Ann"]
    assert found.notes == ["'Bob', 'Ann': read as speakers, because they recur, or other lines have names too"]


def test_order_is_by_start_only_where_all_share_a_recording_and_have_one(tmp_path: Path) -> None:
    def texts(content: str) -> list[str]:
        return [line.text for line in read(tmp_path, ".csv", content).lines]

    assert texts("text,start,end\na,5,6\nb,1,2\nc,3,4\n") == ["b", "c", "a"]
    assert texts("text,start,end\na,5,6\nb,,\nc,3,4\n") == ["a", "b", "c"]
    assert texts("text,start,file\na,5,x.mp4\nb,1,y.mp4\n") == ["a", "b"]


def test_utterances_that_overlap_are_counted_and_those_that_touch_are_not(tmp_path: Path) -> None:
    touching = read(tmp_path, ".csv", "text,start,end\na,0,1\nb,1,2\nc,2,3\n")
    assert touching.notes == ["the transcript names no speakers: all utterances count as one person's. "
                              "`Name: text` names them"]  # fmt: skip
    # b and c begin within a, which is the longest; d does not.
    found = read(tmp_path, ".csv", "speaker,text,start,end\nA,a,0,9\nA,b,1,2\nA,c,3,4\nA,d,9,10\n")
    assert found.notes[0].startswith("2 utterances begin before another has ended")


def test_lines_of_text_are_utterances_and_both_encodings_are_read(tmp_path: Path) -> None:
    content = "Ann: Café?\r\n\r\nNo, I have thought about what to say: no.\r\nBob: Oh.\r\n"
    for encoding in ("utf-8-sig", "cp1252"):
        assert essence(read(tmp_path, ".txt", content.encode(encoding))) == [
            ("Ann", "Café?", None, None),
            ("Ann", "No, I have thought about what to say: no.", None, None),
            ("Bob", "Oh.", None, None),
        ]
    unnamed = read(tmp_path, ".txt", "Hello\nYou\n")
    assert [line.speaker for line in unnamed.lines] == ["speaker", "speaker"]
    assert "names no speakers" in unnamed.notes[0]


@pytest.mark.parametrize(
    ("suffix", "content", "words"),
    [
        (".srt", "", "has no utterance"),
        (".vtt", "WEBVTT\n", "has no utterance"),
        (".csv", "text,speaker\n", "has no utterance"),
        (".txt", "\n \n", "has no utterance"),
        (".csv", "", "has no utterance"),
        (".srt", "1\n00:00:xx,000 --> 00:00:02,000\nHi\n", "line 2: '00:00:xx,000 --> 00:00:02,000' is no pair"),
        (".srt", "1\n99999:00:00,000 --> 00:00:02,000\nHi\n", "line 2: '99999:00:00,000' is no time"),
        (".srt", "1\n" + "9" * 5000 + ":00:00,0 --> 00:00:02,000\nHi\n", "line 2: '" + "9" * 60 + "…' is no pair"),
        (".srt", "Ann: Hi\n", "has no subtitle, which begins with a line 00:00:01,000 --> 00:00:02,500"),
        (".ass", "Ann: Hi\n", "has no events"),
        (".sub", "{25}{50}Hi\n", "does not say how many pictures a second has"),
        (".sub", "Ann: Hi\n", "has no line of MicroDVD"),
        (".ttml", "<tt>", "is no TTML"),
        (".json", "{}", "is no JSON of Whisper"),
        (".json", "[" * 100_000, "is no JSON"),
        (".csv", "speaker,start\nAnn,1\n", "line 1: no column text"),
        (".csv", "text,start,end\nHi,2,1\n", "line 2: end = 1: must be after start = 2"),
        (".csv", "text,start,end\nHi,soon,1\n", "line 2: start = 'soon': must be seconds"),
        (".csv", "text,region\nHi,left\n", "line 2: region = 'left': must be left,top,width,height"),
        (".docx", "x", "is no transcript that is understood; give one that ends in .srt, .vtt, .csv, .tsv, .txt"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_named(tmp_path: Path, suffix: str, content: str, words: str) -> None:
    with pytest.raises(UserError) as raised:
        read(tmp_path, suffix, content)
    assert words in str(raised.value)
    assert f"talk{suffix}" in str(raised.value)


def test_a_transcript_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.srt").mkdir()
    for name, words in (
        ("none.srt", "no such file"), ("folder.srt", "is a folder"), ("a" * 300 + ".srt", "cannot be read")
    ):  # fmt: skip
        with pytest.raises(UserError, match=rf"{name}: {words}"):
            read_transcript(tmp_path / name)


def test_a_table_of_a_prediction_is_read_as_one_of_a_corpus_is(tmp_path: Path) -> None:
    table = "Speaker;TEXT;start;End;Mood\nAnn;Hi, you;0:01:02,5;62,75\n;;;\nBob;Yo;63;1:04\n"
    found = read(
        tmp_path, ".csv", table.replace(";62,75", ";62,75;glad").replace("1:04", "1:04;").replace(";;;", ";;;;")
    )
    assert essence(found) == [("Ann", "Hi, you", 62.5, 62.75), ("Bob", "Yo", 63.0, 64.0)]
    assert found.notes == [
        "talk.csv: the column 'Mood' is none that is read",
        "talk.csv: 1 empty rows were passed over",
    ]
    assert essence(read(tmp_path, ".tsv", "Text\tSpeaker\nHi, you\tAnn\n")) == [("Ann", "Hi, you", None, None)]


@pytest.mark.parametrize("region", ["0,0,0,0", "1,2,3,0", "1,2,3", "1,2,3,999999", "-1,2,3,4"])
def test_a_region_without_pixels_is_refused_with_its_line(tmp_path: Path, region: str) -> None:
    with pytest.raises(UserError, match=f"line 2: region = '{region}': must be left,top,width,height"):
        read(tmp_path, ".csv", f'text,region\nHi,"{region}"\n')


def test_an_end_that_is_not_given_is_the_next_start(tmp_path: Path) -> None:
    found = read(tmp_path, ".csv", "speaker,text,start,end\nA,b,5,\nB,a,1,2\nA,c,5,7\nB,d,9,\n")
    assert [(line.text, line.start, line.end) for line in found.lines] == [
        ("a", 1, 2), ("b", 5, 9), ("c", 5, 7), ("d", 9, None)
    ]  # fmt: skip
    assert "where the transcript has no end, an utterance lasts until the next one begins" in found.notes
    clips = read(tmp_path, ".csv", "text,start,file\na,1,x.mp4\nb,2,y.mp4\n")
    assert [line.end for line in clips.lines] == [None, None]


def test_speakers_that_differ_in_case_only_are_noted(tmp_path: Path) -> None:
    found = read(tmp_path, ".csv", "speaker,text\nBob,a\nAnn,b\nbob,c\n")
    assert [line.speaker for line in found.lines] == ["Bob", "Ann", "bob"]
    assert found.notes == ["speakers whose names differ in case only count as one: Bob, bob"]


def test_the_documented_endings_are_those_that_are_read() -> None:
    guide = Path(__file__).parents[4] / "docs" / "predict.md"
    table = guide.read_text("utf-8").partition("| ending | format |")[2].partition("\n\n")[0]
    told = [ending for row in table.split("\n") for ending in re.findall(r"`(\.\w+)`", row.partition(" | ")[0])]
    assert sorted(told) == sorted(SUFFIXES)

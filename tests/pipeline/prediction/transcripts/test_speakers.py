"""Who speaks: names in every form, several people in one subtitle, and what only looks like a name."""

from pathlib import Path

import pytest

from tests.pipeline.prediction.transcripts.files import essence, read, said, srt

NAMES = {
    "Speaker 1: Hi.": ("Speaker 1", "Hi."),
    "[SPEAKER_00]: Hi.": ("SPEAKER_00", "Hi."),
    "[SPEAKER_01] Hi.": ("SPEAKER_01", "Hi."),
    "(Ann): Hi.": ("Ann", "Hi."),
    "2nd Officer: Sir.": ("2nd Officer", "Sir."),
    "Ann:Hello": ("Ann", "Hello"),
    "Anne : Bonjour": ("Anne", "Bonjour"),
    "张三：你好": ("张三", "你好"),
    "张三:你好": ("张三", "你好"),
    "\u200fדוד: שלום": ("דוד", "שלום"),
    "أحمد: مرحبا": ("أحمد", "مرحبا"),
    "Наташа Ростова: Да.": ("Наташа Ростова", "Да."),
    ">> BOB: Hey": ("BOB", "Hey"),
    ">>BOB: Hey": ("BOB", "Hey"),
    "- ZOE: Hey": ("ZOE", "Hey"),
    "<i>Zoe</i>: yes": ("Zoe", "yes"),
    '"Duke": no': ("Duke", "no"),
    "**Ann:** bold": ("Ann", "bold"),
    "Jean-Luc O’Brien (Host): hi": ("Jean-Luc O’Brien", "hi"),
    "ANN (angrily): Liar!": ("ANN", "Liar!"),
    "Dr. J. R. Smith: Well.": ("Dr. J. R. Smith", "Well."),
    "Maria del Carmen Lopez: Si.": ("Maria del Carmen Lopez", "Si."),
    "THE MAN IN BLACK: Run.": ("THE MAN IN BLACK", "Run."),
    "Boy in the Cape: Ha.": ("Boy in the Cape", "Ha."),
    "Maitre d': Yes.": ("Maitre d'", "Yes."),
    "'Duke': no": ("Duke", "no"),
    "@bob_99: yo": ("@bob_99", "yo"),
    "ANN:\nFirst line.\nSecond": ("ANN", "First line. Second"),
    "Ann: Look: a bird!": ("Ann", "Look: a bird!"),
    "[sighs] Ann: Oh.": ("Ann", "Oh."),
    "(man) Who is there?": ("man", "Who is there?"),
}


@pytest.mark.parametrize("written", NAMES)
def test_a_name_is_read_in_whatever_form_it_stands(tmp_path: Path, written: str) -> None:
    found = read(tmp_path, ".srt", srt("Eva: So.", written, "Tom: Yes."))
    assert said(found) == [("Eva", "So."), NAMES[written], ("Tom", "Yes.")]


@pytest.mark.parametrize(
    "text",
    [
        "Look: a bird!", "Warning: it is hot.", "Meet me at 10:30", "10:30 is fine.", "See http://x.org/a", "https://x.org",
        "Note:buy milk", "It is 2:1 now.", "John 3:16 says so.", "I have one thing to say: no.", "sad :(", "happy :)",
        "注意：小心", "She said: go", "C:\\temp", "Really?: yes", "www.x.org: now",
        "One two three four five six seven: x",
        "A very long beginning of a sentence indeed: x", "4: c", "std::vector", "re:invent",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_name_is_text(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, ".srt", srt("Ann: Well.", text, "Bob: So.", "Ann: Yes.", "Bob: No."))
    assert said(found)[1] == ("Ann", text)
    assert len(found.lines) == 5


def test_an_ambiguous_name_is_decided_by_the_whole_file_and_noted(tmp_path: Path) -> None:
    note = ("'{}': read as words, not as speakers, because most lines have no name, or it does not recur, or it is a "
            "common word")  # fmt: skip
    unnamed = read(tmp_path, ".srt", srt("We ate.", "Breakfast: eggs.", "It was fine.", "And then we left."))
    assert said(unnamed)[1] == ("speaker", "Breakfast: eggs.")
    assert note.format("Breakfast:") in unnamed.notes
    named = read(tmp_path, ".srt", srt("Hope: We ate.", "Breakfast: eggs.", "Hope: I hope so.", "Will: I will."))
    assert [line.speaker for line in named.lines] == ["Hope", "Breakfast", "Hope", "Will"]
    assert named.notes == []
    warned = read(tmp_path, ".srt", srt("Ann: Hi", "Bob: Hi", "Warning: hot", "Ann: ok"))
    assert said(warned)[2] == ("Bob", "Warning: hot")
    assert warned.notes == [note.format("Warning:")]
    interview = read(tmp_path, ".srt", srt("Question: Why?", "Answer: So.", "Question: How?", "Answer: Well.",
                                           "Question: Who?", "Answer: Me."))  # fmt: skip
    assert [line.speaker for line in interview.lines] == ["Question", "Answer"] * 3
    assert interview.notes == ["'Question', 'Answer': read as speakers, because they recur, or other lines have names "
                               "too"]  # fmt: skip
    chat = read(tmp_path, ".txt", "ann: hi\nbob: yo\nann: go?\n")
    assert [line.speaker for line in chat.lines] == ["ann", "bob", "ann"]


def test_brackets_are_names_where_most_lines_have_one_and_sounds_elsewhere(tmp_path: Path) -> None:
    names = read(tmp_path, ".srt", srt("(Ann) Where were you?", "[BOB] At home.", "ANN (angrily): Liar!"))
    assert said(names) == [("Ann", "Where were you?"), ("BOB", "At home."), ("ANN", "Liar!")]
    assert names.notes == ["speakers whose names differ in case only count as one: Ann, ANN"]
    japanese = read(tmp_path, ".srt", srt("（太郎）こんにちは", "（笑）はい", "（花子）元気", "太郎：うん"))
    assert said(japanese) == [("太郎", "こんにちは"), ("太郎", "はい"), ("花子", "元気"), ("太郎", "うん")]
    sounds = read(tmp_path, ".srt", srt("Well.", "[Backfire] What?", "(laughs) No.", "Yes.", "[SIGHS] So."))
    assert said(sounds) == [("speaker", text) for text in ("Well.", "What?", "No.", "Yes.", "So.")]
    assert sounds.notes[0] == "'Backfire' in brackets: read as sounds, not as speakers, because few lines have a name"


def test_several_speakers_of_one_subtitle_share_its_time_by_their_text(tmp_path: Path) -> None:
    lines = read(tmp_path, ".srt", srt("ANN: Where?\nBOB: At the big\nold house.", "ANN: Oh."))
    assert essence(lines) == [
        ("ANN", "Where?", 0.0, 0.444), ("BOB", "At the big old house.", 0.444, 2.0), ("ANN", "Oh.", 2.0, 4.0)
    ]  # fmt: skip  # 6 and 21 letters: 2 * 6 / 27
    assert lines.notes == ["1 times several people speak in one place of the transcript: when each of them does is "
                           "estimated from the length of the text"]  # fmt: skip
    inside = read(tmp_path, ".srt", srt("ANN: Where were you? BOB: At home.", "Ann: I met Mr. Bob: he is nice."))
    assert said(inside) == [("ANN", "Where were you?"), ("BOB", "At home."), ("Ann", "I met Mr. Bob: he is nice.")]


def test_a_dash_or_chevrons_change_the_speaker(tmp_path: Path) -> None:
    found = read(tmp_path, ".srt", srt("- Hi. - Hello.", "– How are you?\n–Fine.", "It is -5 - cold.",
                                       "—and then he left", ">> Who? >> He.", "- BOB: Me.\n- You?"))  # fmt: skip
    assert said(found) == [
        ("speaker 1", "Hi."), ("speaker 2", "Hello."), ("speaker 1", "How are you?"), ("speaker 2", "Fine."),
        ("speaker 2", "It is -5 - cold."), ("speaker 2", "—and then he left"),
        ("speaker 1", "Who?"), ("speaker 2", "He."),
        ("BOB", "Me."), ("speaker 1", "You?"),
    ]  # fmt: skip
    assert found.notes[-1] == ("7 utterances begin with a dash or >>, which says that someone else speaks, and not "
                               "who: they are given to speaker 1 and speaker 2 in turn")  # fmt: skip


def test_where_all_is_in_capitals_they_say_nothing(tmp_path: Path) -> None:
    found = read(tmp_path, ".srt", srt("HE IS UP THERE", "BREAKFAST: EGGS", "WHERE IS HE?", "OVER THERE. SUPPER: NONE"))
    assert [line.speaker for line in found.lines] == ["speaker"] * 4


def test_numbers_times_and_tabs_around_a_name_are_no_part_of_it(tmp_path: Path) -> None:
    expected = [("Ann", "Hello."), ("Bob", "It: no."), ("Ann", "Bye.")]
    for dot in (". ", ") ", "\t"):
        numbered = "".join(f"{number}{dot}{name}: {text}\n\n" for number, (name, text) in enumerate(expected, 7))
        found = read(tmp_path, ".txt", numbered)
        assert said(found) == expected
        assert found.notes == ["the lines are numbered: the numbers were left out"]
    assert said(read(tmp_path, ".txt", "".join(f"{name}\t{text}\n" for name, text in expected))) == expected
    assert (
        said(read(tmp_path, ".srt", srt("[00:01] Ann: Hello.", "(0:03 - 0:05) Bob: It: no.", "[3] Ann: Bye.")))
        == expected
    )
    for text in ("1. One.\n3. Two.\n", "I went\thome.\nYou did\tnot.\n", "1 apple\n2 pears\n"):
        lines = [" ".join(line.split()) for line in text.splitlines()]
        assert said(read(tmp_path, ".txt", text)) == [("speaker", line) for line in lines]


def test_a_name_alone_in_its_line_is_that_of_the_lines_below(tmp_path: Path) -> None:
    assert said(read(tmp_path, ".txt", "ANN:\nHello.\nYou.\n\nBOB:\nYes.\n")) == [
        ("ANN", "Hello."), ("ANN", "You."), ("BOB", "Yes.")
    ]  # fmt: skip

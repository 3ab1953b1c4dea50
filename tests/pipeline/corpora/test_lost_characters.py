"""Texts that lost their apostrophes: what is put back, what stays, and what is said of both."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.corpora import meld as reader
from pipeline.corpora.lost_characters import repaired
from tests.conftest import write_meld_csv

SHARED = Path(__file__).parents[4] / "shared" / "data"
WHOLE = [
    "No, don’t. I can’t, it’s over.", "I’m here, y’know, and he’ll come.", "You’re late; we’d’ve left at 9 o’clock.",
    "C’mon, ma’am! Joey’s in the ’80’s.", "SHE’S MINE, SO DON’T!", "That shouldn’t’ve been…",
]  # fmt: skip


@pytest.mark.parametrize(
    "mark",
    [
        "?", "\x92", "\ufffd", "???", "\ufffd\ufffd\ufffd", "\x1a", "¿", "Õ", "`", "´", "â€™", "â\x80\x99", "Â\x92",
        "Ã¢Â\x80Â\x99", "Ã¢â‚¬â„¢", "&rsquo;", "&#8217;", "&amp;rsquo;",
    ],
)  # fmt: skip
def test_an_apostrophe_inside_a_contraction_is_put_back(mark: str) -> None:
    for text in WHOLE:
        start = text.replace(" ’80", " 80")  # at a word's beginning it is another case
        assert repaired(start.replace("’", mark).replace("…", ".")) == start.replace("…", ".")


def test_a_plain_apostrophe_loses_what_other_programs_put_around_it() -> None:
    for mark in ("&#39;", "&#039;", "&apos;", "&amp;#39;", "\\'"):
        assert repaired(f"I don{mark}t say {mark}so{mark}.") == "I don't say 'so'."
    assert repaired("He said &quot;yes&quot;&hellip; &ldquo;no&rdquo;") == 'He said "yes"… “no”'
    for text in ("R&D; AT&T;", "a \\ b", "The `old` one", "5 ´ 3"):
        assert repaired(text) == text


@pytest.mark.parametrize(
    ("control", "character"),
    [
        ("\x91", "‘"),
        ("\x92", "’"),
        ("\x93", "“"),
        ("\x94", "”"),
        ("\x85", "…"),
        ("\x96", "–"),
        ("\x97", "—"),
        ("\x80", "€"),
    ],
)
def test_a_control_character_is_a_byte_of_cp1252(control: str, character: str) -> None:
    assert repaired(f"He said{control}so {control}") == f"He said{character}so {character}"


def test_characters_of_utf8_that_were_read_as_cp1252_are_put_together() -> None:
    for text in ("A café, señor…", "“Well” — she said – ‘fine’"):
        assert repaired("".join(chr(byte) for byte in text.encode())) == text  # as Latin-1
        once = bytes(byte for byte in text.encode() if byte != 0x9D).decode("cp1252")
        assert repaired(once) == text.replace("”", "â€")  # byte 0x9D is in no character of cp1252: half is not certain


@pytest.mark.parametrize(
    "text",
    [
        "What? Did he?", "What?S that", "Sanders?He left.", "Really?So what.", "doin? well?", "Who?Me?",
        "What?I mean it.", "Adi?s.", "Two caf?s", "Why? cause I said so.", "Huh??", "Oh?my", "Âge, château, Ã la carte",
        "don't you’re ‘kay", "",
    ],
)  # fmt: skip
def test_what_may_be_a_question_mark_or_a_letter_stays(text: str) -> None:
    assert repaired(text) == text


def test_a_question_mark_before_a_clipped_word_was_its_apostrophe() -> None:
    assert repaired("Tell ?em, ?cause I wait ?til ten. ?Kay?") == "Tell ‘em, ‘cause I wait ‘til ten. ‘Kay?"


def texts(raw: Path, train: list[str]) -> Path:
    write_meld_csv(
        raw / "train_sent_emo.csv",
        [{"Dialogue_ID": 0, "Utterance_ID": turn, "Utterance": text} for turn, text in enumerate(train)],
    )
    return raw


def test_the_reader_repairs_counts_and_names(meld: Callable[..., Path]) -> None:
    raw = texts(meld(), ["Hello.", "No, don?t.", "So\x85 I\x92m here.", "Sanders?He left.", "Dont, I said."])
    found = reader.read(raw, ["text"])
    assert [row.text for row in found.rows[:5]] == [
        "Hello.", "No, don’t.", "So… I’m here.", "Sanders?He left.", "Dont, I said."
    ]  # fmt: skip
    assert found.notes == [
        "train_sent_emo.csv: 2 of 5 texts had lost apostrophes or other characters, which were put back; the first, "
        "line 3: 'Ann: No, don?t.' is now 'Ann: No, don’t.'",
        "train_sent_emo.csv: 1 of 5 texts may still lack a character, and stay so; the first, line 5: 'Sanders?He'",
        "train_sent_emo.csv: 1 of 5 texts have contractions without apostrophes, and stay so; the first, line 6: "
        "'Dont'",
    ]
    assert found.differences == []


def copy_of_the_release(folder: Path, change: Callable[[str], str]) -> Path:
    """MELD's own annotations with changed texts."""
    folder.mkdir(exist_ok=True)
    for annotations, _ in reader.FILES.values():
        with (SHARED / "meld_csv" / annotations).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        with (folder / annotations).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows({**row, "Utterance": change(row["Utterance"])} for row in rows)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the annotations of MELD are not part of the project")
def test_a_copy_of_the_release_is_repaired_or_named_as_another(tmp_path: Path) -> None:
    right = [row.text for row in reader.read(SHARED / "meld_csv", ["text"]).rows]

    def as_controls(text: str) -> str:
        return "".join(
            letter if letter.isascii() else "".join(map(chr, letter.encode("cp1252"))) for letter in text
        )  # as the annotations have them in the authors' repository

    controls = reader.read(copy_of_the_release(tmp_path, as_controls), ["text"])
    assert [row.text for row in controls.rows] == right
    assert controls.differences == []
    assert [note.split(" had")[0] for note in controls.notes if "put back" in note] == [
        "train_sent_emo.csv: 2748 of 9989 texts",  # 2,740 with a letter that is not ASCII; 8 with a ? when published
        "dev_sent_emo.csv: 308 of 1109 texts",
        "test_sent_emo.csv: 757 of 2610 texts",
    ]

    marks = reader.read(copy_of_the_release(tmp_path, lambda text: text.replace("’", "?")), ["text"])
    wrong = [(row.text, text) for row, text in zip(marks.rows, right, strict=True) if row.text != text]
    assert len(wrong) == 93  # of the 3,621 that lost one: at the ends of words
    assert all(
        letter in (mark, "?") for found, text in wrong for letter, mark in zip(found, text, strict=True)
    )  # nothing wrong was put in
    assert [line.split(":")[0] for line in marks.differences] == [
        "train_sent_emo.csv", "dev_sent_emo.csv", "test_sent_emo.csv"
    ]  # fmt: skip
    dropped = reader.read(copy_of_the_release(tmp_path, lambda text: text.replace("’", "").replace("'", "")), ["text"])
    assert len(dropped.differences) == 3
    assert any("have contractions without apostrophes" in note for note in dropped.notes)

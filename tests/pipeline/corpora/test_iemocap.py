"""IEMOCAP's reader against the irregularities of the release, each a test."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline.corpora.census import census
from pipeline.corpora.iemocap import (
    COSMIC_12,
    KNOWN,
    LEFT,
    RIGHT,
    SPOKEN,
    VOTE,
    read,
    read_evaluations,
    with_validation,
)
from pipeline.corpora.labels import IEMOCAP

ALL = ["text", "audio", "visual"]
ANNOTATIONS = Path(__file__).parents[4] / "shared" / "data" / "iemocap_annotations"


def block(utterance: str, code: str, *lines: str) -> str:
    return (
        f"[1.0000 - 2.0000]\t{utterance}\t{code}\t[2.5000, 2.5000, 2.5000]\n" + "".join(f"{x}\n" for x in lines) + "\n"
    )


def add(raw: Path, dialogue: str, spoken: list[str], blocks: list[str], media: bool = True) -> None:
    session = raw / f"Session{dialogue[4]}"
    for folder in ("dialog/transcriptions", "dialog/EmoEvaluation", "dialog/avi/DivX", f"sentences/wav/{dialogue}"):
        (session / folder).mkdir(parents=True, exist_ok=True)
    lines = [line if "[" in line or ":" in line else f"{line} [1.0-2.0]: Words of {line}." for line in spoken]
    (session / "dialog/transcriptions" / f"{dialogue}.txt").write_text("\n".join(lines) + "\n")
    header = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    (session / "dialog/EmoEvaluation" / f"{dialogue}.txt").write_text(header + "".join(blocks))
    if media:
        (session / "dialog/avi/DivX" / f"{dialogue}.avi").touch()
        for line in spoken:
            (session / f"sentences/wav/{dialogue}" / f"{line.split()[0]}.wav").touch()


def rows_of(raw: Path, modalities: list[str] = ALL) -> list[Utterance]:
    return read(raw, modalities, "random20", 0).rows


def test_order_is_the_transcriptions_not_the_evaluations(tmp_path: Path) -> None:
    ids = ["Ses01F_impro01_M000", "Ses01F_impro01_F000", "Ses01F_impro01_M001"]
    add(tmp_path, "Ses01F_impro01", ids, [block(name, "neu") for name in sorted(ids)])
    rows = rows_of(tmp_path)
    assert [row.utterance_id for row in rows] == ids
    assert [row.turn for row in rows] == [0, 1, 2]


def test_a_speakers_number_is_the_role_whoever_speaks_first(tmp_path: Path) -> None:
    # All public code has [1, 0] for M and [0, 1] for F; whether the M is marked or speaks first does not matter.
    for dialogue, roles in {"Ses01F_impro01": "MFM", "Ses01M_impro01": "FFM", "Ses05F_script01_1": "FM"}.items():
        ids = [f"{dialogue}_{role}{turn:03}" for turn, role in enumerate(roles)]
        add(tmp_path, dialogue, ids, [block(name, "neu") for name in ids])
    numbers = {(row.utterance_id.rsplit("_", 1)[1][0], row.speaker) for row in rows_of(tmp_path)}
    assert numbers == {("M", 0), ("F", 1)}


def test_the_six_classes_stay_and_the_others_leave_the_sequence(tmp_path: Path) -> None:
    codes = ["hap", "sur", "sad", "xxx", "neu", "ang", "fea", "exc", "fru", "oth", "dis"]
    ids = [f"Ses02M_script01_1_F{number:03}" for number in range(len(codes))]
    add(tmp_path, "Ses02M_script01_1", ids, [block(name, code) for name, code in zip(ids, codes, strict=True)])
    rows = rows_of(tmp_path)
    assert [row.label for row in rows] == ["happy", "sad", "neutral", "angry", "excited", "frustrated"]
    assert [row.turn for row in rows] == list(range(6))


@pytest.mark.parametrize(
    ("votes", "happy"),
    [
        (["C-E1:\tHappiness;\t()", "C-E2:\tNeutral;\t()", "C-F1:\tHappiness;\t()"], True),
        (["C-E1:\tHappiness; Neutral;\t()", "C-E2:\tExcited;\t()", "C-F1:\tHappiness;\t()"], True),
        (["C-E1:\tNeutral;\t()", "C-F1:\tHappiness;\t()"], False),  # no single most voted
        (["C-F1:\tHappiness;\t()", "C-E1:\tNeutral;\t()"], False),  # nor is it the one that was said first
        (["C-E1:\tHappiness;\t()", "C-E2:\tHappiness;\t()", "C-F1:\tNeutral;\t()"], False),  # not the actor's word
        (["C-E1:\tHappiness;\t()", "C-F1:\tHappiness; Excited;\t()"], False),  # not exactly
        (["C-E1:\tHappiness;\t()", "C-M1:\tHappiness;\t()"], False),  # the other actor's line is not the speaker's
        (["C-E1:\tAnger;\t()", "C-E2:\tAnger;\t()", "C-F1:\tHappiness;\t()"], False),
    ],
)
def test_xxx_counts_as_happy_by_the_vote_rule_alone(tmp_path: Path, votes: list[str], happy: bool) -> None:
    name = "Ses01F_impro01_F000"
    add(tmp_path, "Ses01F_impro01", [name], [block(name, "xxx", *votes, "A-E3:\tval 3; act 2; dom  2;\t()")])
    assert [row.label for row in rows_of(tmp_path)] == (["happy"] if happy else [])


def test_lines_of_the_other_actor_and_xx_ids_are_skipped_in_silence(tmp_path: Path) -> None:
    spoken = ["Ses01F_impro01_F000", "M: [LAUGHTER]", "Ses01F_impro01_MXX0 [1.0-2.0]: What?", "F: yes"]
    add(tmp_path, "Ses01F_impro01", spoken, [block("Ses01F_impro01_F000", "neu")])
    raw_corpus = read(tmp_path, ALL, "random20", 0)
    rows, notes = raw_corpus.rows, raw_corpus.notes
    assert [row.utterance_id for row in rows] == ["Ses01F_impro01_F000"]
    assert notes == []


def test_a_malformed_line_is_noted_with_file_and_line(tmp_path: Path) -> None:
    spoken = ["Ses01F_impro01_F000", "Ses01F_impro01_F001 [soon-later]: Words."]
    add(tmp_path, "Ses01F_impro01", spoken, [block("Ses01F_impro01_F000", "neu")])
    notes = read(tmp_path, ALL, "random20", 0).notes
    assert len(notes) == 1
    assert notes[0].startswith("Session1/dialog/transcriptions/Ses01F_impro01.txt, line 2: cannot be understood")


def test_the_marker_wearer_is_on_the_left(tmp_path: Path) -> None:
    for marked in "FM":
        name = f"Ses01{marked}_impro01"
        ids = [f"{name}_F000", f"{name}_M000"]
        add(tmp_path, name, ids, [block(one, "neu") for one in ids])
    regions = {row.utterance_id: row.region for row in rows_of(tmp_path)}
    assert regions["Ses01F_impro01_F000"] == regions["Ses01M_impro01_M000"] == LEFT
    assert regions["Ses01F_impro01_M000"] == regions["Ses01M_impro01_F000"] == RIGHT
    # The picture is 720 wide, with a black border at its outer edges and above and below: left, top, width, height.
    assert (LEFT, RIGHT) == ("6,122,348,238", "366,122,348,238")


def test_appledouble_files_are_skipped(tmp_path: Path) -> None:
    add(tmp_path, "Ses01F_impro01", ["Ses01F_impro01_F000"], [block("Ses01F_impro01_F000", "neu")])
    (tmp_path / "Session1/dialog/transcriptions/._Ses01F_impro01.txt").write_bytes(b"\0\5\26\7")
    (tmp_path / "Session1/dialog/avi/DivX/._Ses01F_impro01.avi").write_bytes(b"\0\5\26\7")
    raw_corpus = read(tmp_path, ALL, "random20", 0)
    rows, notes = raw_corpus.rows, raw_corpus.notes
    assert len(rows) == 1
    assert rows[0].video == "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    assert notes == []


def test_absent_media_folders_are_missing_modalities_and_an_absent_file_a_problem(tmp_path: Path) -> None:
    name = "Ses01F_impro01_F000"
    add(tmp_path, "Ses01F_impro01", [name], [block(name, "neu")], media=False)
    row = rows_of(tmp_path)[0]
    assert "no such file" in row.problem
    (tmp_path / "Session1/sentences/wav/Ses01F_impro01").rmdir()
    (tmp_path / "Session1/sentences/wav").rmdir()
    row = rows_of(tmp_path)[0]
    assert (row.audio, row.video, row.problem) == ("", "", "")


def test_validation_is_cut_by_dialogue_and_never_of_test() -> None:
    names = [f"Ses0{session}F_impro{number:02}" for session in range(1, 6) for number in range(1, 11)]
    rows = [
        Utterance(utterance_id=f"{name}{turn}", dialogue_id=name, turn=turn, speaker=0, text="", label="sad",
                  split="test" if name[4] == "5" else "train")
        for name in names for turn in range(2)
    ]  # fmt: skip

    def held_out(validation: str, seed: int = 0) -> set[str]:
        cut = with_validation(rows, validation, seed)
        assert [row.split for row in cut[-20:]] == ["test"] * 20
        return {row.dialogue_id for row in cut if row.split == "validation"}

    drawn = held_out("random20")
    assert len(drawn) == 8
    assert drawn == held_out("random20")
    assert drawn != held_out("random20", seed=1)
    assert {name[4] for name in held_out("session4")} == {"4"}
    assert held_out("cosmic12") == {"Ses02F_impro02", "Ses02F_impro07", "Ses03F_impro01", "Ses04F_impro07"}
    assert len(set(COSMIC_12)) == 12


def test_random20_draws_a_fifth_of_trains_dialogues_however_the_rows_stand() -> None:
    names = [f"Ses0{session}F_impro{number:02}" for session in range(1, 6) for number in range(1, 4)]
    rows = [
        Utterance(utterance_id=name, dialogue_id=name, turn=0, speaker=0, text="", label="sad",
                  split="test" if name[4] == "5" else "train")
        for name in names
    ]  # fmt: skip
    cut = with_validation(rows, "random20", 3)
    held_out = {row.dialogue_id for row in cut if row.split == "validation"}
    assert len(held_out) == 2  # of 12 dialogues 2.4
    assert {
        row.dialogue_id for row in with_validation(rows[::-1], "random20", 3) if row.split == "validation"
    } == held_out
    assert [replace(row, split="") for row in cut] == [replace(row, split="") for row in rows]
    assert {name for name in COSMIC_12 if name[4] == "5"} == set()


def test_the_validation_of_the_parameters_is_the_readers(tmp_path: Path) -> None:
    for session in (1, 4, 5):
        name = f"Ses0{session}F_impro01"
        add(tmp_path, name, [f"{name}_F000"], [block(f"{name}_F000", "neu")])
    rows = read(tmp_path, ALL, "session4", 0).rows
    assert [(row.dialogue_id[:5], row.split) for row in rows] == [
        ("Ses01", "train"), ("Ses04", "validation"), ("Ses05", "test")
    ]  # fmt: skip


def test_text_speakers_and_times_of_a_line_are_its_own(tmp_path: Path) -> None:
    name = "Ses03M_script01_2"
    spoken = [
        f"{name}_M000 [006.2901-008.2357]:  Excuse   me. ",
        f"{name}_F000 [007.5712-010.4750]: Do you [BREATHING] have 2: forms?",
        f"{name}_F001 [011.0000-011.0000]: No.",
        f"{name}_M001 [013.0000-012.0000]: Never.",
        f"{name}_F002 [014.0000-{'9' * 400}]: A time that no number can hold.",
    ]
    ids = [line.split()[0] for line in spoken]
    codes = ["ang", "fru", "hap", "sad", "neu"]
    add(tmp_path, name, spoken, [block(one, code) for one, code in zip(ids, codes, strict=True)][::-1])
    raw_corpus = read(tmp_path, ALL, "random20", 0)
    assert [(row.text, row.start, row.end, row.speaker, row.label, row.turn) for row in raw_corpus.rows] == [
        ("Excuse me.", 6.2901, 8.2357, 0, "angry", 0),
        ("Do you [BREATHING] have 2: forms?", 7.5712, 10.475, 1, "frustrated", 1),
        ("No.", 11.0, 11.0, 1, "happy", 2),
    ]
    assert raw_corpus.speakers == ["Ses03M", "Ses03F", "Ses03F"]
    assert [row.speaker_name for row in raw_corpus.rows] == ["M", "F", "F"]
    file = f"Session3/dialog/transcriptions/{name}.txt"
    places = [note.partition(": ")[0] for note in raw_corpus.notes]
    assert places == [f"{file}, line 4", f"{file}, line 5", file]  # the last is of both
    assert read(tmp_path, ["text"], "random20", 0).rows[0].audio == ""
    assert read(tmp_path, ["audio"], "random20", 0).rows[0].video == ""


def test_a_dialogue_without_a_transcription_is_noted(tmp_path: Path) -> None:
    for number in (1, 2):
        name = f"Ses01F_impro0{number}"
        add(tmp_path, name, [f"{name}_F000"], [block(f"{name}_F000", "neu")])
    (tmp_path / "Session1/dialog/transcriptions/Ses01F_impro02.txt").unlink()
    (tmp_path / "Session1/dialog/transcriptions/Ses_notes.txt").write_text("Ses01F_impro01_F000 [1.0-2.0]: Hm.\n")
    assert read(tmp_path, ALL, "random20", 0).notes == [
        "Session1/dialog/transcriptions/Ses01F_impro02.txt: no such file, but the dialogue has others",
        "Session1/dialog/transcriptions/Ses_notes.txt: is not named like a dialogue; passed over",
    ]


def test_the_order_of_start_times_is_not_the_conversations(tmp_path: Path) -> None:
    spoken = ["Ses01F_impro01_F000 [7.0-9.0]: One.", "Ses01F_impro01_M000 [1.0-2.0]: Two."]
    ids = [line.split()[0] for line in spoken]
    add(tmp_path, "Ses01F_impro01", spoken, [block(one, "neu") for one in ids])
    assert [row.utterance_id for row in rows_of(tmp_path)] == ids


@pytest.mark.parametrize("name", ["Ses01F_impro01", "Ses03M_impro05a", "Ses05M_script01_1b"])
def test_every_form_of_dialogue_name_is_one(tmp_path: Path, name: str) -> None:
    add(tmp_path, name, [f"{name}_M000"], [block(f"{name}_M000", "neu")])
    (row,) = rows_of(tmp_path)
    assert (row.dialogue_id, row.region, row.split) == (
        name, LEFT if name[5] == "M" else RIGHT, "test" if name[4] == "5" else "train",
    )  # fmt: skip


def test_attribute_categorical_and_self_evaluations_are_not_read(tmp_path: Path) -> None:
    name = "Ses01F_impro01_F000"
    add(tmp_path, "Ses01F_impro01", [name], [block(name, "sad")])
    for folder in ("Attribute", "Categorical", "Self-evaluation"):
        other = tmp_path / "Session1/dialog/EmoEvaluation" / folder / "Ses01F_impro01.txt"
        other.parent.mkdir()
        other.write_text(block(name, "ang"))
    raw_corpus = read(tmp_path, ALL, "random20", 0)
    assert [row.label for row in raw_corpus.rows] == ["sad"]
    assert raw_corpus.notes == []


def test_ds_store_files_are_skipped(tmp_path: Path) -> None:
    add(tmp_path, "Ses01F_impro01", ["Ses01F_impro01_F000"], [block("Ses01F_impro01_F000", "neu")])
    for folder in ("dialog/transcriptions", "dialog/EmoEvaluation", "dialog/avi/DivX", "sentences/wav"):
        (tmp_path / "Session1" / folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    raw_corpus = read(tmp_path, ALL, "random20", 0)
    assert len(raw_corpus.rows) == 1
    assert raw_corpus.notes == []


def test_the_sound_is_the_utterances_own_file_and_the_pictures_an_interval_of_the_dialogues(tmp_path: Path) -> None:
    add(tmp_path, "Ses01F_impro01", ["Ses01F_impro01_F000"], [block("Ses01F_impro01_F000", "neu")])
    (row,) = rows_of(tmp_path)
    assert row.audio == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert (row.audio_start, row.audio_end) == (None, None)
    assert row.video == "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    assert (row.start, row.end) == (1.0, 2.0)


def test_a_film_that_lacks_among_others_is_a_problem(tmp_path: Path) -> None:
    for name in ("Ses01F_impro01", "Ses01F_impro02"):
        add(tmp_path, name, [f"{name}_F000"], [block(f"{name}_F000", "neu")])
    (tmp_path / "Session1/dialog/avi/DivX/Ses01F_impro02.avi").unlink()
    assert [row.problem for row in rows_of(tmp_path)] == ["", "Session1/dialog/avi/…/Ses01F_impro02.avi: no such file"]


def test_a_malformed_evaluation_is_noted_with_file_and_line(tmp_path: Path) -> None:
    name = "Ses01F_impro01_F000"
    broken = "[6.2901 - 8.2357] Ses01F_impro01_F001 neu\n"  # blanks where tabs belong
    add(tmp_path, "Ses01F_impro01", [name], [block(name, "neu", "C-E2 Neutral"), broken])
    notes = read(tmp_path, ALL, "random20", 0).notes
    file = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    assert [note.partition(":")[0] for note in notes] == [f"{file}, line 4", f"{file}, line 6"]


def test_lines_without_their_counterpart_and_repeated_ones_are_noted(tmp_path: Path) -> None:
    one, two, three = (f"Ses01F_impro01_F00{number}" for number in range(3))
    add(tmp_path, "Ses01F_impro01", [one, one, two], [block(one, "neu"), block(three, "sad"), block(f"{one}x", "oth")])
    raw_corpus = read(tmp_path, ALL, "random20", 0)
    assert [row.utterance_id for row in raw_corpus.rows] == [one]
    file = "Session1/dialog/transcriptions/Ses01F_impro01.txt"
    assert raw_corpus.notes == [
        f"{file}, line 2: a second line for {one}, passed over",
        f"{file}, line 3: {two} has no evaluation, passed over",
        f"{file}: has no line for 1 evaluated utterances, first {three}",
    ]


LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=60)
NUMBER = st.from_regex(r"[0-9.]{1,8}", fullmatch=True)


@given(st.one_of(LINE, st.builds("Ses01F_impro01_F001 [{}-{}]: {}".format, NUMBER, NUMBER, LINE)))
def test_whatever_a_transcription_says_it_is_read_skipped_or_noted_with_its_line(line: str) -> None:
    with TemporaryDirectory() as folder:
        ids = ["Ses01F_impro01_F000", "Ses01F_impro01_F001"]
        add(Path(folder), "Ses01F_impro01", ids[:1], [block(one, "neu") for one in ids])
        file = Path(folder) / "Session1/dialog/transcriptions/Ses01F_impro01.txt"
        file.write_text(f"Ses01F_impro01_F000 [1.0-2.0]: One.\n{line}\n", "utf-8")
        raw_corpus = read(Path(folder), ["text"], "random20", 0)
        assert raw_corpus.rows[0].utterance_id == ids[0]
        if len(raw_corpus.rows) == 2:
            start, end = raw_corpus.rows[1].start, raw_corpus.rows[1].end
            assert start is not None
            assert end is not None
            assert start <= end
        elif line.strip() and not line.startswith(("M:", "F:")) and "XX" not in line.split()[0]:
            assert raw_corpus.notes[0].startswith("Session1/dialog/transcriptions/Ses01F_impro01.txt, line 2: ")


@given(st.one_of(LINE, LINE.map("[{}".format), LINE.map("C-{}".format)))
def test_whatever_an_evaluation_says_it_is_read_skipped_or_noted_with_its_line(line: str) -> None:
    with TemporaryDirectory() as folder:
        name = "Ses01F_impro01_F000"
        add(Path(folder), "Ses01F_impro01", [name], [block(name, "neu")])
        file = Path(folder) / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
        file.write_text(block(name, "neu") + line + "\n", "utf-8")
        notes: list[str] = []
        found = read_evaluations(file, Path(folder), notes)
        assert found[name].code == "neu"
        understood = len(found) > 1 or found[name].votes or VOTE.match(line)
        if line.startswith(("[", "C-")) and not understood:
            assert [note.partition(": ")[0] for note in notes] == [
                "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt, line 3"
            ]
        else:
            assert notes == []


@given(st.integers(0, 9_999_999), st.integers(0, 9_999_999), LINE)
def test_a_transcription_line_is_what_was_written(one: int, other: int, text: str) -> None:
    start, end = (value / 10_000 for value in sorted((one, other)))
    found = SPOKEN.fullmatch(f"Ses01F_impro01_F000 [{start:08.4f}-{end:08.4f}]: {text}")
    assert found
    assert (float(found["start"]), float(found["end"]), found["text"]) == (start, end, text)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations with the full release's numbers of dialogues and six-way utterances in each session."""
    raw = tmp_path_factory.mktemp("full")
    for session, (dialogues, utterances) in KNOWN.items():
        for number in range(dialogues):
            name = f"Ses0{session}F_impro{number:02}"
            several = utterances // dialogues + (number < utterances % dialogues)
            ids = [f"{name}_F{turn:03}" for turn in range(several)]
            add(raw, name, ids, [block(one, "neu") for one in ids], media=False)
    return raw


def test_the_full_release_has_its_known_counts(full: Path) -> None:
    raw_corpus = read(full, ["text"], "random20", 0)
    assert raw_corpus.differences == raw_corpus.notes == []
    assert len(raw_corpus.rows) == 7_433
    counts = census(raw_corpus, [0.0] * len(raw_corpus.rows), IEMOCAP)["splits"]
    assert [counts[split]["utterances"] for split in ("train+validation", "test")] == [5_810, 1_623]
    assert [counts[split]["dialogues"] for split in ("train+validation", "test")] == [120, 31]
    assert [counts[split]["turns_a_dialogue"]["mean"] for split in ("train+validation", "test")] == [48.42, 52.35]


def test_a_full_release_that_lacks_something_names_session_and_file(full: Path, tmp_path: Path) -> None:
    raw = tmp_path / "damaged"
    shutil.copytree(full, raw)
    (raw / "Session2/dialog/transcriptions/Ses02F_impro03.txt").unlink()
    broken = raw / "Session4/dialog/transcriptions/Ses04F_impro07.txt"
    broken.write_text(broken.read_text().replace("[1.0-2.0]", "[1.0-2.", 1))
    lines = (raw / "Session5/dialog/transcriptions/Ses05F_impro30.txt").read_text().splitlines()
    (raw / "Session5/dialog/transcriptions/Ses05F_impro30.txt").write_text("\n".join(lines[:-7]))  # cut off
    raw_corpus = read(raw, ["text"], "random20", 0)
    assert raw_corpus.differences == [
        "Session2: 1310 utterances in 29 dialogues; the release has 1356 in 30 "
        "(to look at: Session2/dialog/transcriptions/Ses02F_impro03.txt)",
        "Session4: 1511 utterances in 30 dialogues; the release has 1512 in 30 "
        "(to look at: Session4/dialog/transcriptions/Ses04F_impro07.txt)",
        "Session5: 1616 utterances in 31 dialogues; the release has 1623 in 31 "
        "(to look at: Session5/dialog/transcriptions/Ses05F_impro30.txt)",
    ]


def test_a_small_copy_is_not_taken_for_a_full_release(tmp_path: Path) -> None:
    add(tmp_path, "Ses01F_impro01", ["Ses01F_impro01_F000"], [block("Ses01F_impro01_F000", "neu")])
    assert read(tmp_path, ["text"], "random20", 0).differences == []


def test_what_is_no_release_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`raw` of this corpus .* must name the folder IEMOCAP_full_release"):
        rows_of(tmp_path)
    add(tmp_path, "Ses01F_impro01", ["Ses01F_impro01_F000"], [])
    (tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").unlink()
    with pytest.raises(UserError, match=r"EmoEvaluation/Ses01F_impro01\.txt: no such file"):
        rows_of(tmp_path)


def test_unlabelled_turns_are_context_where_all_turns_are_asked_for(tmp_path: Path) -> None:
    name = "Ses01F_impro01"
    spoken = [f"{name}_F000", f"{name}_M000", f"{name}_F001", f"{name}_M001"]
    codes = ("neu", "xxx", "sur", "ang")
    add(tmp_path, name, spoken, [block(one, code) for one, code in zip(spoken, codes, strict=True)], media=False)
    labelled = read(tmp_path, ["text"], "random20", 0).rows
    assert [(row.utterance_id, row.turn, row.label) for row in labelled] == [
        (spoken[0], 0, "neutral"), (spoken[3], 1, "angry")
    ]  # fmt: skip
    every = read(tmp_path, ["text"], "random20", 0, "all")
    assert [(row.utterance_id, row.turn, row.label) for row in every.rows] == [
        (spoken[0], 0, "neutral"), (spoken[1], 1, ""), (spoken[2], 2, ""), (spoken[3], 3, "angry")
    ]  # fmt: skip
    part = census(every, [0.0] * 4, IEMOCAP)["splits"]["train"]
    assert (part["utterances"], part["unlabelled"], sum(part["labels"].values())) == (4, 2, 2)
    assert "unlabelled" not in census(read(tmp_path, ["text"], "random20", 0), [0.0] * 2, IEMOCAP)["splits"]["train"]


@pytest.mark.slow
@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="the development data are not beside the project")
def test_iemocap_has_10039_turns_of_which_7433_are_labelled(tmp_path: Path) -> None:
    said = json.loads((ANNOTATIONS / "iemocap_utterances.json").read_text())
    votes = json.loads((ANNOTATIONS / "iemocap_votes.json").read_text())
    for name, turns in json.loads((ANNOTATIONS / "iemocap_order.json").read_text()).items():
        spoken = [f"{one} [{said[one]['start']}-{said[one]['end']}]: {said[one]['text']}" for one in turns]
        blocks = [
            block(one, said[one]["label"],
                  *(f"{who}:\t{'; '.join(chosen)};\t()" for who, chosen in votes.get(one, {}).items()))
            for one in turns
        ]  # fmt: skip
        add(tmp_path, name, spoken, blocks, media=False)
    labels = json.loads((ANNOTATIONS / "iemocap_cosmic_labels.json").read_text())
    every = read(tmp_path, ["text"], "random20", 0, "all")
    assert len(every.rows) == 10_039
    assert every.differences == []
    assert {row.utterance_id for row in every.rows if row.label} == set(labels)
    labelled = read(tmp_path, ["text"], "random20", 0).rows
    assert [row.utterance_id for row in labelled] == [row.utterance_id for row in every.rows if row.label]
    assert [row.split for row in labelled] == [row.split for row in every.rows if row.label]
    counts = census(every, [0.0] * 10_039, IEMOCAP)["splits"]
    assert [counts[split]["unlabelled"] for split in ("train+validation", "test", "all")] == [2_059, 547, 2_606]

"""IEMOCAP's reader against the irregularities of the release, each a test."""

from pathlib import Path

import pytest

from pipeline.corpora.iemocap import COSMIC_12, LEFT, RIGHT, read, with_validation
from pipeline.stage import StageError
from pipeline.utterances import Utterance

ALL = ["text", "audio", "visual"]


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
    return read(raw, modalities, "random20", 0)[0]


def test_order_is_the_transcriptions_not_the_evaluations(tmp_path: Path) -> None:
    ids = ["Ses01F_impro01_M000", "Ses01F_impro01_F000", "Ses01F_impro01_M001"]
    add(tmp_path, "Ses01F_impro01", ids, [block(name, "neu") for name in sorted(ids)])
    rows = rows_of(tmp_path)
    assert [row.utterance_id for row in rows] == ids
    assert [row.turn for row in rows] == [0, 1, 2]
    assert [row.speaker for row in rows] == [0, 1, 0]


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
    rows, notes = read(tmp_path, ALL, "random20", 0)
    assert [row.utterance_id for row in rows] == ["Ses01F_impro01_F000"]
    assert notes == []


def test_a_malformed_line_is_noted_with_file_and_line(tmp_path: Path) -> None:
    spoken = ["Ses01F_impro01_F000", "Ses01F_impro01_F001 [soon-later]: Words."]
    add(tmp_path, "Ses01F_impro01", spoken, [block("Ses01F_impro01_F000", "neu")])
    _, notes = read(tmp_path, ALL, "random20", 0)
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


def test_appledouble_files_are_skipped(tmp_path: Path) -> None:
    add(tmp_path, "Ses01F_impro01", ["Ses01F_impro01_F000"], [block("Ses01F_impro01_F000", "neu")])
    (tmp_path / "Session1/dialog/transcriptions/._Ses01F_impro01.txt").write_bytes(b"\0\5\26\7")
    (tmp_path / "Session1/dialog/avi/DivX/._Ses01F_impro01.avi").write_bytes(b"\0\5\26\7")
    rows, notes = read(tmp_path, ALL, "random20", 0)
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


def test_session_5_is_test_and_validation_is_cut_by_dialogue() -> None:
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
    assert held_out("cosmic12") == set(COSMIC_12) & set(names)
    assert len(set(COSMIC_12)) == 12


def test_what_is_no_release_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"index\.iemocap\.raw must name the folder IEMOCAP_full_release"):
        rows_of(tmp_path)
    add(tmp_path, "Ses01F_impro01", ["Ses01F_impro01_F000"], [])
    (tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").unlink()
    with pytest.raises(StageError, match=r"EmoEvaluation/Ses01F_impro01\.txt: no such file"):
        rows_of(tmp_path)

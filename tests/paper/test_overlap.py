"""What test knows of train, on a corpus whose every share can be counted by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from extractors.utterance import Utterance
from foundation.errors import UserError
from paper import overlap
from paper.overlap import Overlap, person, sentences, spoken, table
from pipeline.corpora import features, meld
from pipeline.corpora.index_file import write_index
from pipeline.params import load_params

PROJECT = Path(__file__).parents[2]
SHARED = PROJECT.parent / "shared" / "data"


def utterance(name: str, text: str, label: str, speaker: str = "", episode: str = "") -> Utterance:
    split, dialogue, turn = name.split("_")
    return Utterance(utterance_id=name, dialogue_id=f"{split}{dialogue}", turn=int(turn), speaker=0, split=split,
                     text=text, label=label, speaker_name=speaker, episode=episode)  # fmt: skip


ROWS = [
    utterance("train_0_0", "What’s up?!", "joy", "Ann", "s01e02"),
    utterance("train_0_1", "I really did not know that.", "joy", "Bob", "s01e02"),
    utterance("train_0_2", "No.", "anger", "Bob", "s01e02"),
    utterance("test_0_0", "whats  UP", "joy", "Ann", "s01e02"),
    utterance("test_0_1", "I really did NOT know that!", "anger", "Cleo", "s01e02"),
    utterance("test_0_2", "Something else", "", "Ann", "s01e02"),  # context: in no count
    utterance("test_1_0", "Something else", "anger", "Cleo", "s09e09"),
    utterance("test_1_1", "…", "anger", "Bob", "s09e09"),
]
SAID = {0: ["joy", "joy", "anger", "joy"], 1: ["joy", "anger", "sadness", "anger"]}


def write_run(folder: Path, rows: list[Utterance], said: dict[int, list[str]]) -> Path:
    tested = [row for row in rows if row.split == "test"]
    lines = ["utterance_id,seed,label,prediction"]
    for seed, words in said.items():
        given = iter(words)
        lines += [f"{row.utterance_id},{seed},{row.label},{next(given) if row.label else 'joy'}" for row in tested]
    folder.mkdir(parents=True)
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_words_are_the_same_whatever_their_case_and_punctuation() -> None:
    same = ["What's up?!", "WHAT’S UP", "…whats -- up.", "what`s\tup", "Ｗhat´s up", "what＇s up", "whatʼs up",
            "what′s up"]  # fmt: skip
    assert {spoken(text) for text in same} == {"whats up"}
    assert spoken("?!") == spoken("") == ""
    assert spoken("Straße") == spoken("STRASSE")
    assert spoken("é") != spoken("e")


def test_a_person_is_told_by_name_or_by_session_and_role() -> None:
    row = ROWS[0]
    assert person(row) == "Ann"
    assert person(replace(row, speaker_name="F", episode="Ses05")) == "Ses05F"
    assert person(replace(row, speaker_name="F", episode="")) == ""
    assert person(replace(row, speaker_name="2")) == person(replace(row, speaker_name="")) == ""


def test_each_group_is_counted_and_scored_by_itself(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ROWS, SAID)
    head, rows = table(Overlap.of(ROWS), {"a model": run})
    columns = {name: [row[place] for row in rows] for place, name in enumerate(head)}
    assert [row[0] for row in rows] == ["utterances of test", "share of test, %", "majority-class baseline", "a model"]
    # joy in train twice, anger once. Of four: joy 1, anger 3; always joy has F1 40 on joy, which is a quarter.
    # Seed 0: joy 2*1/(1+3) = .5, anger 2*1/(3+1) = .5. Seed 1: joy 1, anger 2*2/(3+2) = .8.
    assert columns["all"] == ["4", "100.0", "10.00", "67.50 ± 24.75"]
    # "whats up" and "I really did not know that": seed 0 joy 2/3, anger 0; seed 1 both right.
    assert columns["words in train"] == ["2", "50.0", "33.33", "66.67 ± 47.14"]
    # Both anger. Seed 0: anger, joy; seed 1: sadness, anger.
    assert columns["other words"] == ["2", "50.0", "0.00", "66.67 ± 0.00"]
    assert columns["speaker of train"][:2] == columns["other speaker"][:2] == ["2", "50.0"]
    assert columns["episode of train"] == columns["words in train"]
    said = " ".join(sentences(Overlap.of(ROWS)))
    assert "2 of test's 4 utterances stand in train word for word, 1 of these with 4 words or more." in said
    assert "2 of test's 3 speakers are also in train." in said
    assert "1 of test's 2 episodes or sessions are also in train. 1 of test's 2 dialogues are of these." in said
    assert "cannot be told" not in said


def test_what_the_index_does_not_tell_is_left_empty_and_said(tmp_path: Path) -> None:
    rows = [replace(row, speaker_name="1", episode="", text="") for row in ROWS]
    head, found = table(Overlap.of(rows), {"a model": write_run(tmp_path / "run", rows, {0: SAID[0]})})
    assert [len(row) for row in found] == [len(head)] * 4
    assert all(row[2:] == [""] * 6 for row in found)
    assert found[3][1] == "50.00"  # one seed has no deviation
    said = " ".join(sentences(Overlap.of(rows)))
    assert "Words in train: cannot be told, because the index has no text." in said
    assert "Speaker of train: cannot be told, because the index tells the speakers only by their place" in said
    assert "Episode of train: cannot be told" in said
    assert "also in train" not in said


def test_an_utterance_of_which_it_cannot_be_told_is_in_neither_group(tmp_path: Path) -> None:
    lines = [("train", "Ann", "E1", "oh no"), ("test", "Ann", "E1", "oh no"), ("test", "3", "E2", "…"),
             ("test", "", "", "what"), ("test", "Bob", "E1", "well")]  # fmt: skip
    rows = [utterance(f"{split}_0_{turn}", text, "joy", speaker, episode)
            for turn, (split, speaker, episode, text) in enumerate(lines)]  # fmt: skip
    run = write_run(tmp_path / "run", rows, {0: ["joy"] * 4})
    head, found = table(Overlap.of(rows), {"a model": run})
    counted = {name: found[0][place] for place, name in enumerate(head)}
    assert (counted["speaker of train"], counted["other speaker"]) == ("1", "1")
    assert (counted["episode of train"], counted["other episode"]) == ("2", "1")
    assert (counted["words in train"], counted["other words"]) == ("1", "3")


def test_a_line_is_long_from_four_words_on_and_one_without_words_is_in_no_train() -> None:
    lines = ["one two three", "one two three four", "…", "so it is"]
    rows = [
        utterance(f"{split}_0_{turn}", text, "joy") for split in ("train", "test") for turn, text in enumerate(lines)
    ]
    said = " ".join(sentences(Overlap.of(rows)))
    assert "3 of test's 4 utterances stand in train word for word, 1 of these with 4 words or more." in said


def test_predictions_belong_to_their_utterances_in_whatever_order_they_stand(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ROWS, SAID)
    head, *rows = (run / "predictions.csv").read_text().splitlines()
    before = table(Overlap.of(ROWS), {"a model": run})
    # Each seed has its utterances in the same other order.
    half = len(rows) // 2
    (run / "predictions.csv").write_text("\n".join([head, *rows[:half][::-1], *rows[half:][::-1]]) + "\n")
    assert table(Overlap.of(ROWS), {"a model": run}) == before


def test_a_group_without_an_utterance_has_no_score(tmp_path: Path) -> None:
    rows = [replace(row, episode="s01e02") for row in ROWS]
    head, found = table(Overlap.of(rows), {"a model": write_run(tmp_path / "run", rows, SAID)})
    place = head.index("other episode")
    assert [row[place] for row in found] == ["0", "0.0", "-", "-"]


def test_the_command_takes_what_was_evaluated_and_refuses_another_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    write_index(ROWS, tmp_path / "data/meld/index.csv")
    write_run(tmp_path / "results/meld", ROWS, SAID)
    write_run(tmp_path / "paper/runs/meld/ctnet", ROWS, SAID)
    lines = overlap.run("meld", [])
    assert [line.split(" | ")[1] for line in lines if "model |" in line or "CTNet" in line] == ["67.50 ± 24.75"] * 2
    assert any(line.startswith("| results/meld | 67.50") for line in overlap.run("meld", ["results/meld"]))
    changed = [replace(row, label="joy") if row.split == "test" and row.label else row for row in ROWS]
    write_index(changed, tmp_path / "data/meld/index.csv")
    with pytest.raises(UserError, match="results/meld: has predictions of other utterances or labels than the index"):
        overlap.run("meld", [])
    with pytest.raises(UserError, match="x: is no corpus"):
        overlap.run("x", [])
    with pytest.raises(UserError, match="no utterance with a label"):
        Overlap.of([row for row in ROWS if row.split == "train"])


@pytest.mark.skipif(not (SHARED / "meld_csv").is_dir(), reason="MELD's annotations are not here")
def test_nearly_all_of_melds_test_is_of_episodes_and_speakers_of_train() -> None:
    found = Overlap.of(meld.read(SHARED / "meld_csv", ["text"]).rows)
    said = " ".join(sentences(found))
    assert "142 of test's 143 episodes or sessions are also in train. 279 of test's 280 dialogues are of these." in said
    head, rows = table(found, {})
    assert rows[1][head.index("speaker of train")] == "95.8"
    assert "404 of test's 2610 utterances stand in train word for word" in said


@pytest.mark.skipif(not (SHARED / "published").is_dir(), reason="the published files are not here")
def test_the_episodes_of_other_corpora_are_told_by_their_dialogues() -> None:
    index = load_params(PROJECT / "params.yaml").index
    settings = {"iemocap": index["iemocap_sdt"], "emorynlp": index["emorynlp"]}
    found = {name: features.read(SHARED / "published" / f"cosmic_{name}.pkl", one).rows  # type: ignore[arg-type]
             for name, one in settings.items()}  # fmt: skip
    assert {row.episode for row in found["iemocap"] if row.split == "test"} == {"Ses05"}
    assert {row.episode for row in found["emorynlp"] if row.dialogue_id == "4_4_11"} == {"s04e04"}
    assert "345 of test's 1623 utterances stand in train word for word, 137 of these with 4 words or more" in " ".join(
        sentences(Overlap.of(found["iemocap"]))
    )

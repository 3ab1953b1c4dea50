"""The command that shows the probe on encoders of which it is known what they have seen."""

from pathlib import Path

import pytest

from extractors.utterance import Utterance
from foundation.errors import UserError
from paper import seen_labels
from pipeline.corpora.index_file import write_index
from pipeline.corpora.labels import MELD
from tests.extractors.encoders import RECIPE
from tests.paper.small import write_params

SPLITS = {"train": 24, "validation": 10, "test": 12}
"""Number of dialogues, of three turns each."""


@pytest.fixture
def workspace(tmp_path: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch) -> list[Utterance]:
    """A corpus of text in the working folder, whose encoder is tiny."""
    rows = [
        Utterance(utterance_id=f"{split}{d}_{turn}", dialogue_id=f"{split}{d}", turn=turn, speaker=0, split=split,
                  text=f"{split} {d} {turn}", label=MELD[(d + turn) % 3])
        for split, number in SPLITS.items() for d in range(number) for turn in range(3)
    ]  # fmt: skip
    write_index(rows, tmp_path / "data/meld/index.csv")
    write_params(tmp_path, {"model": str(tiny_roberta)}, recipe={**RECIPE, "epochs": 1})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path / "cache"))
    return rows


@pytest.mark.slow
def test_each_form_is_trained_on_the_splits_of_its_name_and_has_a_row(
    workspace: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[dict[str, int]] = []
    real = seen_labels.finetune

    def noted(rows: list[Utterance], *others: object) -> None:
        trained.append({name: sum(row.split == "train" and row.dialogue_id.startswith(name) for row in rows)
                        for name in SPLITS})  # fmt: skip
        real(rows, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(seen_labels, "finetune", noted)
    lines = list(seen_labels.run("meld", 0.9))
    kept = 3 * 22  # nine tenths of the train dialogues
    assert trained == [{"train": kept, "validation": 0, "test": 0}, {"train": kept, "validation": 0, "test": 3 * 12}]
    rows = [line.split(" | ") for line in lines[1:]]
    assert [row[0] for row in rows] == [f"| {form}" for form in seen_labels.FORMS]
    assert all(row[1].startswith(("no sign", "labels of", "nothing can be said")) for row in rows)
    assert len({tuple(row[2:]) for row in rows}) > 1  # the features are not the same ones
    again = list(seen_labels.run("meld", 0.9))
    assert again == lines


def test_a_share_leaves_out_whole_dialogues_of_train_alone(workspace: list[Utterance]) -> None:
    kept = seen_labels.with_share(workspace, 0.5)
    count = {split: len({row.dialogue_id for row in kept if row.split == split}) for split in SPLITS}
    assert count == {**SPLITS, "train": 12}
    assert len(kept) == 3 * sum(count.values())
    assert seen_labels.with_share(workspace, 1.0) == workspace
    for wrong in (0.0, 1.5):
        with pytest.raises(UserError, match="must be above 0, and 1 at most"):
            list(seen_labels.run("meld", wrong))
    with pytest.raises(UserError, match="melt: is no corpus"):
        list(seen_labels.run("melt", 1.0))

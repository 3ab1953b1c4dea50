"""A corpus of a few words and settings that fine-tune a tiny encoder on it within a second."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from extractors.utterance import Utterance
from pipeline.corpora.index_file import write_index
from pipeline.params import Params, load_params
from tests.extractors.encoders import RECIPE

PROJECT = Path(__file__).parents[2]
ENCODER = Path("data/meld/encoder/text")
WORDS = {"joy": ("great", "happy", "wow"), "anger": ("hate", "mad", "stop"), "neutral": ("door", "tea", "bus")}


def write_text_corpus(file: Path, relabel: Callable[[Utterance], str] = lambda row: row.label) -> list[Utterance]:
    """An index of six dialogues of train and three of each other split, of which no two utterances have one text.

    The third turn of each dialogue is empty. `relabel` gives an utterance another label.
    """
    draw = np.random.default_rng(0)
    rows = []
    for split, dialogues in (("train", 6), ("validation", 3), ("test", 3)):
        for dialogue in range(dialogues):
            for turn in range(5):
                label = list(WORDS)[draw.integers(3)]
                text = "" if turn == 2 else f"{' '.join(draw.choice(WORDS[label], 3))} {split[0]}{dialogue}{turn}"
                row = Utterance(utterance_id=f"{split}{dialogue}_{turn}", dialogue_id=f"{split}{dialogue}", turn=turn,
                                speaker=turn % 2, split=split, text=text, label=label)  # fmt: skip
                rows.append(row)
    rows = [replace(row, label=relabel(row)) for row in rows]
    write_index(rows, file)
    return rows


def write_params(file: Path, model: Path, crossfit: int = 1, past: int = 0, **recipe: object) -> None:
    """The project's params.yaml with the encoder of `model` fine-tuned on meld, and changes of its recipe.

    `past` is the number of turns that are read before an utterance.
    """
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["text"]["meld"] |= {"model": str(model), "finetune": True, "crossfit": crossfit}
    content["text"]["meld"]["context"] = {"past": past, "future": 0, "names": "index"}
    content["recipes"]["roberta"] = {**RECIPE, **recipe}
    with file.open("w") as stream:
        YAML(typ="safe").dump(content, stream)


def params_with(model: Path, crossfit: int = 1, past: int = 0, **recipe: object) -> Params:
    with tempfile.TemporaryDirectory() as folder:
        write_params(Path(folder) / "params.yaml", model, crossfit, past, **recipe)
        return load_params(Path(folder) / "params.yaml")

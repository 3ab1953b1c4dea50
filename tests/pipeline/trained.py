"""A small model, trained by the pipeline's own stages within seconds on a corpus made for it."""

import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import evaluate, extract, finetune_text, index, leakage, train
from pipeline.params import MODALITIES, load_params
from pipeline.synthetic import demo

PROJECT = Path(__file__).parents[2]
TURNS = 4
"""Of the only dialogue of each split."""


def write_demo(raw: Path) -> None:
    """The demo corpus' first turns, in MELD's layout."""
    for split, (annotations, clips, _) in demo.SPLITS.items():
        turns = [turn for turn in demo.script(split) if turn.dialogue == 0][:TURNS]
        (raw / clips).mkdir(parents=True)
        demo.write_rows(raw / annotations, turns)
        for turn in turns:
            demo.write_clip(raw / clips / f"dia{turn.dialogue}_utt{turn.utterance}.mp4", turn)


def train_small(
    folder: Path, corpus: str, raw: Path, change: Callable[[dict], None] = lambda content: None, like: str = ""
) -> Path:
    """Run every stage of `corpus` from index to evaluate in `folder`; two seeds, an epoch each.

    Args:
        change: gets the content of params.yaml, already made small.
        like: the corpus whose entries are made small, if it is another one.
    """
    folder.mkdir(exist_ok=True)
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["index"][like or corpus]["raw"] = str(raw)
    content["text"][like or corpus]["model"] = "minilm"
    content["audio"][like or corpus] |= {"reduce": "pca", "dim": 3}
    content["visual"][like or corpus] |= {"fps": 2, "min_face": 60, "detector": "haar"}
    content["model"] |= {"dim": 20, "heads": 2}
    content["train"][like or corpus] |= {"epochs": 1, "seeds": [0, 1], "learning_rate": 0.01, "ema_decay": 0.0}
    change(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CMATH_CACHE", str(folder / "cache"))
        patch.setenv("CMATH_WORKERS", "1")
        with Path("params.yaml").open("w") as stream:
            YAML(typ="safe").dump(content, stream)
        shutil.copytree(PROJECT / "extractors/visual/weights", folder / "extractors/visual/weights")
        params, stage = load_params(), Namespace(corpus=corpus)
        index.run(stage, params)
        finetune_text.run(stage, params)
        for modality in MODALITIES:
            extract.run(extract.arguments().parse_args([corpus, modality]), params)
        leakage.run(stage, params)
        train.run(stage, params)
        evaluate.run(stage, params)
    return folder

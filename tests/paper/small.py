"""A corpus of random features and parameters by which the paper's pipeline runs on it within seconds."""

from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from extractors.features import Features, write_features
from pipeline.utterances import Utterance, write_index

PROJECT = Path(__file__).parents[2]
LABELS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")


def write_features_of_meld(folder: Path) -> list[Utterance]:
    """An index of eight dialogues a split, and features of which text tells the label, more or less."""
    draw = np.random.default_rng(0)
    rows = [
        Utterance(utterance_id=f"{split}{d}_{turn}", dialogue_id=f"{split}{d}", turn=turn, speaker=turn % 2,
                  split=split, text="x", label=LABELS[draw.integers(7)])
        for split in ("train", "validation", "test") for d in range(8) for turn in range(1 + d)
    ]  # fmt: skip
    data = folder / "data" / "meld"
    write_index(rows, data / "index.csv")
    for modality, width in (("text", 12), ("audio", 6), ("visual", 4)):
        values = draw.normal(size=(len(rows), width)).astype(np.float32)
        if modality == "text":
            values[np.arange(len(rows)), [LABELS.index(row.label) for row in rows]] += 2
        write_features(Features(values, np.ones(len(rows), bool), {}), data / "features" / f"{modality}.safetensors")
    return rows


def write_params(folder: Path, **report: object) -> None:
    """Both params.yaml, with small models, few epochs, and changes of the report's section."""
    main = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    main["model"] |= {"dim": 20, "heads": 2}
    main["baselines"]["multidag"] |= {"hidden": 10, "layers": 2}
    main["baselines"]["ctnet"] |= {"dim": 16, "hidden": 8}
    main["train"]["meld"] |= {"epochs": 4, "patience": 4}
    search = {"learning_rate": [0.001, 0.01], "dropout": [0.2], "seeds": [0], "epochs": 2}
    usual = {
        "corpora": ["meld"],
        "models": ["cmath", "ctnet", "multidag"],
        "seeds": [0, 1],
        "epochs": 1000,
        "search": search,
        "studies": {
            "ablations": ["cma_t", "hd"],
            "modalities": [["text"], ["text", "audio"]],
            "widths": [20, 40],
            "gammas": [0.5, 1.0],
            "gamma_seeds": [0],
        },
        "robustness": {"missing": [0.0, 1.0], "noise": [0.0, 2.0]},
    }
    (folder / "paper").mkdir(exist_ok=True)
    for file, content in (("params.yaml", main), ("paper/params.yaml", {"report": usual | report})):
        with (folder / file).open("w") as stream:
            YAML(typ="safe").dump(content, stream)

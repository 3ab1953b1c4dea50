"""Parameters by which the paper's pipeline runs within seconds."""

from pathlib import Path

from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[2]
SEARCH = {"points": 2, "learning_rate": [0.001, 0.01], "dropout": [0.2], "batch": [4], "start": {}, "given": {},
          "seeds": [0], "epochs": 2}  # fmt: skip
"""Two points: learning rate 0.001, with which all begin, and 0.01."""


def write_params(folder: Path, text: dict | None = None, recipe: dict | None = None, **report: object) -> None:
    """Both params.yaml, with small models, few epochs, and changes of meld's text encoder and of the report."""
    main = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    main["model"] |= {"dim": 20, "heads": 2, "dropout": 0.2}
    main["baselines"]["multidag"] |= {"hidden": 10, "layers": 2, "buckets": 2, "dropout": 0.2}
    main["baselines"]["ctnet"] |= {"dim": 16, "hidden": 8, "dropout": 0.2}
    main["text"]["meld"] |= text or {}
    main["recipes"]["roberta"] |= recipe or {}
    main["train"]["meld"] |= {"learning_rate": 0.001, "epochs": 4, "patience": 4}
    usual = {
        "corpora": ["meld"],
        "published": {},
        "models": ["cmath", "ctnet", "multidag"],
        "seeds": [0, 1],
        "epochs": 1000,
        "search": SEARCH,
        "studies": {
            "ablations": ["cma_t", "hd"],
            "modalities": [["text"], ["text", "audio"]],
            "widths": [20, 40],
            "gammas": [0.5, 1.0],
            "gamma_seeds": [0],
            "text": False,
        },
        "robustness": {"missing": [0.0, 1.0], "noise": [0.0, 2.0]},
    }
    (folder / "paper").mkdir(exist_ok=True)
    for file, content in (("params.yaml", main), ("paper/params.yaml", {"report": usual | report})):
        with (folder / file).open("w") as stream:
            YAML(typ="safe").dump(content, stream)

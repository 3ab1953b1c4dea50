"""The schema of paper/params.yaml: the one section `report`, as strict as that of the main params.yaml.

python -m paper.params          checks it and says "ok"
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params import (
    Corpus,
    Count,
    Dropout,
    Modalities,
    ModelName,
    NotNegative,
    Params,
    ParamsError,
    Positive,
    Section,
    Share,
    checked,
    read_yaml,
    refuse_repetition,
)

FILE = Path("paper/params.yaml")

NO_CORPUS = (
    f"no corpus is chosen (report.corpora of {FILE} is empty): `python -m paper.settings demo` chooses a small first "
    "look, and docs/paper.md has the others"
)

Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Search(Section):
    """Over what every model's learning rate and dropout are chosen, on validation."""

    learning_rate: Annotated[list[Positive], Field(min_length=1)]
    dropout: Annotated[list[Dropout], Field(min_length=1)]
    """Of the network's dropout; every pair with a learning rate is tried."""
    seeds: Seeds
    epochs: Count
    """At most so many, and never more than the reported trainings."""

    @model_validator(mode="after")
    def _check(self) -> "Search":
        for key in ("learning_rate", "dropout", "seeds"):
            refuse_repetition(self, key)
        return self


class Studies(Section):
    """Of CMATH, at the point that its search chose."""

    ablations: list[Literal["mr", "cma_t", "lld", "hld", "hd"]]
    modalities: list[Modalities]
    widths: list[Count]
    gammas: list[NotNegative]
    """Of gamma1 and gamma2: every pair is trained."""
    gamma_seeds: Seeds
    text: bool
    """Whether to compare text features of the encoder as published and fine-tuned; the main pipeline makes but one."""

    @model_validator(mode="after")
    def _check(self) -> "Studies":
        for key in ("ablations", "widths", "gammas", "gamma_seeds"):
            refuse_repetition(self, key)
        return self


class Robustness(Section):
    missing: list[Share]
    """Shares of the test clips whose modality is dropped."""
    noise: list[NotNegative]
    """Deviations of noise on a modality's standardised features."""


class Report(Section):
    """What is trained and reported."""

    corpora: list[Corpus]
    """Those to report on; none, as the file is committed: then paper/dvc.yaml has no stages."""
    models: Annotated[list[ModelName], Field(min_length=1)]
    seeds: Seeds
    epochs: Count
    """Of a training at most, and never more than train.D.epochs."""
    search: Search
    studies: Studies
    robustness: Robustness

    @model_validator(mode="after")
    def _check(self) -> "Report":
        for key in ("corpora", "models", "seeds"):
            refuse_repetition(self, key)
        return self


class PaperParams(Section):
    report: Report


def load_report(file: Path = FILE) -> Report:
    """Read and check `file`.

    Raises:
        ParamsError: the file is missing, is not YAML, or a value is not allowed.
    """
    return checked(read_yaml(file), PaperParams, file).report


def changed(params: Params, changes: dict[str, object]) -> Params:
    """The main parameters with other values of some keys, `train.meld.learning_rate` for example.

    Raises:
        ParamsError: a value is not allowed there.
    """
    content = params.model_dump()
    for key, value in changes.items():
        *path, last = key.split(".")
        section = content
        for name in path:
            section = section[name]
        if last not in section:
            raise KeyError(key)
        section[last] = value
    return checked(content, Params, Path("params.yaml"))


if __name__ == "__main__":
    try:
        load_report()
    except ParamsError as error:
        raise SystemExit(str(error)) from None
    print(f"{FILE}: ok")

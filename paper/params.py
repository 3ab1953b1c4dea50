"""The schema of paper/params.yaml: its only section `report`, as strict as the schema of the main params.yaml.

python -m paper.params          checks the file and prints "ok"
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from foundation.settings import Count, Dropout, NotNegative, Positive, Settings, Share, refuse_repetition
from pipeline.params import Corpus, Modalities, ModelName, Params, ParamsError, checked, read_yaml

FILE = Path("paper/params.yaml")

NO_CORPUS = (
    f"no corpus is chosen (report.corpora of {FILE} is empty): `python -m paper.settings demo` chooses a small first "
    "look, and docs/paper.md has the others"
)

Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Search(Settings):
    """Grid for choosing every model's learning rate and dropout on validation."""

    learning_rate: Annotated[list[Positive], Field(min_length=1)]
    dropout: Annotated[list[Dropout], Field(min_length=1)]
    """Values of the network's dropout; every pair with a learning rate is tried."""
    seeds: Seeds
    epochs: Count
    """Largest number of epochs; the search never uses more epochs than the reported trainings."""

    @model_validator(mode="after")
    def _check(self) -> "Search":
        for key in ("learning_rate", "dropout", "seeds"):
            refuse_repetition(self, key)
        return self


class Studies(Settings):
    """Studies of CMATH, with the learning rate and dropout that its search chose."""

    ablations: list[Literal["mr", "cma_t", "lld", "hld", "hd"]]
    modalities: list[Modalities]
    widths: list[Count]
    gammas: list[NotNegative]
    """Values of gamma1 and gamma2; every pair is trained."""
    gamma_seeds: Seeds
    text: bool
    """Whether to compare text features of the published and fine-tuned encoder; the main pipeline makes only one."""

    @model_validator(mode="after")
    def _check(self) -> "Studies":
        for key in ("ablations", "widths", "gammas", "gamma_seeds"):
            refuse_repetition(self, key)
        return self


class Robustness(Settings):
    missing: list[Share]
    """Fractions of the test clips whose modality is dropped."""
    noise: list[NotNegative]
    """Standard deviations of the noise on a modality's standardised features."""


class Report(Settings):
    """Settings of the report: what is trained and reported."""

    corpora: list[Corpus]
    """Corpora to report on; empty in the committed file, so that paper/dvc.yaml has no stages."""
    models: Annotated[list[ModelName], Field(min_length=1)]
    seeds: Seeds
    epochs: Count
    """Largest number of epochs of a training; train.D.epochs is a limit too."""
    search: Search
    studies: Studies
    robustness: Robustness

    @model_validator(mode="after")
    def _check(self) -> "Report":
        for key in ("corpora", "models", "seeds"):
            refuse_repetition(self, key)
        return self


class PaperParams(Settings):
    report: Report


def load_report(file: Path = FILE) -> Report:
    """Read and check `file`.

    Raises:
        ParamsError: the file is missing, is not YAML, or a value is not allowed.
    """
    return checked(read_yaml(file), PaperParams, file).report


def changed(params: Params, changes: dict[str, object]) -> Params:
    """Replace the values of some keys of the main parameters, for example of `train.meld.learning_rate`.

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

"""The schema of paper/params.yaml: its only section `report`, as strict as the schema of the main params.yaml.

python -m paper.params          checks the file and prints "ok"
"""

import argparse
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from foundation.settings import Count, Dropout, KeyedError, NotNegative, Positive, Settings, Share, refuse_repetition
from pipeline.params import Corpus, Modalities, ModelName, Params, ParamsError, checked, read_yaml

FILE = Path("paper/params.yaml")

NO_CORPUS = (
    f"no corpus is chosen (report.corpora of {FILE} is empty): `python -m paper.settings demo` chooses a small first "
    "look, and docs/paper.md has the others"
)

Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Start(Settings):
    """Training settings of a model that its authors published for a corpus, or ours if they published none."""

    learning_rate: Positive
    batch: Count
    weight_decay: NotNegative


class Given(Settings):
    """A point of the search that was tried elsewhere, with its score."""

    learning_rate: Positive
    dropout: Dropout
    batch: Count
    score: Annotated[float, Field(ge=0, le=100)] | None
    """Weighted F1 on validation, in percent; None: the loss was not finite."""


class Search(Settings):
    """Search for every model's learning rate, dropout and batch on validation; paper/search.py says how it goes."""

    points: Count
    """Number of points that are tried, the same for every model."""
    learning_rate: Annotated[list[Positive], Field(min_length=1)]
    """Values that may be tried; the first and the last bound the search."""
    dropout: Annotated[list[Dropout], Field(min_length=1)]
    batch: Annotated[list[Count], Field(min_length=1)]
    start: dict[ModelName, Start]
    """Point at which the search of a model begins; its weight decay is not searched. A model without one begins at the
    learning rate and batch of train.D, and has its weight decay."""
    given: dict[Corpus, dict[ModelName, list[Given]]]
    """Points by corpus and model that the search does not train, because their scores are known (paper/given.py)."""
    seeds: Seeds
    epochs: Count
    """Largest number of epochs, from the first that sees all of train; never more than of the reported trainings."""

    @model_validator(mode="after")
    def _check(self) -> "Search":
        for key in ("learning_rate", "dropout", "batch", "seeds"):
            refuse_repetition(self, key)
        for corpus, models in self.given.items():
            for model, points in models.items():
                if len({(one.learning_rate, one.dropout, one.batch) for one in points}) < len(points):
                    values = [one.model_dump() for one in points]
                    raise KeyedError(f"given.{corpus}.{model}", values, "must not name a point twice")
        return self

    def start_of(self, model: str) -> Start | None:
        return {str(name): start for name, start in self.start.items()}.get(model)

    def given_of(self, corpus: str, model: str) -> list[Given]:
        """Points of a model on a corpus whose scores are known."""
        of_corpus = {str(name): models for name, models in self.given.items()}.get(corpus, {})
        return {str(name): points for name, points in of_corpus.items()}.get(model, [])


class Studies(Settings):
    """Studies of CMATH, at the point that its search chose."""

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
        if len({f"{value:g}" for value in self.gammas}) < len(self.gammas):  # so their folders are named
            raise KeyedError("gammas", self.gammas, "must differ in their first six digits")
        return self


class Robustness(Settings):
    missing: list[Share]
    """Fractions of the test clips whose modality is dropped."""
    noise: list[NotNegative]
    """Standard deviations of the noise on a modality's standardised features."""

    @model_validator(mode="after")
    def _check(self) -> "Robustness":
        for key in ("missing", "noise"):
            refuse_repetition(self, key)
        return self


class Report(Settings):
    """Settings of the report: what is trained and reported."""

    corpora: list[Corpus]
    """Corpora to report on; empty in the committed file, so that paper/dvc.yaml has no stages."""
    published: dict[Corpus, Literal["iemocap", "meld"]]
    """Which of the paper's corpora a corpus is under another name; its published rows and length groups are used."""
    models: Annotated[list[ModelName], Field(min_length=1)]
    seeds: Seeds
    epochs: Count
    """Largest number of epochs of a training, from the first that sees all of train; train.D.epochs is a limit too."""
    search: Search
    studies: Studies
    robustness: Robustness

    @model_validator(mode="after")
    def _check(self) -> "Report":
        for key in ("corpora", "models", "seeds"):
            refuse_repetition(self, key)
        return self

    def printed(self, corpus: str) -> str:
        """Name by which the paper has a corpus, if it has it."""
        return {str(name): paper for name, paper in self.published.items()}.get(corpus, corpus)


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
    argparse.ArgumentParser("python -m paper.params", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    try:
        load_report()
    except ParamsError as error:
        raise SystemExit(str(error)) from None
    print(f"{FILE}: ok")

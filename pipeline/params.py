"""The schema of params.yaml, strict and frozen; it combines the settings classes that are defined next to their code.

    python -m pipeline.params          checks params.yaml and prints "ok"

The message for a refused value is one line with file, key, value and what is allowed. Only pydantic and the YAML reader
are imported, so that a mistake in the file is found at once.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from extractors.settings import AudioSettings, FaceTrainingSettings, FineTuningRecipe, TextSettings, VisualSettings
from foundation.errors import UserError
from foundation.files import read_file
from foundation.settings import KeyedError, Settings, refuse_repetition
from model.baselines.settings import (
    AdaignSettings,
    CmcfSrnetSettings,
    CtnetSettings,
    DialogueGcnSettings,
    DialogueRnnSettings,
    MmDfnSettings,
    MmgcnSettings,
    MultiDagSettings,
    OwnSettings,
    ScmmSettings,
    SdtSettings,
)
from model.settings import CmathSettings, TrainingSettings
from pipeline.corpora.seen import seen_by
from pipeline.corpora.settings import MODALITIES, IndexSettings, MaterialSettings, Modalities

__all__ = ["MODALITIES", "Params", "ParamsError", "checked", "load_params", "read_yaml"]

Values = TypeVar("Values", bound=Settings)
Corpus = Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]{0,99}$")]
"""Name of a corpus that is valid in DVC's stage names, in folder names and for `-S`."""
ModelName = Literal["cmath", "sdt", "dialogue_rnn", "dialogue_gcn", "mmgcn", "ctnet", "mm_dfn", "scmm", "cmcf_srnet",
                    "multidag", "adaign"]  # fmt: skip
READERS = "demo, meld, iemocap, table, features or assembled"
NOT_FOR_DVC = ("size", "nfiles", "item", "key")
"""Names that DVC forgets in its run cache, or takes for its own."""
OF_ROBERTA = ("roberta", "roberta_iemocap")
"""Recipes of this project for RoBERTa-Large; a small encoder would learn almost nothing with them."""


class ParamsError(UserError):
    """params.yaml cannot be used; the message has one line per reason."""


class Model(CmathSettings):
    """Section `model`: the network, its modalities, and CMATH's settings."""

    name: ModelName
    """Name of the model; a baseline takes its settings from `baselines`, and from this section only `modalities` and
    `context`."""
    modalities: Modalities

    @model_validator(mode="after")
    def _check_name(self) -> "Model":
        refuse_repetition(self, "modalities")
        if self.name != "cmath" and self.ablate != "none":
            raise KeyedError("ablate", self.ablate, f"ablates CMATH, and model.name is {self.name}: set it to none")
        can = [name for name, field in Baselines.model_fields.items() if getattr(field.annotation, "can_follow", False)]
        if self.context == "past" and self.name not in can:
            raise KeyedError("context", self.context, f"{self.name} has no form in which a turn sees no later one: use "
                             f"whole, or as model.name one of {', '.join(can)}")  # fmt: skip
        return self


class NoSettings(OwnSettings):
    """Empty entry for CMATH, whose settings are in `model`."""

    can_follow = Model.can_follow


class Baselines(Settings):
    """Settings of each baseline; the docstring of its module in model/baselines/ has the published values."""

    cmath: NoSettings
    sdt: SdtSettings
    dialogue_rnn: DialogueRnnSettings
    dialogue_gcn: DialogueGcnSettings
    mmgcn: MmgcnSettings
    ctnet: CtnetSettings
    mm_dfn: MmDfnSettings
    scmm: ScmmSettings
    cmcf_srnet: CmcfSrnetSettings
    multidag: MultiDagSettings
    adaign: AdaignSettings

    def __getitem__(self, model: str) -> OwnSettings:
        settings: OwnSettings = getattr(self, model)
        return settings


class Params(Settings):
    """All of params.yaml. `index` defines the corpora; each needs an entry in text, audio, visual and train too."""

    datasets: Annotated[list[Corpus], Field(min_length=1)]
    """Corpora to process."""
    watch: list[Corpus]
    """Corpora, among `datasets`, whose raw files DVC checks for changes in every command."""
    index: dict[Corpus, IndexSettings]
    text: dict[Corpus, TextSettings]
    recipes: dict[str, FineTuningRecipe]
    """Settings for fine-tuning a text encoder, by the name that `text.D.recipe` uses."""
    audio: dict[Corpus, AudioSettings]
    visual: dict[Corpus, VisualSettings]
    material: MaterialSettings
    """Public material of the corpora of the reader `assembled`."""
    face: FaceTrainingSettings
    model: Model
    baselines: Baselines
    train: dict[Corpus, TrainingSettings]

    @model_validator(mode="after")
    def _check(self) -> "Params":
        refuse_repetition(self, "datasets")
        refuse_repetition(self, "watch")
        for place, corpus in enumerate(self.datasets):
            if corpus not in self.index:
                raise KeyedError(f"datasets.{place}", corpus, f"must be a corpus of index: {', '.join(self.index)}")
        for corpus in self.index:
            if corpus in NOT_FOR_DVC:
                raise KeyedError(f"index.{corpus}", "...", "is a name that DVC keeps for itself: take another")
        for corpus in self.watch:
            if corpus not in self.datasets:
                raise KeyedError("watch", self.watch, f"must name corpora of datasets, which lacks {corpus}")
        sections: dict[str, Mapping[str, Settings]] = {
            "text": self.text, "audio": self.audio, "visual": self.visual, "train": self.train
        }  # fmt: skip
        for key, section in sections.items():
            for corpus in section:
                if corpus not in self.index:
                    raise KeyedError(
                        f"{key}.{corpus}", "...", "belongs to no corpus: `index` has no entry of this name"
                    )
            for corpus in self.index:
                if corpus not in section:
                    raise KeyedError(f"{key}.{corpus}", None, f"is missing: index has the corpus {corpus}. Copy the "
                                     f"entry of another corpus, or write `{corpus}: {{}}`, which takes all defaults"
                                     )  # fmt: skip
        for corpus, visual in self.visual.items():
            if visual.encoder == "denseface" and visual.crop != "face":
                raise KeyedError(f"visual.{corpus}.crop", visual.crop, "must be face for denseface, which sees "
                                 "nothing else; encoders that see whole frames: docs/encoders.md")  # fmt: skip
        for corpus in self.datasets if self.model.context == "past" else ():
            if future := self.text[corpus].context.future:
                raise KeyedError(f"text.{corpus}.context.future", future, "must be 0 with model.context = past: these "
                                 "features are made of later turns")  # fmt: skip
        for corpus, text in self.text.items():
            self._check_recipe(f"text.{corpus}.recipe", text)
            self._require_unseen("text", corpus, "model", text.model, text.allow_seen)
            audio, visual = self.audio[corpus], self.visual[corpus]
            self._require_unseen("audio", corpus, "encoder", audio.encoder, audio.allow_seen)
            self._require_unseen("visual", corpus, "encoder", visual.encoder, visual.allow_seen)
        return self

    def _require_unseen(self, section: str, corpus: str, key: str, encoder: str, allowed: bool) -> None:
        if not allowed and (why := seen_by(encoder, self.index[corpus].reader)):
            raise KeyedError(f"{section}.{corpus}.{key}", encoder, f"has seen labels of the corpus: {why}. Choose "
                             f"another encoder, or `-S +{section}.{corpus}.allow_seen=true`, which marks every result"
                             )  # fmt: skip

    def recipe(self, corpus: str) -> FineTuningRecipe:
        """Recipe for fine-tuning the text encoder of `corpus`."""
        return self.recipes[self.text[corpus].chosen_recipe]

    def _check_recipe(self, key: str, text: TextSettings) -> None:
        if text.chosen_recipe not in self.recipes:
            raise KeyedError(key, text.recipe, f"must be auto, or one of recipes: {', '.join(self.recipes)}")
        if text.finetune and text.model == "minilm" and text.chosen_recipe in OF_ROBERTA:
            raise KeyedError(key, text.recipe, "is for RoBERTa-Large; minilm is fine-tuned with auto or minilm, or "
                             "with a recipe of your own")  # fmt: skip


MOST_BYTES = 2**20
MOST_DEPTH = 20
LONGEST_VALUE = 200
"""Characters of a value that a message shows."""


def _line(file: Path, error: dict) -> str:
    """Format one of pydantic's errors like all other messages about params.yaml."""
    place = [part for part in map(str, error["loc"]) if part != "[key]"]
    if place[:1] == ["index"] and len(place) > 2:
        del place[2]  # the reader's name, which pydantic inserts for a discriminated union
    key, value, allowed = ".".join(place), error["input"], error["msg"]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, KeyedError):
        key, value, allowed = f"{key}.{cause.key}".lstrip("."), cause.value, cause.allowed
    key, shown = _shortened(key), _shortened(repr(value))
    if error["type"] == "missing":
        return f"{file}: {key} is missing"
    if allowed.startswith("is missing"):
        return f"{file}: {key} {allowed}"
    if error["type"] == "extra_forbidden":
        return f"{file}: {key} = {shown}: there is no such key"
    if error["type"] == "union_tag_not_found":
        return f"{file}: {key}.reader is missing: it must be {READERS}"
    if error["type"] == "union_tag_invalid":
        return f"{file}: {key}.reader = {_shortened(repr(error['ctx']['tag']))}: must be {READERS}"
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        if not key:
            what = "is empty" if value is None else f"holds {shown}"
            return f"{file}: {what}, and not the sections; `git checkout HEAD -- {file}` brings the committed file back"
        allowed = "must be a section with keys of its own (`{}` takes all defaults)"
    if error["type"] == "string_pattern_mismatch":
        allowed = "must be a name of at most 100 letters, digits and underscores that begins with a letter"
    allowed = allowed.replace("Input should", "must")
    return f"{file}: {key} = {shown}: {allowed[0].lower()}{allowed[1:]}"


def _shortened(written: str) -> str:
    return written if len(written) <= LONGEST_VALUE else f"{written[:LONGEST_VALUE]}…"


def load_params(file: Path = Path("params.yaml")) -> Params:
    """Read and check `file`.

    Raises:
        ParamsError: the file is missing, is not YAML, or a value is not allowed.
    """
    return checked(read_yaml(file), Params, file)


def read_yaml(file: Path) -> object:
    """Read the content of the file without checking it.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds what no parameters need (aliases, tags, deep nesting).
    """
    try:
        text = read_file(file, MOST_BYTES, "run this from the project's root").decode("utf-8")
        _require_plain(file, text)
        return YAML(typ="safe").load(text)
    except ParamsError:
        raise
    except UserError as error:
        raise ParamsError(str(error)) from None
    except (YAMLError, ValueError, OverflowError, RecursionError) as error:  # ValueError: of the encoding, or a date
        raise ParamsError(f"{file}: is not YAML: {' '.join(str(error).split())[:300]}") from None


def _require_plain(file: Path, text: str) -> None:
    """Refuse what a small file can make endless (aliases, nesting), or what would become no text and no number."""
    depth = 0
    for event in YAML(typ="safe").parse(text):
        place = f"{file}, line {event.start_mark.line + 1}"
        if isinstance(event, AliasEvent):
            raise ParamsError(f"{place}: *{event.anchor} repeats another part; write the values out")
        if getattr(event, "tag", None):
            raise ParamsError(f"{place}: {event.tag} is a tag; leave it out")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise ParamsError(f"{place}: is nested more than {MOST_DEPTH} levels deep")


def checked(content: object, schema: type[Values], file: Path) -> Values:
    """Validate the `content` of `file` against `schema`.

    Raises:
        ParamsError: a value is not allowed.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as errors:
        lines = [_line(file, dict(error)) for error in errors.errors(include_url=False)]
        raise ParamsError("\n".join(lines)) from None


if __name__ == "__main__":
    argparse.ArgumentParser("python -m pipeline.params", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    try:
        load_params()
    except ParamsError as error:
        raise SystemExit(str(error)) from None
    print("params.yaml: ok")

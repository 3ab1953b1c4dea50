"""The schema of params.yaml: strict, frozen, and without defaults (what is not in the file is an error).

    python -m pipeline.params          checks params.yaml and says "ok"

A value that is refused is named in one line with its file, key, value and what is allowed. Only pydantic and the YAML
reader are imported, so that a slip in the file costs no more than a moment.
"""

from pathlib import Path
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

CORPORA = ("demo", "meld", "iemocap", "custom")
MODALITIES = ("text", "audio", "visual")

Corpus = Literal["demo", "meld", "iemocap", "custom"]
Modality = Literal["text", "audio", "visual"]

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class ParamsError(Exception):
    """params.yaml cannot be used; the message has a line for every reason."""


class Section(BaseModel):
    """A part of params.yaml: no unknown keys, no coercion of types, no change after loading."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


Values = TypeVar("Values", bound=Section)


class ByCorpus(Section, Generic[Values]):
    """The same keys once for every corpus; `section["meld"]` gives one corpus' values."""

    demo: Values
    meld: Values
    iemocap: Values
    custom: Values

    def __getitem__(self, corpus: str) -> Values:
        values: Values = getattr(self, corpus)
        return values


class KeyedError(ValueError):
    """A value that its type allows and its neighbours do not; `key` is relative to the section that found it."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(allowed)
        self.key, self.value, self.allowed = key, value, allowed


def refuse_repetition(section: Section, key: str) -> None:
    """KeyedError where the list `key` of `section` names anything twice."""
    values = getattr(section, key)
    if len(set(values)) != len(values):
        raise KeyedError(key, values, "must not name anything twice")


Modalities = Annotated[list[Modality], Field(min_length=1)]


class IndexOf(Section):
    raw: Annotated[str, Field(min_length=1)]
    """Folder of the raw corpus; a relative one counts from the project's root."""
    modalities: Modalities
    """Media that the corpus has; what is left out counts as missing in every utterance."""

    @model_validator(mode="after")
    def _check(self) -> "IndexOf":
        refuse_repetition(self, "modalities")
        return self


class IemocapIndexOf(IndexOf):
    validation: Literal["random20", "cosmic12", "session4"]
    """Held-out dialogues of Sessions 1 to 4: a random fifth (the paper), a fixed list, or the actors of Session 4."""
    validation_seed: Annotated[int, Field(ge=0)]


class Index(Section):
    demo: IndexOf
    meld: IndexOf
    iemocap: IemocapIndexOf
    custom: IndexOf
    max_problem_share: Share
    """Largest share of clips that may be unusable before the corpus is refused."""

    def __getitem__(self, corpus: str) -> IndexOf:
        values: IndexOf = getattr(self, corpus)
        return values


class Recipe(Section):
    """How a text encoder is fine-tuned."""

    learning_rate: Positive
    """Its peak."""
    warmup: Share
    """Share of all steps in which the rate rises to its peak."""
    decay: Positive
    """Power of the polynomial by which the rate then falls to zero; 1 is a line."""
    epochs: Count
    patience: Count
    """Epochs without a better validation score before it stops."""
    batch: Count
    """Utterances a pass."""
    accumulation: Count
    """Passes a step."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NotNegative
    seed: Annotated[int, Field(ge=0)]


class TextOf(Section):
    model: Annotated[str, Field(min_length=1)]
    """`minilm`, a folder with a transformers encoder, or its name on the hub."""
    pooling: Literal["auto", "first", "mean"]
    """How token vectors become one: the encoder's own way, the first token, or the mean."""
    layers: Literal["last", "last4"]
    """Whose token vectors: the last layer's, or the mean of the last four layers'."""
    max_tokens: Annotated[int, Field(ge=8)]
    """Longer utterances are cut to this many tokens."""
    finetune: bool
    """Whether the encoder is first trained on the corpus' own train split."""
    crossfit: Count
    """Number of encoders, each trained without a share of train's dialogues, which then get their features from it."""
    recipe: Annotated[str, Field(min_length=1)]
    """Name of one of the `recipes` for fine-tuning; `auto`: `minilm` for the encoder minilm, `roberta` for others."""

    @model_validator(mode="after")
    def _check(self) -> "TextOf":
        if self.crossfit > 1 and not self.finetune:
            raise KeyedError("crossfit", self.crossfit, "must be 1 unless finetune is true")
        return self

    @property
    def chosen_recipe(self) -> str:
        """The name among `recipes` that `recipe` means."""
        if self.recipe != "auto":
            return self.recipe
        return "minilm" if self.model == "minilm" else "roberta"


FUNCTIONALS = {"IS10": 1582, "IS13": 6373, "ComParE_2016": 6373, "eGeMAPSv02": 88}
"""Width of openSMILE's sets."""


class AudioOf(Section):
    set: Literal["IS10", "IS13", "ComParE_2016", "eGeMAPSv02"]
    """openSMILE's set of functionals."""
    min_seconds: Annotated[float, Field(ge=0.1)]
    """A shorter sound is padded with silence to this length: openSMILE gives NaN for too few frames."""
    reduce: Literal["none", "pca", "svm"]
    """Principal components, or the columns that a linear SVM weighs most; fitted on train."""
    dim: Count
    """Width that `reduce` leaves."""

    @model_validator(mode="after")
    def _check(self) -> "AudioOf":
        if self.reduce != "none" and self.dim > FUNCTIONALS[self.set]:
            raise KeyedError("dim", self.dim, f"must be at most {FUNCTIONALS[self.set]}, the width of {self.set}")
        return self


class VisualOf(Section):
    fps: Positive
    """Frames looked at, a second."""
    detector: Literal["mtcnn", "haar"]
    min_face: Annotated[int, Field(ge=12)]
    """Pixels: the smallest face looked for."""
    first_look: Annotated[int, Field(ge=0)]
    """Pixels: shorter side of the reduced picture that is looked at first, the whole one where it shows no face; 0: the
    whole one at once."""
    detect_every: Annotated[int, Field(ge=1, le=100)]
    """Of so many sampled frames one is searched for faces, and those between where faces come, go or jump; 1: all."""
    margin: Share
    """Share of the face's longer side that is added around it."""
    weights: Annotated[str, Field(min_length=1)]
    """A safetensors file of DenseNet-BC weights, or `random`: seeded and untrained."""
    pooling: Literal["mean", "mean_deviation", "max"]
    """How the vectors of an utterance's faces become one."""


class FacePhase(Section):
    edge: Annotated[int, Field(ge=16, le=128)]
    """Pixels: height and width of the pictures in this phase."""
    epochs: Count


class Face(Section):
    datasets: list[Literal["fer2013"]]
    """What the face encoder is trained on by `dvc repro`: nothing, or FER-2013."""
    data: Annotated[str, Field(min_length=1)]
    """Folder of FER-2013: with fer2013.csv (and FER+'s fer2013new.csv), or with the folders train and test."""
    labels: Literal["fer2013", "majority", "soft"]
    """FER-2013's own label, or that of FER+'s voters: the most frequent one, or the shares of all."""
    held_out: Annotated[float, Field(gt=0, lt=1)]
    """Share of Training on which the epoch is chosen."""
    phases: Annotated[list[FacePhase], Field(min_length=1)]
    batch: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    rotation: NotNegative
    """Degrees."""
    scale: Annotated[float, Field(ge=0, lt=1)]
    shift: Share
    erase: Share
    seed: Annotated[int, Field(ge=0)]


ModelName = Literal["cmath", "sdt", "dialogue_rnn", "dialogue_gcn", "mmgcn", "ctnet", "mm_dfn", "scmm", "cmcf_srnet",
                    "multidag", "adaign"]  # fmt: skip


class Model(Section):
    name: ModelName
    """The rivals take their settings from `baselines`; of this section they read `modalities` alone."""
    modalities: Modalities
    dim: Count
    """Width d of the common space."""
    heads: Count
    ffn_multiple: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    feature_dropout: Annotated[float, Field(ge=0, lt=1)]
    place_scale: NotNegative
    kernel: Count
    """k_m of Eq. 1 and 2."""
    gate: Literal["softmax", "sigmoid"]
    temperature: Positive
    detach_teacher: bool
    reduction: Literal["mean", "sum"]
    ablate: Literal["none", "mr", "cma_t", "lld", "hld", "hd"]

    @model_validator(mode="after")
    def _check(self) -> "Model":
        refuse_repetition(self, "modalities")
        if self.dim % self.heads:
            raise KeyedError("dim", self.dim, f"must be a multiple of model.heads = {self.heads}")
        if self.dim % 2:
            raise KeyedError("dim", self.dim, "must be even (sines and cosines of Eq. 6 and 7 alternate)")
        if self.kernel % 2 == 0:
            raise KeyedError("kernel", self.kernel, "must be odd, so that the convolution keeps the number of turns")
        if self.name != "cmath" and self.ablate != "none":
            raise KeyedError("ablate", self.ablate, f"ablates CMATH, and model.name is {self.name}: set it to none")
        return self


Dropout = Annotated[float, Field(ge=0, lt=1)]
Even = Annotated[int, Field(ge=2, multiple_of=2)]


class OwnSettings(Section):
    """What one model reads of `baselines`."""

    def _check_heads(self, key: str, width: int, heads: int) -> None:
        if width % heads:
            raise KeyedError(key, width, f"must be a multiple of heads = {heads}")


class NoSettings(OwnSettings):
    """CMATH's are in `model`."""


class HeadedSettings(OwnSettings):
    """Of a model with attention of several heads."""

    dim: Even
    heads: Count
    dropout: Dropout

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_heads("dim", self.dim, self.heads)
        return self


class SdtSettings(HeadedSettings):
    gate: Literal["learned", "identity"]
    temperature: Positive


class DialogueRnnSettings(OwnSettings):
    global_dim: Count
    party_dim: Count
    emotion_dim: Count
    head_dim: Count
    dropout: Annotated[float, Field(ge=0, lt=0.85)]
    """0.15 more on the emotion states, as published."""
    recurrent_dropout: Dropout


class DialogueGcnSettings(OwnSettings):
    hidden: Count
    bases: Count
    window: Annotated[int, Field(ge=0)]
    dropout: Dropout


class DeepGraphSettings(OwnSettings):
    """Of a model on the graph of all modalities."""

    dim: Even
    graph_dim: Count
    layers: Count
    alpha: Share
    decay: Positive
    dropout: Dropout
    focal_gamma: NotNegative


class MmgcnSettings(DeepGraphSettings):
    loss: Literal["cross_entropy", "focal", "mmgcn_focal"]


class CtnetSettings(OwnSettings):
    dim: Count
    hidden: Count
    heads: Count
    dropout: Dropout

    @model_validator(mode="after")
    def _check(self) -> "CtnetSettings":
        self._check_heads("hidden", 2 * self.hidden, self.heads)
        return self


class ByModality(Section):
    text: NotNegative
    audio: NotNegative
    visual: NotNegative


class MmDfnSettings(DeepGraphSettings):
    speaker_weights: ByModality


class ScmmSettings(HeadedSettings):
    layers: Count
    window: Annotated[int, Field(ge=0)]
    balance_weight: NotNegative


class CmcfSrnetSettings(HeadedSettings):
    graph_dim: Count
    bases: Count
    local_window: Annotated[int, Field(ge=0)]
    graph_window: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _check_graph(self) -> "CmcfSrnetSettings":
        self._check_heads("graph_dim", self.graph_dim, self.heads)
        return self


class MultiDagSettings(OwnSettings):
    hidden: Count
    layers: Count
    dropout: Dropout
    buckets: Count


class AdaignSettings(MmDfnSettings):
    temperature: Positive
    keep_weight: NotNegative
    intra_weight: NotNegative


class Baselines(Section):
    """Each rival's own settings; the docstring of its file in model/baselines/ has the published ones."""

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


class TrainOf(Section):
    learning_rate: Positive
    batch: Count
    """Dialogues a step."""
    epochs: Count
    patience: Count
    """Epochs without a better validation score before a seed stops."""
    weight_decay: NotNegative
    average: Annotated[float, Field(ge=0, lt=1)]
    """Decay, a step, of the moving average of the weights that is validated and kept; 0: the last weights."""
    precision: Literal["float32", "bfloat16", "float16"]
    """Of matrix products on CUDA; a CPU always takes float32."""
    class_weights: bool
    gamma1: NotNegative
    """Weight of low-level distillation, Eq. 24."""
    gamma2: NotNegative
    """Weight of high-level distillation, Eq. 24."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> "TrainOf":
        refuse_repetition(self, "seeds")
        return self


OF_ROBERTA = ("roberta", "roberta_iemocap")
"""The recipes that come with the project for RoBERTa-Large; with them a small encoder would learn next to nothing."""


class Params(Section):
    datasets: Annotated[list[Corpus], Field(min_length=1)]
    watch: list[Corpus]
    """Corpora, among `datasets`, whose raw files DVC compares each time it is asked what has changed."""
    index: Index
    text: ByCorpus[TextOf]
    recipes: dict[str, Recipe]
    """How a text encoder is fine-tuned, by a name to which `text.D.recipe` refers."""
    audio: ByCorpus[AudioOf]
    visual: ByCorpus[VisualOf]
    face: Face
    model: Model
    baselines: Baselines
    train: ByCorpus[TrainOf]

    @model_validator(mode="after")
    def _check(self) -> "Params":
        refuse_repetition(self, "datasets")
        refuse_repetition(self, "watch")
        for corpus in self.watch:
            if corpus not in self.datasets:
                raise KeyedError("watch", self.watch, f"must name corpora of datasets, which lacks {corpus}")
        for name in CORPORA:
            self._check_recipe(f"text.{name}.recipe", self.text[name])
        return self

    def recipe(self, corpus: str) -> Recipe:
        """How the text encoder of `corpus` is fine-tuned."""
        return self.recipes[self.text[corpus].chosen_recipe]

    def _check_recipe(self, key: str, text: TextOf) -> None:
        if text.chosen_recipe not in self.recipes:
            raise KeyedError(key, text.recipe, f"must be auto, or one of recipes: {', '.join(self.recipes)}")
        if text.finetune and text.model == "minilm" and text.chosen_recipe in OF_ROBERTA:
            raise KeyedError(key, text.recipe, "is for RoBERTa-Large; minilm is fine-tuned with auto or minilm, or "
                             "with a recipe of your own")  # fmt: skip


def _line(file: Path, error: dict) -> str:
    key, value, allowed = ".".join(map(str, error["loc"])), error["input"], error["msg"]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, KeyedError):
        key, value, allowed = f"{key}.{cause.key}".lstrip("."), cause.value, cause.allowed
    if error["type"] == "missing":
        return f"{file}: {key} is missing"
    if error["type"] == "extra_forbidden":
        return f"{file}: {key} = {value!r}: there is no such key"
    allowed = allowed.replace("Input should", "must")
    return f"{file}: {key} = {value!r}: {allowed[0].lower()}{allowed[1:]}"


def load_params(file: Path = Path("params.yaml")) -> Params:
    """Read and check `file`.

    Raises:
        ParamsError: the file is missing, is not YAML, or a value is not allowed.
    """
    return checked(read_yaml(file), Params, file)


def read_yaml(file: Path) -> object:
    """What the file says, unchecked.

    Raises:
        ParamsError: the file is missing or is not YAML.
    """
    try:
        return YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{file}: no such file; run this from the project's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{file}: is not YAML: {' '.join(str(error).split())}") from None


def checked(content: object, schema: type[Values], file: Path) -> Values:
    """`content`, which stands in `file`, as a `schema`.

    Raises:
        ParamsError: a value is not allowed.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as errors:
        lines = [_line(file, dict(error)) for error in errors.errors(include_url=False)]
        raise ParamsError("\n".join(lines)) from None


if __name__ == "__main__":
    try:
        load_params()
    except ParamsError as error:
        raise SystemExit(str(error)) from None
    print("params.yaml: ok")

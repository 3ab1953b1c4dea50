"""Settings of the extractors and of the training of their encoders; params.yaml uses the same names."""

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from foundation.settings import Count, KeyedError, NotNegative, Positive, Settings, Share

MOST_RANK = 256
"""Largest rank of low-rank adapters: above it they are no smaller than what they are added to."""


class FineTuningRecipe(Settings):
    """Settings for fine-tuning a text encoder."""

    learning_rate: Positive
    """Peak of the learning rate."""
    warmup: Share
    """Fraction of all steps in which the learning rate rises to its peak."""
    decay: Positive
    """Power of the polynomial by which the rate then falls to zero; 1 is linear."""
    epochs: Count
    patience: Count
    """Fine-tuning stops after this many epochs without a better validation score."""
    batch: Count
    """Utterances per forward pass."""
    accumulation: Count
    """Number of passes whose gradients are accumulated for one step."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NotNegative
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products. `auto`: bfloat16 on cards of capability 8.0 or newer, float32 on older ones and
    on a CPU. bfloat16 on a CPU is fast only where it has matrix units (AMX): see docs/features.md."""
    checkpointing: bool = False
    """Whether the backward pass computes the layers again instead of keeping them: slower, with much less memory."""
    adapters: Annotated[int, Field(ge=0, le=MOST_RANK)] = 0
    """Rank of the low-rank adapters (LoRA) that are trained instead of the encoder's weights; 0: its weights.
    Adapters want a higher learning rate."""
    seed: Annotated[int, Field(ge=0)]


class ContextSettings(Settings):
    """Turns of the dialogue that the text encoder reads together with an utterance."""

    past: Annotated[int, Field(ge=0, le=100)] = 0
    """Number of turns before the utterance."""
    future: Annotated[int, Field(ge=0, le=100)] = 0
    """Number of turns after it."""
    names: Literal["written", "index", "none"] = "index"
    """What stands before each turn: the speaker's name as the corpus has it, a letter (A for who speaks first in the
    dialogue, B for the next, …), or nothing. An utterance that is read alone has no name."""

    @property
    def reads_around(self) -> bool:
        """Whether any other turn is read."""
        return self.past > 0 or self.future > 0


class TextSettings(Settings):
    """Settings for extracting text features."""

    model: Annotated[str, Field(min_length=1)] = "roberta-large"
    """Encoder: `minilm`, a folder with a transformers encoder, or the name of one on the Hugging Face hub."""
    pooling: Literal["auto", "first", "last", "mean", "weighted_mean", "mean_sqrt_len", "max"] = "auto"
    """Pooling of the token vectors: as the encoder was trained, one token, the mean, the mean with weights 1, 2, 3, …
    from the first token on, the sum divided by the square root of their number, or the maximum of each column."""
    layers: Literal["last", "last4"] = "last"
    """Layers whose token vectors are used: the last one, or the mean of the last four."""
    max_tokens: Annotated[int, Field(ge=8)] = 512
    """Longer utterances are cut to this many tokens; with `context`, the turns that are farthest away are left out."""
    context: ContextSettings = ContextSettings()
    """Turns that the encoder reads together with the utterance; none: each utterance is read alone."""
    finetune: bool = False
    """Whether the encoder is first fine-tuned on the train split of the corpus."""
    crossfit: Count = 1
    """Number of encoders for cross-fitting: each leaves out a part of train and then extracts that part's features."""
    recipe: Annotated[str, Field(min_length=1)] = "auto"
    """Name of one of the `recipes` for fine-tuning; `auto`: `minilm` for the encoder minilm, `roberta` for others."""
    allow_seen: bool = False
    """Whether an encoder may be used that is known to have seen labels of the corpus; its results are then marked."""

    @model_validator(mode="after")
    def _check(self) -> "TextSettings":
        if self.crossfit > 1 and not self.finetune:
            raise KeyedError("crossfit", self.crossfit, "must be 1 unless finetune is true")
        return self

    @property
    def chosen_recipe(self) -> str:
        """Name of the recipe to use, with `auto` resolved."""
        if self.recipe != "auto":
            return self.recipe
        return "minilm" if self.model == "minilm" else "roberta"


FUNCTIONALS = {"IS10": 1582, "IS13": 6373, "ComParE_2016": 6373, "eGeMAPSv02": 88}
"""Width of each openSMILE feature set."""


class AudioSettings(Settings):
    """Settings for extracting audio features. An encoder takes of them what is its own, and leaves the others alone."""

    encoder: Annotated[str, Field(min_length=1)] = "opensmile"
    """What makes the vectors: `opensmile`, a folder with a transformers encoder, the name of one on the Hugging Face
    hub, or an extractor of one's own (docs/encoders.md)."""
    set: Literal["IS10", "IS13", "ComParE_2016", "eGeMAPSv02"] = "IS10"
    """openSMILE feature set (functionals)."""
    min_seconds: Annotated[float, Field(ge=0.1, le=600)] = 0.25
    """Shorter sounds are padded with silence to this length, because openSMILE gives NaN for too few frames."""
    layers: Literal["last", "last4", "all"] = "last4"
    """Layers of a transformers encoder: the last one, or the mean of the last four, or of all and the first's input."""
    pooling: Literal["mean", "mean_std"] = "mean"
    """Pooling of a transformers encoder's vectors over time: the mean, or mean and standard deviation."""
    reduce: Literal["none", "pca", "svm"] = "none"
    """Reduction, fitted on train: principal components, or the columns with the largest weights in a linear SVM."""
    dim: Count = 300
    """Number of columns after `reduce`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of an extractor of one's own; its own class checks them."""
    allow_seen: bool = False
    """Whether an encoder may be used that is known to have seen labels of the corpus; its results are then marked."""

    @model_validator(mode="after")
    def _check(self) -> "AudioSettings":
        # Of other encoders the width is not known here.
        if self.encoder == "opensmile" and self.reduce != "none" and self.dim > FUNCTIONALS[self.set]:
            raise KeyedError("dim", self.dim, f"must be at most {FUNCTIONALS[self.set]}, the width of {self.set}")
        return self


class VisualSettings(Settings):
    """Settings for extracting visual features."""

    encoder: Annotated[str, Field(min_length=1)] = "denseface"
    """What makes the vectors: `denseface`, a folder with a transformers encoder, the name of one on the Hugging Face
    hub, or an extractor of one's own (docs/encoders.md)."""
    fps: Positive = 5.0
    """Frames sampled per second."""
    detector: Literal["mtcnn", "haar"] = "mtcnn"
    min_face: Annotated[int, Field(ge=12)] = 40
    """Size of the smallest face to find, in pixels."""
    first_look: Annotated[int, Field(ge=0)] = 240
    """Shorter side, in pixels, of the reduced picture that is searched first; the full picture is searched only if that
    finds no face; 0: always search the full picture."""
    detect_every: Annotated[int, Field(ge=1, le=100)] = 5
    """One of this many sampled frames is searched for faces; those between only where faces change; 1: every frame."""
    margin: Share = 0.1
    """Margin around a face, as a fraction of its longer side."""
    speaker: Literal["largest", "boxes", "lips"] = "largest"
    """Whose face is taken where a picture has several: the largest and steadiest; the one that the index has boxes of
    (docs/meld_fair.md), the largest where it has none of an utterance; or the one whose lips move with the sound."""
    weights: Annotated[str, Field(min_length=1)] = "extractors/visual/weights/denseface.safetensors"
    """Safetensors file with DenseNet-BC weights, or `random` for untrained weights from a fixed seed."""
    pooling: Literal["mean", "mean_std", "max"] = "mean"
    """Pooling of the vectors of an utterance's faces."""
    crop: Literal["face", "frame"] = "face"
    """What an encoder other than `denseface` sees: the faces that were found, or whole frames."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of an extractor of one's own; its own class checks them."""
    allow_seen: bool = False
    """Whether an encoder may be used that is known to have seen labels of the corpus; its results are then marked."""


CAME_LATER = {"speaker": "largest"}
"""Settings that were added later, with the value for what was done before. With this value they are part of no
identity, so that what was extracted before is found in the work cache, and older models are understood."""


def dumped(settings: Settings, without: Collection[str]) -> dict[str, Any]:
    """The values of `settings` that are part of an identity, but for the fields `without`."""
    values = settings.model_dump(exclude=set(without))
    return {name: value for name, value in values.items() if name not in CAME_LATER or value != CAME_LATER[name]}


class FacePhase(Settings):
    """One phase of the face encoder's training, with one picture size."""

    edge: Annotated[int, Field(ge=16, le=128)]
    """Height and width of the pictures in this phase, in pixels."""
    epochs: Count


class FaceTrainingSettings(Settings):
    """Settings for training the face encoder on FER-2013."""

    datasets: list[Literal["fer2013"]]
    """Datasets on which `dvc repro` trains the face encoder: none, or FER-2013."""
    data: Annotated[str, Field(min_length=1)]
    """Folder of FER-2013: with fer2013.csv (and FER+'s fer2013new.csv), or with the folders train and test."""
    labels: Literal["fer2013", "majority", "soft"]
    """Labels: FER-2013's own, the majority vote of FER+, or the distribution of the FER+ votes."""
    held_out: Annotated[float, Field(gt=0, lt=1)]
    """Fraction of Training that is held out for choosing the epoch."""
    phases: Annotated[list[FacePhase], Field(min_length=1)]
    batch: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    rotation: NotNegative
    """Largest random rotation, in degrees."""
    scale: Annotated[float, Field(ge=0, lt=1)]
    shift: Share
    erase: Share
    seed: Annotated[int, Field(ge=0)]

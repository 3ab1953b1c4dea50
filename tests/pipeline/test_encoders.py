"""A transformers encoder of speech by one parameter: from a folder to metrics, in a bundle, and to a prediction."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from extractors.features import read_features
from extractors.registry import make
from extractors.result import ExtractorError
from foundation.errors import UserError
from pipeline import cache, check
from pipeline.bundle import read_bundle
from pipeline.corpora.seen import seen_by
from pipeline.leakage import known
from pipeline.params import ParamsError, load_params
from pipeline.prediction.extractors import make_extractor
from pipeline.prediction.predictor import Predictor
from tests.extractors.speech import WIDTH, write_speech
from tests.pipeline.prediction.test_predict import compare_with_evaluate
from tests.pipeline.sealing import reseal
from tests.pipeline.small import PROJECT
from tests.pipeline.trained import train_small, write_demo

ENCODER = "encoders/wavlm"
"""A place in the project's folder, as a bundle may name it."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose model hears with a tiny WavLM; the clips lie in the folder `raw` beside it."""
    folder = tmp_path_factory.mktemp("encoders")
    write_demo(folder / "raw")
    write_speech(folder / "project" / ENCODER, "wavlm large")

    def change(content: dict) -> None:
        content["audio"]["demo"]["encoder"] = ENCODER  # and nothing else: one parameter

    return train_small(folder / "project", "demo", folder / "raw", change)


@pytest.fixture
def bundle(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a copy of the bundle, in a place without the encoder, with changes in bundle.json."""
    monkeypatch.chdir(tmp_path)

    def changed(**changes: object) -> Path:
        folder = shutil.copytree(project / "models/demo/bundle", tmp_path / "bundle", dirs_exist_ok=True)
        card = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps({**card, **changes}))
        return reseal(folder)

    return changed


@pytest.mark.slow
def test_a_prediction_is_that_of_evaluate(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    compare_with_evaluate(project, "demo", project.parent / "raw", tmp_path)
    found = read_bundle(Path("models/demo"))
    assert (found.audio_encoder, found.visual_encoder, found.text_encoder) == (ENCODER, "denseface", "minilm")
    assert found.origins["audio"]["reduction"][2:] == [3, WIDTH]  # reduced as openSMILE's vectors are


@pytest.mark.slow
def test_the_encoder_may_lie_elsewhere_and_must_be_the_same(
    project: Path, bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    carried = read_bundle(bundle())
    with pytest.raises(UserError, match=r"needs the audio encoder 'encoders/wavlm'.*`--audio-encoder FOLDER` names"):
        make_extractor("audio", carried)
    given = str(project / ENCODER)
    assert make_extractor("audio", carried, given).dim == WIDTH
    other = str(write_speech(tmp_path / "other", "wavlm large", seed=1))
    with pytest.raises(UserError, match=r"is another one than the model was trained with \(its checksum differs\)"):
        make_extractor("audio", carried, other)
    with pytest.raises(UserError, match="there is no folder with a transformers encoder of this name"):
        make_extractor("audio", carried, "nowhere")
    with pytest.raises(UserError, match="visual features are of denseface, whose weights are in the bundle"):
        make_extractor("visual", carried, given)
    shutil.rmtree(tmp_path / "other")
    assert Predictor(carried.folder, audio_encoder=given).encoders["audio"] == given


@pytest.mark.slow
@pytest.mark.parametrize("name", ["/encoders/mine", "../mine", "a/../../mine", "~/mine", "C:\\mine", "a\nb", ""])
def test_a_bundle_names_no_place_outside(bundle: Callable[..., Path], name: str) -> None:
    with pytest.raises(UserError, match=r"audio encoder is .*, a place outside of the bundle") as error:
        make_extractor("audio", read_bundle(bundle(audio_encoder=name)))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_what_a_bundle_says_of_an_encoder_must_fit_it(project: Path, bundle: Callable[..., Path]) -> None:
    given = str(project / ENCODER)
    origins = json.loads((project / "models/demo/bundle/bundle.json").read_text())["origins"]

    def with_audio(**changes: object) -> Path:
        return bundle(origins={**origins, "audio": {**origins["audio"], **changes}})

    with pytest.raises(UserError, match="its audio features are of version 0, and this project makes version"):
        make_extractor("audio", read_bundle(with_audio(version=0)), given)
    with pytest.raises(UserError, match=r"does not say how its audio features are made \(ValidationError"):
        make_extractor("audio", read_bundle(with_audio(layers="some")), given)
    lacking = {name: value for name, value in origins["audio"].items() if name != "pooling"}
    with pytest.raises(UserError, match=r"does not say how its audio features are made \(KeyError: 'pooling'\)"):
        make_extractor("audio", read_bundle(bundle(origins={**origins, "audio": lacking})), given)
    with pytest.raises(UserError, match="are of opensmile, which needs no folder; leave it out"):
        make_extractor("audio", read_bundle(bundle(audio_encoder="opensmile")), given)
    with pytest.raises(UserError, match=r"needs the audio encoder 'mine': .*docs/encoders.md"):
        make_extractor("audio", read_bundle(bundle(audio_encoder="mine")))
    for options in ({"weights": "../mine"}, {"files": ["a", {"b": "/etc/mine"}]}, {"weights": "C:\\mine"}):
        with pytest.raises(UserError, match="a place outside of the bundle, which is not looked for"):
            make_extractor("audio", read_bundle(with_audio(options=options)), given)


@pytest.mark.slow
def test_an_encoder_that_cannot_be_loaded_is_said_before_work_begins(
    project: Path, bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise ExtractorError("needs a newer transformers")

    monkeypatch.setattr("extractors.audio.speech_encoder.SpeechEncoder", refused)
    with pytest.raises(UserError, match=r"the model needs the audio encoder .*wavlm': needs a newer transformers"):
        make_extractor("audio", read_bundle(bundle()), str(project / ENCODER))


@pytest.mark.slow
def test_the_cache_knows_the_vectors_as_used(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("CMATH_CACHE", str(project / "cache"))
    cache.run(cache.arguments().parse_args([]), load_params())
    [line] = [line for line in capsys.readouterr().out.splitlines() if " audio " in line and "encoder" in line]
    assert "demo" in line
    features = read_features(Path("data/demo/features/audio.safetensors"), 12)
    assert features.values.shape == (12, 3)


# ---- check, and encoders that have seen labels ----


def params_with(folder: Path, section: str, corpus: str, **changes: object) -> Path:
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["datasets"] = [corpus]
    content[section][corpus] |= changes
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    return folder / "params.yaml"


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("audio", {"encoder": "opensmlie"}, "audio's `encoder` in params.yaml is 'opensmlie', which is none of opens"),
        (
            "visual",
            {"encoder": "denseface2"},
            "visual's `encoder` in params.yaml is 'denseface2', which is none of",
        ),
        ("audio", {"encoder": "no-such/encoder"}, "hf download no-such/encoder --local-dir"),
        ("audio", {"options": {"bins": 3}}, "and the encoder 'opensmile' has none: docs/encoders.md"),
    ],
)
def test_check_names_an_encoder_that_is_not_there_before_anything_is_removed(
    section: str, changes: dict, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    params_with(tmp_path, section, "demo", **changes)
    (tmp_path / "extractors").symlink_to(PROJECT / "extractors")
    with pytest.raises(UserError) as error:
        check.refuse_what_is_not_there(load_params(), {})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("section", ["audio", "visual"])
def test_an_encoder_that_has_seen_labels_is_refused_or_marked(section: str, tmp_path: Path) -> None:
    name = "speechbrain/emotion-recognition-wav2vec2-IEMOCAP"
    file = params_with(tmp_path, section, "iemocap", encoder=name)
    with pytest.raises(ParamsError, match=rf"{section}.iemocap.encoder = '{name}': has seen labels of the corpus.*"
                       rf"`-S \+{section}.iemocap.allow_seen=true`"):  # fmt: skip
        load_params(file)
    params = load_params(params_with(tmp_path, section, "iemocap", encoder=name, allow_seen=True))
    assert list(known("iemocap", params)) == [section]
    load_params(params_with(tmp_path, section, "meld", encoder=name))  # which has not seen MELD's


def test_encoders_that_saw_no_labels_are_not_on_the_list() -> None:
    for name in (
        "microsoft/wavlm-large",
        "facebook/hubert-large-ll60k",
        "openai/whisper-large-v3",
        "opensmile",
        "speechbrain/emotion-recognition-other",
        "superb/hubert-large-superb-er",
    ):  # fmt: skip (only its head was trained on IEMOCAP, which is not used)
        assert not seen_by(name, "iemocap")
    for name in (
        "speechbrain/emotion-recognition-wav2vec2-IEMOCAP",
        "corpora/encoders/emotion-diarization-wavlm-large",
    ):
        assert seen_by(name, "iemocap")
        assert not seen_by(name, "meld")


def test_other_settings_of_the_block_may_stay(tmp_path: Path) -> None:
    folder = write_speech(tmp_path / "wavlm")
    params = load_params(params_with(tmp_path, "audio", "meld", encoder=str(folder), set="IS13", reduce="pca"))
    assert make("audio", params.audio["meld"], tmp_path).dim == WIDTH

"""A bundle is checked as a whole before anything of it is used, and one line says what is wrong with it."""

import builtins
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from extractors.result import clip_of
from extractors.text.folders import checksum
from extractors.utterance import Utterance
from extractors.visual.extractor import VisualExtractor
from extractors.visual.lips import LIPS_VERSION
from foundation.errors import UserError
from pipeline import predict
from pipeline.bundle import read_bundle
from pipeline.prediction.extractors import make_extractor
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.recordings import read_recording
from pipeline.prediction.run import run
from pipeline.prediction.transcripts import read_transcript
from tests.extractors.encoders import write_foreign
from tests.pipeline.sealing import reseal

pytestmark = pytest.mark.slow

HOSTILE = Path(__file__).parents[3] / "shared/data/cases/hostile"


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "models/demo/bundle", tmp_path / "bundle")


def refused(bundle: Path, words: str) -> None:
    """Using the bundle ends in one line with these words."""
    with pytest.raises(UserError, match=words) as error:
        Predictor(bundle)
    assert "\n" not in str(error.value)


def change(bundle: Path, work: Callable[[dict], object]) -> None:
    """Change bundle.json, and not its seal."""
    card = json.loads((bundle / "bundle.json").read_text())
    work(card)
    (bundle / "bundle.json").write_text(json.dumps(card, indent=2))


def change_tensors(file: Path, work: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(file)
    work(tensors)
    save_file(tensors, file)


@pytest.mark.parametrize(
    "work",
    [
        lambda card: card["labels"].reverse(),
        lambda card: card.update(turns=3),
        lambda card: card.update(config=dict(reversed(card["config"].items()))),
        lambda card: card["config"].update(dims=dict(reversed(card["config"]["dims"].items()))),
        lambda card: card.update(seeds=[1, 0]),
        lambda card: card.update(corpus="meld"),
        lambda card: card["origins"]["visual"].update(whitening=[0.0, 1.0]),
        lambda card: card["files"].popitem(),
        lambda card: card.pop("checksum"),
        lambda card: card.update(checksum=["0"]),
    ],
)
def test_a_changed_description_is_refused(copied: Path, work: Callable[[dict], object]) -> None:
    Predictor(copied)
    change(copied, work)
    refused(copied, r"bundle.json: was changed after it was written \(its checksum differs\); copy the folder anew")


def test_every_file_is_under_the_seal(copied: Path, tmp_path: Path) -> None:
    names = [file.relative_to(copied) for file in sorted(copied.rglob("*")) if file.is_file()]
    assert {"seed0.safetensors", "statistics.safetensors"} <= {str(name) for name in names}
    for name in names:
        if name.name == "bundle.json":
            continue
        content = (copied / name).read_bytes()
        (copied / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        refused(copied, f"{name}: was changed after it was written")
        (copied / name).unlink()
        refused(copied, f"{name}: no such file: the bundle is not whole")
        (copied / name).write_bytes(content)
    (copied / ".DS_Store").touch()
    Predictor(copied)
    (copied / "encoders/mine.py").touch()
    refused(copied, r"mine.py: is no file that bundle.json names; remove it")


def test_a_link_may_not_lead_out_of_a_bundle(copied: Path, tmp_path: Path) -> None:
    shutil.move(copied / "seed0.safetensors", tmp_path / "elsewhere")
    (copied / "seed0.safetensors").symlink_to(tmp_path / "elsewhere")
    refused(reseal(copied), r"seed0.safetensors: is a link that leads out of the bundle")
    (copied / "seed0.safetensors").unlink()
    kept = tmp_path / "cache/files/md5/00/11"  # where DVC keeps it, if it is told to make links
    kept.parent.mkdir(parents=True)
    shutil.move(tmp_path / "elsewhere", kept)
    (copied / "seed0.safetensors").symlink_to(kept)
    Predictor(copied)
    (copied / "more").symlink_to(copied)
    refused(copied, "more: is no file")
    (copied / "more").unlink()
    os.mkfifo(copied / "more")
    refused(copied, "more: is no file")
    (copied / "more").unlink()
    (copied / "more").symlink_to("more")
    refused(copied, "more: is no file")


@pytest.mark.parametrize("name", ["../../seed0.safetensors", "/etc/passwd", "none.safetensors", 3])
def test_a_text_encoders_table_of_files_names_those_beside_it_alone(copied: Path, name: str | int) -> None:
    table = copied / "encoders/text/0/model.safetensors.index.json"
    table.parent.mkdir(parents=True)
    table.write_text(json.dumps({"weight_map": {"embeddings": name}}))
    refused(reseal(copied), r"index.json of a text encoder names .*, which is no file beside it")
    table.write_text(json.dumps({"weight_map": {"embeddings": table.name}}))
    Predictor(reseal(copied))
    table.write_text("[]")
    refused(reseal(copied), r"index.json of a text encoder is no table of files")


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda card: card["labels"].pop(), "has 6 labels, and its network tells 7 classes apart"),
        (lambda card: card["labels"].__setitem__(0, card["labels"][1]), "labels names something twice"),
        (
            lambda card: card["labels"].__setitem__(0, "missing"),
            "has the label 'missing', which is a column of predict",
        ),
        (lambda card: card["labels"].__setitem__(0, 1), "labels.0: Input should be a valid string"),
        (lambda card: card["labels"].__setitem__(0, ""), "labels.0: String should have at least 1 character"),
        (lambda card: card.update(labels="abcdefg"), "labels: Input should be a valid list"),
        (lambda card: card.update(turns=0), "turns: Input should be greater than or equal to 1"),
        (lambda card: card.update(turns=2.5), "turns: Input should be a valid integer"),
        (lambda card: card.update(seeds=[]), "seeds: List should have at least 1 item"),
        (lambda card: card.update(seeds=[0, 0]), "seeds names something twice"),
        (lambda card: card.update(seeds=["../0"]), "seeds.0: Input should be a valid integer"),
        (lambda card: card.update(model="../cmath"), "model '../cmath' is none of cmath"),
        (lambda card: card["config"].update(dims={}), "config has no modality"),
        (lambda card: card["config"]["dims"].update(text=0), "config has no modality, or an empty one"),
        (
            lambda card: card["config"].update(unknown=1),
            r"does not fit this version of the model 'cmath' \(config.unknown: Extra inputs",
        ),
        (lambda card: card["config"].update(dim=10**9 * 2), "does not fit this version of the model 'cmath'"),
        (lambda card: card["origins"].pop("text"), "origins are of audio, visual, and the network has text"),
        (lambda card: card["origins"].update(smell={}), "origins.smell.*: Input should be 'text', 'audio' or 'visual'"),
        (lambda card: card.pop("fine_tuned"), "fine_tuned: Field required"),
        (
            lambda card: card["origins"]["visual"].pop("weights"),
            "names the visual encoder denseface, and not its weights",
        ),
        (lambda card: card.update(more=1), "more: Extra inputs are not permitted"),
        (lambda card: card["config"].update(dropout=float("nan")), "NaN is no number"),
        (lambda card: card.pop("calibration"), "calibration: Field required"),
        (lambda card: card["calibration"].update(temperature=0.0), "calibration.temperature: .* greater than 0"),
        (lambda card: card["calibration"].update(temperature=1e999), "Infinity is no number"),
        (lambda card: card["calibration"].update(temperature=float("nan")), "NaN is no number"),
        (lambda card: card["calibration"]["of_seeds"].update({"1": -1.0}), "calibration.of_seeds.1: .* greater than 0"),
        (lambda card: card["calibration"]["of_seeds"].pop("1"), "of_seeds is of 0, and the model has the seeds 0, 1"),
        (lambda card: card["calibration"]["of_seeds"].update({"2": 1.0}), "of_seeds is of 0, 1, 2, and the model has"),
        (lambda card: card["calibration"].update(decision="often"), "decision: Input should be 'likeliest' or 'balan"),
        (lambda card: card["calibration"].update(tau=0.5), "calibration: .*has an adjustment, and the decision likel"),
        (lambda card: card["calibration"]["priors"].pop(), "calibration.priors has 6 shares, and there are 7 labels"),
        (lambda card: card["calibration"]["coverage"].reverse(), "thresholds do not fall from row to row"),
        (lambda card: card["calibration"]["coverage"][0].update(risk=1.5), "coverage.0.risk: .* less than or equal"),
    ],
)
def test_a_sealed_description_that_contradicts_itself_is_refused(
    copied: Path, work: Callable[[dict], object], words: str
) -> None:
    change(copied, work)
    refused(reseal(copied), words)


def as_doubles(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() for name, value in found.items()}


@pytest.mark.parametrize(
    ("file", "work", "words"),
    [
        ("seed1", lambda found: next(iter(found.values())).view(-1)[:1].fill_(torch.nan), "has values that are not"),
        ("seed1", lambda found: found.popitem(), "is missing"),
        ("seed1", lambda found: found.update(more=torch.zeros(1)), "more is not of this network"),
        ("seed1", lambda found: found.update(as_doubles(found)), "is torch.float64"),
        ("statistics", lambda found: found["scaler.text.mean"].fill_(torch.nan), "scaler.text.mean has values"),
        ("statistics", lambda found: found["scaler.text.std"].fill_(torch.inf), "scaler.text.std has values"),
        ("statistics", lambda found: found["scaler.audio.std"].zero_(), "scaler.audio.std has values that are not pos"),
        ("statistics", lambda found: found.update({"scaler.visual.mean": torch.zeros(3)}), r"mean is .* \[3\], where"),
        ("statistics", lambda found: found.pop("scaler.visual.mean"), "scaler.visual.mean is missing"),
        ("statistics", lambda found: found["reduction.components"].fill_(torch.nan), "reduction.components has values"),
        ("statistics", lambda found: found["reduction.deviation"].zero_(), "reduction.deviation has values that are"),
        ("statistics", lambda found: found.pop("reduction.components"), "reduction.components is missing"),
        ("statistics", lambda found: found.update({"scaler.smell.std": torch.ones(1)}), "smell.std is of no modality"),
    ],
)  # fmt: skip
def test_weights_and_statistics_are_refused_by_name(
    copied: Path, file: str, work: Callable[[dict[str, Tensor]], object], words: str
) -> None:
    change_tensors(copied / f"{file}.safetensors", work)
    refused(reseal(copied), rf"{file}.safetensors: .*{words}")


@pytest.mark.parametrize("written", ["[]", "{", '{"format": 5, "labels": NaN}', "[" * 100_000, "\0", "1" * 5000])
def test_what_is_no_description_is_refused(copied: Path, written: str) -> None:
    (copied / "bundle.json").write_text(written)
    refused(copied, r"bundle.json: cannot be read as the description of a model")


def test_a_bundle_of_an_older_format_is_named(copied: Path) -> None:
    change(copied, lambda card: [card.pop("files"), card.pop("checksum"), card.update(format=4)])
    refused(
        copied, r"is a bundle of format 4, and this version of the project reads format 5: use the version that wrote"
    )


@pytest.mark.skipif(not HOSTILE.exists(), reason="needs the development data")
def test_labels_of_another_number_are_refused_in_any_format(trained: Path, copied: Path) -> None:
    shutil.copyfile(HOSTILE / "bundle_labels3.json", copied / "bundle.json")
    refused(copied, "is a bundle of format 1")
    change(copied, lambda card: card.update(format=5))
    refused(copied, "was changed after it was written")
    shutil.copyfile(trained / "models/demo/bundle/bundle.json", copied / "bundle.json")
    labels = json.loads((HOSTILE / "bundle_labels3.json").read_text())["labels"]
    change(copied, lambda card: card.update(labels=labels))
    refused(copied, "was changed after it was written")
    refused(reseal(copied), "has 3 labels, and its network tells 7 classes apart")


@pytest.mark.parametrize(
    "name",
    ["/encoders/mine", "../mine", "a/../../mine", "~/mine", "C:\\mine", "..\\mine", "./mine", "m/", "a\nb", ""],
)
def test_a_text_encoder_outside_of_the_bundle_is_not_looked_for(
    copied: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extractors.text.extractor.encoder_folder", _must_not_be_called)
    change(copied, lambda card: card.update(text_encoder=name))
    bundle = read_bundle(reseal(copied))
    with pytest.raises(UserError, match=r"a place outside of the bundle, which is not looked for") as error:
        make_extractor("text", bundle)
    assert "\n" not in str(error.value)


def _must_not_be_called(*_: object) -> Path:
    raise AssertionError("was looked for")


@pytest.mark.parametrize(
    ("modality", "changes"),
    [
        ("text", {"pooling": "first; rm"}), ("text", {"max_tokens": "all"}), ("text", {"encoders": None}),
        ("audio", {"set": "none"}), ("audio", {"min_seconds": -1.0}), ("visual", {"fps": "fast"}),
        ("visual", {"whitening": [1.0]}), ("visual", {"whitening": ["a", "b"]}),
    ],
)  # fmt: skip
def test_an_origin_that_makes_no_extractor_is_refused(copied: Path, modality: str, changes: dict) -> None:
    change(copied, lambda card: card["origins"][modality].update(changes))
    bundle = read_bundle(reseal(copied))
    with pytest.raises(UserError, match=r"bundle|checksum") as error:
        make_extractor(modality, bundle)
    assert "\n" not in str(error.value)


def test_a_bundle_that_was_trained_on_boxes_takes_the_largest_face_of_a_recording(copied: Path) -> None:
    """And one that says nothing of it, as all from before there were boxes, was trained on the largest face."""
    before = make_extractor("visual", read_bundle(copied))
    change(copied, lambda card: card["origins"]["visual"].update(speaker="boxes"))
    found = make_extractor("visual", read_bundle(reseal(copied)))
    assert isinstance(before, VisualExtractor)
    assert isinstance(found, VisualExtractor)
    assert (before.settings.speaker, found.settings.speaker) == ("largest", "boxes")
    row = Utterance(utterance_id="u", dialogue_id="a", turn=0, speaker=0, split="test", text="", label="",
                    video="u.mp4", video_hash="b" * 64)  # fmt: skip
    assert before.keys([row]) == found.keys([row])
    assert clip_of("u", row, "video", Path(), boxes=True).boxes == ""  # so its faces are searched


def test_a_bundle_says_whose_face_is_taken(copied: Path) -> None:
    usual = make_extractor("visual", read_bundle(copied))
    assert isinstance(usual, VisualExtractor)
    assert usual.settings.speaker == "largest"
    change(copied, lambda card: card["origins"]["visual"].update(speaker="lips", lips=LIPS_VERSION))
    by_lips = make_extractor("visual", read_bundle(reseal(copied)))
    assert isinstance(by_lips, VisualExtractor)
    assert by_lips.how["speaker"] == "lips"
    change(copied, lambda card: card["origins"]["visual"].update(lips=0))
    with pytest.raises(UserError, match=f"are of version 0, and this project makes version {LIPS_VERSION}"):
        make_extractor("visual", read_bundle(reseal(copied)))


def test_a_nan_never_becomes_a_probability(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chat.txt").write_text("Ann: What a day!\nBob: No.\n")
    recording = read_recording("chat", None, read_transcript(tmp_path / "chat.txt"), tmp_path)
    predictor = Predictor(copied)
    (found,) = predictor.predict([recording])
    assert sum(found[0].probabilities) == pytest.approx(1)
    with torch.no_grad():
        for values in predictor.networks[1].parameters():
            values.fill_(1e38)  # finite, and overflows
    with pytest.raises(UserError, match=r"seed1.*: the model 'cmath' gives probabilities that are no numbers"):
        predictor.predict([recording])

    predictor = Predictor(copied)
    encoder = predictor._extractor("text").encoder
    with torch.no_grad():
        next(encoder.network.parameters()).fill_(torch.nan)
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path / "other"))
    with pytest.raises(UserError, match="text: the vector of chat_0 has values that are not finite"):
        predictor.predict([recording])


@pytest.mark.parametrize("place", ["in the bundle", "named by the bundle", "given by the user"])
def test_a_bundle_brings_no_code(place: str, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda text="": asked.append(text) or "y")
    bundle, mark = copied, tmp_path / "was run"
    card = json.loads((bundle / "bundle.json").read_text())
    home = bundle / "encoders/text/0" if place == "in the bundle" else tmp_path / "encoder"
    folder, given = write_foreign(home, mark), []
    card["origins"]["text"] |= {"encoders": [checksum(folder)], "pooling": "first"}
    if place == "in the bundle":
        card |= {"fine_tuned": True, "text_encoder": "roberta-large"}
        (bundle / "encoders/text/encoder.json").write_text('{"fine_tuned": true, "encoders": [{}], "folds": {}}')
    elif place == "named by the bundle":
        card["text_encoder"] = str(folder)
    else:
        card["text_encoder"], given = "somebody/else", ["--text-encoder", str(folder)]
    (bundle / "bundle.json").write_text(json.dumps(card))
    (tmp_path / "chat.txt").write_text("Ann: Hello.\n")
    arguments = ["--transcript", str(tmp_path / "chat.txt"), "--model", str(reseal(bundle)), *given]
    with pytest.raises(UserError) as refused:
        run(predict.arguments().parse_args([*arguments, "--out", str(tmp_path / "out")]))
    said = {"named by the bundle": "a place outside of the bundle"}.get(
        place, "is no encoder that transformers can load"
    )
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not mark.exists()
    assert asked == []
    assert not (tmp_path / "out").exists()

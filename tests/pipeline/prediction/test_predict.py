"""Prediction: the probabilities of the pipeline itself, a bundle that travels, and words for what is wrong."""

import csv
import json
import os
import shutil
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from extractors.utterance import Utterance
from foundation.errors import UserError
from model.registry import MODELS, make_model
from pipeline import evaluate, extract, finetune_text, leakage, train
from pipeline.corpora.index_file import read_index
from pipeline.params import load_params
from pipeline.predict import arguments
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.recordings import read_recording
from pipeline.prediction.results import as_entry, as_table
from pipeline.prediction.run import run
from pipeline.prediction.transcripts import read_transcript
from pipeline.stage import command
from tests.conftest import write_clip
from tests.extractors.encoders import write_roberta
from tests.model.networks import SMALL
from tests.pipeline.sealing import reseal
from tests.pipeline.small import write_params, write_text_corpus
from tests.pipeline.trained import train_small

pytestmark = pytest.mark.slow

SHARED = Path(__file__).parents[4] / "shared" / "data"
CHAT = "Ann: What a wonderful day!\nBob: No. It is not.\nAnn: Oh.\n"


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few clips, starting a process costs more than it saves."""
    monkeypatch.setenv("CMATH_WORKERS", "1")


def predict(*given: object) -> None:
    run(arguments().parse_args([str(value) for value in given]))


def clip_table(rows: list[Utterance], raw: Path, file: Path, names: Sequence[str]) -> Path:
    """A transcript that names the files of each utterance of one dialogue, and the speakers in the order of their
    numbers."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "audio", "start", "end", "region", "speaker", "text"])
        for row in rows:
            own = str(raw / row.audio) if row.audio and row.audio != row.video else ""
            writer.writerow([raw / row.video, own, row.start, row.end, row.region, names[row.speaker], row.text])
    return file


def compare_with_evaluate(
    project: Path, corpus: str, raw: Path, folder: Path, names: Sequence[str] = ("Ann", "Bob", "Cy", "Di")
) -> None:
    """Predict each test dialogue from its raw clips, with an empty work cache, against the files of evaluate."""
    rows = [row for row in read_index(project / "data" / corpus / "index.csv") if row.split == "test"]
    with (project / "results" / corpus / "predictions.csv").open() as stream:
        expected = {(line["utterance_id"], int(line["seed"])): line for line in csv.DictReader(stream)}
    with (project / "results" / corpus / "ensemble.csv").open() as stream:
        whole = {line["utterance_id"]: line for line in csv.DictReader(stream)}
    by_seed = {seed: Predictor(project / "models" / corpus, seed) for seed in (0, 1)}
    average = Predictor(project / "models" / corpus)
    for dialogue in dict.fromkeys(row.dialogue_id for row in rows):
        part = [row for row in rows if row.dialogue_id == dialogue]
        table = clip_table(part, raw, folder / f"{dialogue}.csv", names)
        recording = read_recording(dialogue, None, read_transcript(table), folder)
        labels = average.bundle.labels
        shares = {
            seed: np.array([[float(expected[row.utterance_id, seed][label]) for label in labels] for row in part])
            for seed in by_seed
        }
        for seed, predictor in by_seed.items():
            (found,) = predictor.predict([recording])
            np.testing.assert_allclose([one.probabilities for one in found], shares[seed], atol=1e-4)
        (found,) = average.predict([recording])
        together = np.array([[float(whole[row.utterance_id][label]) for label in labels] for row in part])
        np.testing.assert_allclose([one.probabilities for one in found], together, atol=1e-4)
        assert [labels[one.label] for one in found] == [whole[row.utterance_id]["prediction"] for row in part]
        assert not np.allclose(shares[0], shares[1], atol=1e-3)


def test_a_test_dialogue_gets_the_probabilities_of_evaluate(trained: Path, tmp_path: Path) -> None:
    compare_with_evaluate(trained, "demo", trained.parent / "raw", tmp_path)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the development data")
def test_parity_holds_for_clips_of_meld(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for annotations, clips in (("train_sent_emo.csv", "train_splits"), ("dev_sent_emo.csv", "dev_splits_complete"),
                               ("test_sent_emo.csv", "output_repeated_splits_test")):  # fmt: skip
        with (SHARED / "meld_mini" / annotations).open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        turns = [sum(row["Dialogue_ID"] == one["Dialogue_ID"] for one in rows) for row in rows]
        first = next(row["Dialogue_ID"] for row, number in zip(rows, turns, strict=True) if 4 <= number <= 8)
        (raw / clips).mkdir(parents=True)
        with (raw / annotations).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(row for row in rows if row["Dialogue_ID"] == first)
        for clip in (SHARED / "meld_mini" / clips).glob(f"dia{first}_*.mp4"):
            shutil.copy(clip, raw / clips / clip.name)
    project = train_small(tmp_path / "project", "meld", raw)
    compare_with_evaluate(project, "meld", raw, tmp_path)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the development data")
def test_parity_holds_for_halves_of_iemocaps_films(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for session in (1, 4, 5):
        source = SHARED / "iemocap_mini" / f"Session{session}"
        transcription = min((source / "dialog/transcriptions").glob("Ses*.txt"), key=lambda file: file.stat().st_size)
        name = transcription.stem
        for file in (transcription, source / f"dialog/EmoEvaluation/{name}.txt", source / f"dialog/avi/DivX/{name}.avi",
                     *(source / f"sentences/wav/{name}").glob("Ses*.wav")):  # fmt: skip
            target = raw / file.relative_to(SHARED / "iemocap_mini")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)

    def change(content: dict) -> None:
        content["index"]["iemocap"]["validation"] = "session4"
        content["visual"]["iemocap"]["fps"] = 0.5

    project = train_small(tmp_path / "project", "iemocap", raw, change)
    compare_with_evaluate(project, "iemocap", raw, tmp_path, ("M", "F"))


def test_a_bundle_alone_predicts_text_anywhere(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "models/demo/bundle", tmp_path / "carried")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("chat.txt").write_text(CHAT)
    predict("--transcript", "chat.txt", "--model", tmp_path / "carried")
    said = capsys.readouterr().out
    assert "t--" in said
    assert "What a wonderful day!" in said
    content = json.loads(Path("predictions/chat/predictions.json").read_text())
    assert [one["speaker"] for one in content["utterances"]] == ["Ann", "Bob", "Ann"]
    for one in content["utterances"]:
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["prediction"] == max(one["probabilities"], key=one["probabilities"].get)
        assert one["present"] == {"text": True, "audio": False, "visual": False}
        assert one["missing"] == {"audio": "no recording", "visual": "no recording"}
        assert one["without"]["audio"] is one["without"]["visual"] is None
        assert 0 <= one["without"]["text"] <= 1
    with Path("predictions/chat/predictions.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [line["prediction"] for line in lines] == [one["prediction"] for one in content["utterances"]]
    assert [line["sure"] for line in lines] == ["1"] * 3  # no risk is stated
    assert (content["risk"], content["threshold"]) == (None, None)
    assert "not sure" not in said + Path("predictions/chat/report.html").read_text().partition("<script>")[0]
    assert list(lines[0])[7:14] == content["labels"]
    assert [line["without_audio"] for line in lines] == ["", "", ""]
    assert [float(line["without_text"]) for line in lines] == [one["without"]["text"] for one in content["utterances"]]
    first = Path("predictions/chat/report.html").read_bytes()
    predict("--transcript", "chat.txt", "--model", tmp_path / "carried")
    assert Path("predictions/chat/report.html").read_bytes() == first


def test_without_a_recording_times_are_those_of_the_transcript(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talk.srt").write_text(
        "1\n00:00:03,5 --> 00:00:04,25\nAnn: What a wonderful day!\n\n"
        "2\n00:00:59,999 --> 00:01:02\nBob: No. It is not.\n\n3\n00:01:04 --> 00:01:04\nANN: Oh.\n"
    )
    predict("--transcript", tmp_path / "talk.srt", "--model", trained / "models/demo", "--out", tmp_path / "out")
    content = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [(one["start"], one["end"]) for one in content["utterances"]] == [(3.5, 4.25), (59.999, 62), (64, 64)]
    with (tmp_path / "out/predictions.csv").open() as stream:
        assert [line["start"] for line in csv.DictReader(stream)] == ["3.5", "59.999", "64.0"]
    times = [line.split()[0] for line in capsys.readouterr().out.split("\n") if "t--" in line]
    assert times == ["0:03.50", "1:00.00", "1:04.00"]
    assert [(one["speaker"], one["utterances"]) for one in content["speakers"]] == [("Ann", 2), ("Bob", 1)]


def test_the_effect_of_a_modality_is_the_prediction_without_it(trained: Path, tmp_path: Path) -> None:
    rows = [row for row in read_index(trained / "data/demo/index.csv") if row.split == "test"]
    names = [str(number) for number in range(1 + max(row.speaker for row in rows))]
    table = clip_table(rows, trained.parent / "raw", tmp_path / "talk.csv", names)
    whole = read_recording("talk", None, read_transcript(table), tmp_path)
    soundless = replace(whole, rows=[replace(row, audio="") for row in whole.rows])
    unseen = replace(whole, rows=[replace(row, video="") for row in whole.rows])
    wordless = replace(whole, rows=[replace(row, text="") for row in whole.rows])
    predictor = Predictor(trained / "models/demo")
    config = {"dims": predictor.bundle.config["dims"], "speakers": 3, "classes": 7, "dropout": 0.1}
    for name in MODELS:  # what is shown must not depend on the kind of model
        torch.manual_seed(0)
        predictor.networks = [make_model(name, config | SMALL[name]).eval() for _ in range(2)]
        found, *others = predictor.predict([whole, wordless, soundless, unseen])
        for turn, one in enumerate(found):
            best = one.probabilities.argmax()
            for modality, other in zip(("text", "audio", "visual"), others, strict=True):
                if modality in one.missing:
                    assert one.without[modality] is None
                else:
                    assert one.without[modality] == pytest.approx(other[turn].probabilities[best], abs=1e-6), name
                assert other[turn].without[modality] is None
        assert any(one.without["text"] != one.probabilities.max() for one in found)


def test_a_model_of_a_synthetic_corpus_says_so_everywhere(
    trained: Path, carried: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chat.txt").write_text(CHAT)
    assert json.loads((trained / "models/demo/bundle/bundle.json").read_text())["synthetic"] is True

    def outputs(**changes: object) -> tuple[str, str, str, str]:
        capsys.readouterr()
        predict("--transcript", tmp_path / "chat.txt", "--model", carried(**changes), "--out", tmp_path / "out")
        files = [(tmp_path / "out" / name).read_text("utf-8") for name in ("predictions.csv", "predictions.json",
                                                                          "report.html")]  # fmt: skip
        return capsys.readouterr().out, files[0], files[1], files[2]

    said, table, content, page = outputs(corpus="toy")  # under any name
    assert said.startswith("SYNTHETIC: The model was trained on toy, a synthetic corpus")
    assert [line["trained_on"] for line in csv.DictReader(table.splitlines())] == ["toy (synthetic)"] * 3
    assert json.loads(content)["model"]["synthetic"] is True
    assert "its probabilities mean nothing for real people" in json.loads(content)["warning"]
    assert "its probabilities mean nothing for real people" in page
    said, table, content, page = outputs(corpus="meld", synthetic=False)
    assert not any(
        "synthetic" in text.lower().replace('"synthetic": false', "") for text in (said, table, content, page)
    )
    assert [line["trained_on"] for line in csv.DictReader(table.splitlines())] == ["meld"] * 3
    said, _, content, page = outputs(corpus="starter", synthetic=False, assembled=True)
    assert said.startswith("NOTE: The model was trained on starter: lines of a television series")
    assert all("measured on such material, and not on people who talk" in text for text in (said, content, page))


def test_a_bundle_has_nothing_of_the_training_data(trained: Path) -> None:
    rows = read_index(trained / "data/demo/index.csv")
    bundle = trained / "models/demo/bundle"
    for file in (file for file in bundle.rglob("*") if file.is_file()):
        content = file.read_bytes()
        for row in rows:
            for trace in (row.text, row.utterance_id, row.dialogue_id, row.audio_hash, row.video, str(trained)):
                assert not trace or trace.encode() not in content


def test_films_in_a_folder_are_predicted_one_by_one_and_the_broken_one_is_named(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two"):
        write_clip(tmp_path / f"films/{name}.mkv", 2.0, sound=name == "one")
        (tmp_path / f"films/{name}.srt").write_text(
            "1\n00:00:00,000 --> 00:00:01,000\nAnn: Hello.\n\n2\n00:00:01,000 --> 00:00:02,000\nBob: Go away!\n"
        )
    (tmp_path / "films/broken.mp4").write_text("no film")
    shutil.copy(tmp_path / "films/one.srt", tmp_path / "films/broken.srt")
    (tmp_path / "films/untold.wav").touch()
    (tmp_path / "films/gone.wav").symlink_to(tmp_path / "moved.wav")
    os.mkfifo(tmp_path / "films/pipe.wav")
    (tmp_path / "films/loop.wav").symlink_to("loop.wav")
    for name in ("gone", "pipe", "loop"):
        shutil.copy(tmp_path / "films/one.srt", tmp_path / f"films/{name}.srt")
    with pytest.raises(UserError, match="5 recordings failed"):
        predict(tmp_path / "films", "--model", trained / "models/demo", "--out", tmp_path / "out")
    assert "broken.mp4: is no recording that can be read: it cannot be opened" in caplog.text
    assert "untold.wav: has no transcript. Give --transcript FILE" in caplog.text
    assert "gone.wav: is a link to a file that does not exist; give a recording" in caplog.text
    assert "pipe.wav: is a pipe or a device and no file; give a recording" in caplog.text
    assert "loop.wav: cannot be opened (Too many levels of symbolic links); give a recording" in caplog.text
    assert "neither a recording" not in caplog.text
    one, two = (json.loads((tmp_path / f"out/{name}/predictions.json").read_text()) for name in ("one", "two"))
    assert [utterance["missing"] for utterance in one["utterances"]] == [{"visual": "no face"}] * 2
    assert two["utterances"][0]["missing"]["audio"] == "two.mkv: has no audio stream"
    assert any("no sound can be used" in note for note in two["notes"])


@pytest.fixture
def carried(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of the bundle with changes in bundle.json."""

    def make(**changes: object) -> Path:
        folder = tmp_path / "bundle"
        shutil.copytree(trained / "models/demo/bundle", folder, dirs_exist_ok=True)
        content = json.loads((folder / "bundle.json").read_text())
        for name, value in changes.items():
            place = content
            *way, last = name.split("__")
            for step in way:
                place = place[step]
            place[last] = value
        (folder / "bundle.json").write_text(json.dumps(content))
        return reseal(folder)

    return make


def test_what_is_less_sure_than_the_risk_asks_for_is_said_to_be_not_sure(
    carried: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three utterances the middle one in confidence is the threshold, at 80 % of validation and a risk of 0.25."""
    (tmp_path / "chat.srt").write_text(
        "".join(
            f"{turn}\n00:00:0{turn},0 --> 00:00:0{turn},9\n{line}\n\n" for turn, line in enumerate(CHAT.split("\n")[:3])
        )
    )

    def results(model: Path, *given: object) -> tuple[list[dict[str, str]], dict, str, str, str]:
        capsys.readouterr()
        out = tmp_path / "out"
        predict("--transcript", tmp_path / "chat.srt", "--model", model, "--out", out, "--also", "srt", *given)
        with (out / "predictions.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        content = json.loads((out / "predictions.json").read_text())
        page = (out / "report.html").read_text().partition("<script>")[0]
        return rows, content, capsys.readouterr().out, page, (out / "predictions.srt").read_text()

    rows, *_ = results(carried())
    shares = [float(row[row["prediction"]]) for row in rows]
    middle = sorted(shares)[1]
    table = [
        {"threshold": 0.99, "coverage": 0.1, "risk": 0.125},
        {"threshold": middle - 1e-6, "coverage": 0.8, "risk": 0.25},
        {"threshold": 0.0, "coverage": 1.0, "risk": 0.4},
    ]
    model = carried(calibration__coverage=table)
    rows, content, said, page, subtitles = results(model, "--risk", 0.3)
    least = shares.index(min(shares))
    doubtful = f"not sure ({rows[least]['prediction']}?)"
    assert [row["sure"] for row in rows] == ["0" if turn == least else "1" for turn in range(3)]
    assert [one["sure"] for one in content["utterances"]] == [turn != least for turn in range(3)]
    assert (content["risk"], content["threshold"]) == (0.3, pytest.approx(middle, abs=1e-5))
    note = (f"at a risk of 30 %, what has less than {100 * middle:.1f} % is marked as not sure: on validation 80 % of "
            "the utterances have more, and 25.0 % of these are wrong")  # fmt: skip
    assert note in content["notes"]
    assert f"note: {note}" in said
    assert note in page
    assert [doubtful in line for line in said.split("\n") if "t--" in line] == [turn == least for turn in range(3)]
    assert page.count(doubtful) == 4  # the time line's word, title and label, and the table
    assert [f"[{doubtful}]" in block for block in subtitles.split("\n\n")[1:4]] == [turn == least for turn in range(3)]
    assert sum(sum(one["predicted"].values()) for one in content["speakers"]) == 2
    assert sum(one["not_sure"] for one in content["speakers"]) == 1

    rows, content, *_ = results(model, "--risk", 0.4)
    assert [row["sure"] for row in rows] == ["1"] * 3
    assert "at a risk of 40 %, nothing is marked as not sure: on validation 40.0 % of all are wrong" in content["notes"]
    rows, content, *_ = results(model, "--risk", 0.1)
    assert [row["sure"] for row in rows] == ["0"] * 3
    assert ("at a risk of 10 %, all is marked as not sure: on validation the lowest risk is 12.5 %, if 10 % of the "
            "utterances are kept") in content["notes"]  # fmt: skip
    assert content["threshold"] is None
    rows, content, *_ = results(carried(calibration__coverage=[]), "--risk", 1)
    assert [row["sure"] for row in rows] == ["0"] * 3
    assert any("no risk that was measured on validation" in note for note in content["notes"])
    for risk in (-0.1, 1.5, "nan"):
        with pytest.raises(UserError, match=f"--risk {risk}: must be a share of wrong answers from 0 to 1"):
            results(model, "--risk", risk)
    with pytest.raises(UserError, match=r"--risk 0.3: was measured of all seeds together; leave out --seed 1"):
        results(model, "--risk", 0.3, "--seed", 1)


def test_a_balanced_model_says_a_class_that_is_not_the_likeliest(carried: Callable[..., Path], tmp_path: Path) -> None:
    """A strong adjustment towards one class: it is said, with its own probability; the probabilities stay."""
    (tmp_path / "chat.txt").write_text(CHAT)
    recording = read_recording("chat", None, read_transcript(tmp_path / "chat.txt"), tmp_path)
    (before,) = Predictor(carried()).predict([recording])
    priors = [0.165] * 6 + [0.01]
    model = carried(calibration__decision="balanced", calibration__tau=9.0, calibration__priors=priors)
    predictor = Predictor(model)
    (after,) = predictor.predict([recording])
    assert [one.label for one in after] == [6, 6, 6] != [one.label for one in before]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
    entries = [as_entry(one, predictor.bundle.labels, ["text"]) for one in after]
    assert [entry["prediction"] for entry in entries] == ["anger"] * 3
    # The effect of a modality is on the class that is said.
    (other,) = Predictor(model).predict([replace(recording, rows=[replace(row, text="") for row in recording.rows])])
    for one, masked in zip(after, other, strict=True):
        assert one.without["text"] == pytest.approx(masked.probabilities[6], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99}, "is a bundle of format 99, and this version of the project reads format 5"),
        ({"origins__text__encoders": ["0" * 64]}, "is another one than the model was trained with"),
        ({"origins__text__version": 0}, "its text features are of version 0"),
        ({"text_encoder": "some/encoder"}, "needs the text encoder 'some/encoder', which is not here"),
        ({"config__dim": 40}, "does not fit this version of the model 'cmath'"),
        ({"seeds": [0, 1, 2]}, "calibration.of_seeds is of 0, 1, and the model has the seeds 0, 1, 2"),
        (
            {"seeds": [0, 1, 2], "calibration__of_seeds": {"0": 1.0, "1": 1.0, "2": 1.0}},
            "seed2.safetensors: no such file: the bundle is not whole",
        ),
    ],
)
def test_another_bundle_is_refused_in_words(
    carried: Callable[..., Path], tmp_path: Path, changes: dict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", _no_network)
    (tmp_path / "chat.txt").write_text(CHAT)
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        predict("--transcript", tmp_path / "chat.txt", "--model", carried(**changes), "--out", tmp_path / "out")


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no network")


def test_a_copy_of_the_text_encoder_can_lie_anywhere(carried: Callable[..., Path], tmp_path: Path) -> None:
    from extractors.text.folders import encoder_folder

    (tmp_path / "chat.txt").write_text(CHAT)
    predict("--transcript", tmp_path / "chat.txt", "--model", carried(text_encoder="some/encoder"),
            "--text-encoder", encoder_folder("minilm"), "--out", tmp_path / "out")  # fmt: skip
    assert (tmp_path / "out/predictions.csv").is_file()


def test_what_is_no_model_and_what_cannot_be_predicted_is_said(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text(CHAT)
    model = trained / "models/demo"
    with pytest.raises(UserError, match=r"it is no trained model. `dvc repro` trains one"):
        predict("--transcript", tmp_path / "chat.txt", "--model", tmp_path)
    with pytest.raises(UserError, match=r"nothing to predict: give a recording, or --transcript FILE"):
        predict("--model", model)
    with pytest.raises(UserError, match=r"--seed 7: .* has the seeds 0, 1"):
        predict("--transcript", tmp_path / "chat.txt", "--model", model, "--seed", 7)
    with pytest.raises(UserError, match="no such file or folder"):
        predict(tmp_path / "none.mp4", "--model", model)
    with pytest.raises(UserError, match="no such file or folder"):
        predict(tmp_path / ("n" * 300), "--model", model)
    with pytest.raises(UserError, match="cannot be read as the description of a model"):
        predict(tmp_path / "none.mp4", "--model", "n" * 300)
    with pytest.raises(UserError, match="has no recording"):
        predict(tmp_path, "--model", model)
    write_clip(tmp_path / "film.mp4")
    with pytest.raises(UserError, match=r"has no transcript. Give --transcript FILE, or put film.srt .* beside it"):
        predict(tmp_path / "film.mp4", "--model", model)
    with pytest.raises(UserError, match="is no speech recogniser that transformers can load"):
        predict(tmp_path / "film.mp4", "--model", model, "--recogniser", tmp_path)
    with pytest.raises(SystemExit, match=r"error: .*nothing to predict"):
        command(lambda: predict("--model", model))


def test_results_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text(CHAT)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out/predictions.csv").mkdir(parents=True)
    for out, said in (("file", "cannot be written there"), ("file/sub", "cannot be written there"),
                      ("n" * 300, "File name too long"), ("out", r"predictions\.csv: is a folder")):  # fmt: skip
        with pytest.raises(UserError, match=said):  # and not of the model, which is no model
            predict("--transcript", tmp_path / "chat.txt", "--model", tmp_path, "--out", tmp_path / out)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(UserError, match="bundle"):
        predict("--transcript", tmp_path / "chat.txt", "--model", tmp_path, "--out", tmp_path / "new/deep")
    assert not (tmp_path / "new").exists()


def test_more_speakers_and_turns_than_the_model_knows_are_predicted_with_a_note(trained: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.txt"
    chat.write_text("".join(f"P{'abcdefgh'[turn]}: Well, number {turn}.\n" for turn in range(8)))
    predictor = Predictor(trained / "models/demo")
    recording = read_recording("chat", None, read_transcript(chat), tmp_path)
    (found,) = predictor.predict([recording])
    assert len(found) == 8
    assert all(one.probabilities.sum() == pytest.approx(1) for one in found)
    assert any("8 people speak" in note for note in recording.notes)
    assert any("predicted in 2 parts" in note for note in recording.notes)


def test_the_table_shows_a_dash_for_what_the_model_does_not_know(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text(CHAT)
    predictor = Predictor(trained / "models/demo")
    recording = read_recording("chat", None, read_transcript(tmp_path / "chat.txt"), tmp_path)
    (found,) = predictor.predict([recording])
    everything = [replace(one, missing={}) for one in found]
    of_text = replace(predictor.bundle, config={**predictor.bundle.config, "dims": {"text": 8}})
    for bundle, heard in ((predictor.bundle, "  tav  "), (of_text, "  t--  ")):
        lines = [line for line in as_table(recording, everything, bundle) if "It is not." in line]
        assert [heard in line for line in lines] == [True]


def test_speakers_named_by_the_roles_of_the_models_corpus_have_their_numbers(trained: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.txt"
    chat.write_text("F: What a wonderful day!\nM: No. It is not.\nF: Oh.\n")
    of_roles, of_none = (shutil.copytree(trained / "models/demo/bundle", tmp_path / name) for name in ("one", "two"))
    card = json.loads((of_roles / "bundle.json").read_text())
    assert "roles" not in card
    (of_roles / "bundle.json").write_text(json.dumps({**card, "roles": ["M", "F"]}))
    reseal(of_roles)

    def shares(bundle: Path) -> np.ndarray:
        recording = read_recording("chat", None, read_transcript(chat), tmp_path)
        return np.array([one.probabilities for one in Predictor(bundle).predict([recording])[0]])

    by_role, by_appearance = shares(of_roles), shares(of_none)
    assert not np.allclose(by_role, by_appearance)
    chat.write_text("M: What a wonderful day!\nF: No. It is not.\nM: Oh.\n")  # who appears first is now the first role
    np.testing.assert_allclose(shares(of_roles), by_appearance, atol=1e-6)
    chat.write_text("F: What a wonderful day!\nBob: No. It is not.\nF: Oh.\n")
    np.testing.assert_allclose(shares(of_roles), by_appearance, atol=1e-6)


@pytest.mark.parametrize(("past", "adapters"), [(0, 0), (2, 2)])
def test_a_fine_tuned_encoder_travels_in_the_bundle(
    past: int, adapters: int, tmp_path: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_text_corpus(tmp_path / "data/meld/index.csv")
    write_params(tmp_path / "params.yaml", tiny_roberta, crossfit=2, past=past, adapters=adapters)
    params = load_params()
    small = {"model": params.model.model_copy(update={"dim": 20, "heads": 2})}
    short = params.train["meld"].model_copy(update={"epochs": 1, "seeds": [0, 1]})
    params = params.model_copy(update=small | {"train": {**params.train, "meld": short}})
    stage = Namespace(corpus="meld")
    finetune_text.run(stage, params)
    for modality in ("text", "audio", "visual"):
        extract.run(extract.arguments().parse_args(["meld", modality]), params)
    leakage.run(stage, params)
    train.run(stage, params)
    evaluate.run(stage, params)
    with Path("results/meld/predictions.csv").open() as stream:
        expected = [line for line in csv.DictReader(stream) if line["utterance_id"].startswith("test0_")]
    shutil.move(tmp_path / "models/meld/bundle", tmp_path / "carried")
    shutil.rmtree(tmp_path / "data")
    card = json.loads((tmp_path / "carried/encoders/text/encoder.json").read_text())
    assert card == {"fine_tuned": True, "encoders": [{}, {}], "folds": {}}
    with (tmp_path / "chat.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["speaker", "text", "file"])
        writer.writerows([f"P{row.speaker}", row.text, "-.mp4"] for row in rows if row.dialogue_id == "test0")
    recording = read_recording("chat", None, read_transcript(tmp_path / "chat.csv"), tmp_path)
    # Adapters need the published encoder; without them the bundle is whole.
    published = str(tiny_roberta) if adapters else ""
    if adapters:
        with pytest.raises(UserError, match="a place outside of the bundle, which is not looked for; `--text-encoder"):
            Predictor(tmp_path / "carried").predict([recording])
        other = write_roberta(tmp_path / "other", seed=1)
        with pytest.raises(UserError, match="has adapters of another encoder than"):
            Predictor(tmp_path / "carried", text_encoder=str(other)).predict([recording])
        with pytest.raises(UserError, match=r"the model needs the text encoder .*no-such.*, which is not here"):
            Predictor(tmp_path / "carried", text_encoder="no-such/encoder").predict([recording])
        assert not list((tmp_path / "carried").rglob("model.safetensors"))
    for seed in (0, 1):
        predictor = Predictor(tmp_path / "carried", seed, published)
        (found,) = predictor.predict([recording])
        shares = [[float(line[label]) for label in predictor.bundle.labels] for line in expected
                  if line["seed"] == str(seed)]  # fmt: skip
        np.testing.assert_allclose([one.probabilities for one in found], shares, atol=1e-4)
    vocabulary = tmp_path / "carried/encoders/text/1/vocab.json"
    vocabulary.write_text(json.dumps(dict(reversed(json.loads(vocabulary.read_text()).items()))))
    with pytest.raises(UserError, match=r"1/vocab.json: was changed after it was written"):
        Predictor(tmp_path / "carried")
    reseal(tmp_path / "carried")
    with pytest.raises(UserError, match="encoders/text: is not what the model was trained with"):
        Predictor(tmp_path / "carried", text_encoder=published).predict([recording])
    shutil.rmtree(tmp_path / "carried/encoders/text/1")
    with pytest.raises(UserError, match=r"/encoders/text/1/.*: no such file: the bundle is not whole"):
        Predictor(tmp_path / "carried")

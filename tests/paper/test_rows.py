"""A row of a table says of test what its own files say, and damage is done to test alone."""

import csv
import json
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
from sklearn.metrics import silhouette_score

from extractors.features import read_features, write_features
from foundation.device import device
from foundation.errors import UserError
from model.training import predict
from paper import robustness, train
from paper.features import kind_of_text
from paper.params import changed, load_report
from paper.rows import write_encoder_row, write_row
from paper.search import Point, at_point, reported_jobs, search_jobs
from paper.trainings import Trainings
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import MELD
from pipeline.params import MODALITIES, load_params
from pipeline.scoring.comparison import load
from tests.model.dialogues import collate
from tests.paper import small
from tests.paper.small import PROJECT, write_params
from tests.pipeline.statements import accuracy, f1, weighted_f1
from tests.random_features import write_features_of_meld, write_leakage

ROW = Path("paper/runs/meld/ctnet")
SEARCH = {**small.SEARCH, "seeds": [0, 3]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which CTNet's row is written; each split has another most frequent class, test comes first, and turns
    stand the wrong way round."""
    folder = tmp_path_factory.mktemp("row")
    rows = write_features_of_meld(folder)
    often = {"train": "anger", "test": "surprise", "validation": "fear"}
    rows = [replace(row, label=often[row.split] if at % 3 == 0 else row.label) for at, row in enumerate(rows)]
    write_index(rows[::-1], folder / "data/meld/index.csv")
    for modality in MODALITIES:
        file = folder / f"data/meld/features/{modality}.safetensors"
        features = read_features(file, len(rows))
        write_features(replace(features, values=features.values[::-1].copy()), file)
    write_params(folder, models=["ctnet"], search=SEARCH, seeds=[4, 2])
    (folder / "paper/published.yaml").write_bytes((PROJECT / "paper/published.yaml").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CMATH_CACHE", str(folder / "cache"))
        patch.setattr("pipeline.scoring.scores.RESAMPLES", 50)
        train.run(Namespace(corpus="meld", model="ctnet"), load_params())
    return folder


@pytest.fixture
def here(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the working folder."""
    monkeypatch.chdir(finished)
    monkeypatch.setenv("CMATH_CACHE", str(finished / "cache"))
    return finished


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_rows_scores_are_those_of_its_predictions_and_history(here: Path) -> None:
    found, predicted, history = json.loads((ROW / "metrics.json").read_text()), *(
        table(ROW / name) for name in ("predictions.csv", "history.csv")
    )  # fmt: skip
    of = {seed: [(line["label"], line["prediction"]) for line in predicted if line["seed"] == seed] for seed in "42"}
    assert [line["seed"] for line in predicted] == ["4"] * 36 + ["2"] * 36
    scores = [weighted_f1(pairs) for pairs in of.values()]
    assert (found["weighted_f1"], found["weighted_f1_std"]) == pytest.approx((mean(scores), stdev(scores)), abs=0.006)
    right = [accuracy(pairs) for pairs in of.values()]
    assert (found["accuracy"], found["accuracy_std"]) == pytest.approx((mean(right), stdev(right)), abs=0.006)
    for name in MELD:
        assert found["f1"][name] == pytest.approx(mean(f1(pairs, name) for pairs in of.values()), abs=0.006)
    rows = read_index(Path("data/meld/index.csv"))
    labels = {split: [row.label for row in rows if row.split == split] for split in ("train", "test")}
    often = {split: Counter(part).most_common(1)[0][0] for split, part in labels.items()}
    assert often["train"] != often["test"]
    assert found["majority"]["accuracy"] == pytest.approx(100 * labels["test"].count(often["train"]) / 36, abs=0.006)
    best = [max(float(line["validation_weighted_f1"]) for line in history if line["seed"] == seed) for seed in "42"]
    assert found["validation"]["weighted_f1"] == pytest.approx(mean(best), abs=0.006)
    assert found["oracle_weighted_f1"] >= found["weighted_f1"]
    stored = [json.loads(file.read_text()) for file in here.glob("cache/trainings/*/seed[42].json")]
    assert found["seconds"] == pytest.approx(mean(one["seconds"] * len(one["history"]) for one in stored), abs=0.06)
    assert found["parameters"] == stored[0]["parameters"]
    assert found["reimplementation"] is True
    assert found["text"] == "frozen"


def test_each_prediction_is_of_the_model_of_that_seed_for_that_utterance(here: Path) -> None:
    trainings = Trainings("meld", load_params())
    said = {(line["utterance_id"], line["seed"]): line for line in table(ROW / "predictions.csv")}
    temperatures = json.loads((ROW / "metrics.json").read_text())["calibration"]["of_seeds"]
    assert len(set(temperatures.values())) == 2
    for job in robustness.jobs_of("meld", "ctnet", load_params(), load_report()):
        network = trainings.model(job.params, job.seed)[0].eval()
        corpus = trainings.corpus(job.params)
        for dialogue in {row.dialogue_id for row in trainings.rows if row.split == "test"}:
            turns = sorted((row.turn, at) for at, row in enumerate(trainings.rows) if row.dialogue_id == dialogue)
            batch = collate(corpus.to(device()), [torch.tensor([at for _, at in turns])])
            with torch.inference_mode():
                logits = network(batch).logits[0].cpu()
            shares = (logits / temperatures[str(job.seed)]).softmax(1)
            for (_, at), expected in zip(turns, shares.tolist(), strict=True):
                line = said[trainings.rows[at].utterance_id, str(job.seed)]
                assert [float(line[name]) for name in MELD] == pytest.approx(expected, abs=2e-5)


def test_the_search_writes_the_mean_over_its_seeds_of_each_point(here: Path) -> None:
    points = [(0.001, 0.2, 4), (0.01, 0.2, 4)]
    lines = table(ROW / "search.csv")
    assert [(float(line["learning_rate"]), float(line["dropout"]), int(line["batch"])) for line in lines] == points
    trainings, params, report = Trainings("meld", load_params()), load_params(), load_report()
    for line, point in zip(lines, points, strict=True):
        scores = []
        for job in search_jobs(params, "meld", "ctnet", report, Point(*point)):
            file = trainings.folder(job.params) / f"seed{job.seed}.json"
            scores.append(max(one["validation_weighted_f1"] for one in json.loads(file.read_text())["history"]))
        assert line["seeds"] == "2"
        assert float(line["validation_weighted_f1"]) == pytest.approx(mean(scores), abs=0.0001)
    (best,) = (line for line in lines if line["chosen"])
    assert float(best["validation_weighted_f1"]) == max(float(line["validation_weighted_f1"]) for line in lines)
    found = json.loads((ROW / "metrics.json").read_text())
    assert (found["learning_rate"], found["dropout"]) == (float(best["learning_rate"]), float(best["dropout"]))
    assert (found["batch"], found["weight_decay"]) == (4, load_params().train["meld"].weight_decay)
    # Both rates are ends of their list, and so are the only dropout and the only batch.
    assert best["edge"].split() == found["edge"] == ["learning_rate", "dropout", "batch"]
    assert [line["edge"] for line in lines if line is not best] == [""]


def test_a_point_changes_the_named_model_alone(here: Path) -> None:
    report = load_report()
    params = changed(load_params(), {"model.ablate": "hd"})  # of somebody's own runs: the search is of whole models
    point = Point(0.5, 0.4, 7)
    ctnet, cmath = (at_point(params, "meld", model, report, point) for model in ("ctnet", "cmath"))
    assert (ctnet.model.name, ctnet.model.ablate, ctnet.baselines.ctnet.dropout) == ("ctnet", "none", 0.4)
    assert ctnet.model.dropout == params.model.dropout != 0.4
    assert (cmath.model.name, cmath.model.dropout) == ("cmath", 0.4)
    assert cmath.baselines.ctnet.dropout == params.baselines.ctnet.dropout != 0.4
    train_of = ctnet.train["meld"]
    assert (train_of.learning_rate, train_of.batch, train_of.epochs) == (0.5, 7, 4)  # the report allows 1000 epochs
    assert ctnet.train["iemocap"] == params.train["iemocap"]
    tried, reported = (jobs(params, "meld", "ctnet", report, point) for jobs in (search_jobs, reported_jobs))
    assert [(job.seed, job.weights, job.params.train["meld"].epochs) for job in tried] == [(0, False, 2), (3, False, 2)]
    assert [(job.seed, job.weights, job.params.train["meld"].epochs) for job in reported] == [
        (4, True, 4),
        (2, True, 4),
    ]
    less = report.model_copy(update={"epochs": 1})
    assert at_point(params, "meld", "ctnet", less, point).train["meld"].epochs == 1
    assert [job.params.train["meld"].epochs for job in search_jobs(params, "meld", "ctnet", less, point)] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"text.meld.finetune": False}, "frozen"), ({"text.meld.finetune": True}, "tuned"),
     ({"text.meld.finetune": True, "text.meld.context.past": 2}, "context"),
     ({"text.meld.finetune": True, "text.meld.context.future": 1}, "context"),
     ({"text.meld.context.past": 2}, "frozen"),
     ({"model.modalities": ["audio", "visual"]}, ""), ({"index.meld.modalities": ["audio", "visual"]}, "")],
)  # fmt: skip
def test_the_kind_of_text_is_that_of_the_encoder_and_of_what_it_reads(
    monkeypatch: pytest.MonkeyPatch, changes: dict, kind: str
) -> None:
    monkeypatch.chdir(PROJECT)
    assert kind_of_text("meld", changed(load_params(), changes)) == kind


def test_text_that_a_file_brings_as_vectors_is_of_no_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    params = load_params()
    assert kind_of_text("iemocap_sdt", params) == ""
    index = params.index["iemocap_sdt"].model_copy(update={"vectors": ["audio", "visual"]})
    sentences = params.model_copy(update={"index": {**params.index, "iemocap_sdt": index}})
    assert kind_of_text("iemocap_sdt", sentences) == "frozen"


def test_a_row_is_marked_by_the_modalities_that_it_uses(
    here: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainings, report = Trainings("meld", load_params()), load_report()
    write_leakage(here, known=["the encoder x has seen labels"])
    whole = robustness.jobs_of("meld", "ctnet", load_params(), report)[:1]
    part = [replace(job, params=changed(job.params, {"model.modalities": ["audio", "visual"]})) for job in whole]
    for name, jobs in (("whole", whole), ("part", part)):
        fits = [trainings.train(job.params, job.seed, weights=True) for job in jobs]
        write_row(trainings, jobs, fits, tmp_path / name)
    write_leakage(here)
    found = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "part")]
    assert [one["text"] for one in found] == ["frozen", ""]
    assert found[0]["seen"] == ["text: the encoder x has seen labels"]
    assert "seen" not in found[1]
    assert "seen" not in json.loads((ROW / "metrics.json").read_text())
    assert caplog.text.count("ctnet on meld: NOT A FAIR SCORE: text: the encoder x has seen labels") == 1
    [mark] = load(str(tmp_path / "whole"), None).seen  # of paper's folders, metrics.json is looked at
    assert mark == "text: the encoder x has seen labels"


def test_the_encoders_row_is_of_test_by_name(here: Path, tmp_path: Path) -> None:
    trainings = Trainings("meld", load_params())
    trainings.fine_tuned = True
    file = Path("data/meld/encoder/text_predictions.csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    judged = [row for row in trainings.rows if row.split != "train"]
    columns, pairs = sorted(MELD), []
    lines = [f"utterance_id,{','.join(columns)}"]
    for place, row in reversed(list(enumerate(judged))):
        right = place % 3 > 0 if row.split == "test" else place % 4 == 0
        predicted = row.label if right else MELD[(MELD.index(row.label) + 1) % 7]
        pairs += [(row.label, predicted)] if row.split == "test" else []
        lines.append(f"{row.utterance_id},{','.join('0.4' if name == predicted else '0.1' for name in columns)}")
    file.write_text("\n".join(lines))
    write_encoder_row(trainings, tmp_path / "encoder")
    found = json.loads((tmp_path / "encoder/metrics.json").read_text())
    assert (found["accuracy"], found["weighted_f1"]) == pytest.approx((accuracy(pairs), weighted_f1(pairs)), abs=0.006)
    predicted = table(tmp_path / "encoder/predictions.csv")
    tested = [row for row in trainings.rows if row.split == "test"]
    assert [line["utterance_id"] for line in predicted] == [row.utterance_id for row in tested]
    assert [(line["label"], line["prediction"]) for line in predicted] == pairs[::-1]
    assert {line["seed"] for line in predicted} == {"0"}
    # A turn without a label enters no score, but is predicted like the others.
    trainings.rows = [replace(row, label="") if row is tested[0] else row for row in trainings.rows]
    file.write_text("\n".join(line for line in lines if not line.startswith(f"{tested[0].utterance_id},")))
    with pytest.raises(UserError, match=rf"^{file}: has no row for {tested[0].utterance_id}, .*; `dvc repro` makes it"):
        write_encoder_row(trainings, tmp_path / "encoder")


def test_robustness_is_what_each_seeds_model_says_of_the_damaged_test(here: Path) -> None:
    trainings, report = Trainings("meld", load_params()), load_report()
    jobs = robustness.jobs_of("meld", "ctnet", load_params(), report)
    assert [job.seed for job in jobs] == [4, 2]
    found = {(line["modality"], line["kind"], line["level"], line["seed"]): line["weighted_f1"]
             for line in robustness.scores_of_damaged(trainings, jobs, report)}  # fmt: skip
    assert len(found) == 3 * 4 * 2
    corpus = trainings.corpus(jobs[0].params)
    where = torch.cat(corpus.dialogues["test"])
    for job in jobs:
        model, _ = trainings.model(job.params, job.seed)
        for modality in corpus.features:
            for kind, level in (("missing", 0.0), ("missing", 1.0), ("noise", 0.0), ("noise", 2.0)):
                damage = robustness.without if kind == "missing" else robustness.with_noise
                damaged = damage(corpus, modality, level, where)
                logits, _ = predict(model, damaged, "test", device())
                pairs = [(MELD[one], MELD[other]) for one, other in
                         zip(corpus.label[where].tolist(), logits.argmax(1).tolist(), strict=True)]  # fmt: skip
                assert found[modality, kind, level, job.seed] == pytest.approx(weighted_f1(pairs), abs=0.006)
    assert len({found["text", "missing", 1.0, seed] for seed in (4, 2)} | set(found.values())) > 4


def test_damage_is_of_one_modality_of_test_and_of_what_is_there(here: Path) -> None:
    whole = Trainings("meld", load_params()).corpus(load_params())
    present = whole.present["audio"].clone()
    where = torch.cat(whole.dialogues["test"])
    present[where[:10]] = False
    features = {**whole.features, "audio": whole.features["audio"] * present.unsqueeze(1)}
    corpus = replace(whole, features=features, present={**whole.present, "audio": present})
    others = torch.ones(len(present), dtype=torch.bool)
    others[where] = False
    one, two = (robustness.with_noise(corpus, "audio", deviations, where) for deviations in (1.0, 2.0))
    added = one.features["audio"] - corpus.features["audio"]
    assert not added[others].any()
    assert not added[where[:10]].any()
    assert added[where[10:]].all()
    torch.testing.assert_close(two.features["audio"] - corpus.features["audio"], 2 * added, atol=1e-5, rtol=1e-4)
    assert 0.8 < float(added[where[10:]].std()) < 1.2
    assert torch.equal(one.present["audio"], present)
    less = robustness.without(corpus, "audio", 0.25, where)
    lost = corpus.present["audio"] & ~less.present["audio"]
    assert 0 < int(lost.sum()) <= 9  # of 36, some of which had none before
    assert not lost[others].any()
    assert not less.features["audio"][lost].any()
    assert torch.equal(less.features["audio"][~lost], corpus.features["audio"][~lost])
    for damaged in (one, less):
        assert all(torch.equal(damaged.features[name], corpus.features[name]) for name in ("text", "visual"))
        assert torch.equal(damaged.label, corpus.label)
    others_lack = ~robustness.without(whole, "audio", 0.25, torch.cat(whole.dialogues["train"])).present["audio"]
    assert int(others_lack.sum()) == int(others_lack[torch.cat(whole.dialogues["train"])].sum()) == 9


def test_the_silhouette_is_of_tests_representations_by_their_labels(here: Path, tmp_path: Path) -> None:
    trainings = Trainings("meld", load_params())
    job = robustness.jobs_of("meld", "ctnet", load_params(), load_report())[0]
    found = robustness.map_classes(trainings, job, tmp_path / "map.png")
    corpus = trainings.corpus(job.params)
    _, representations = predict(trainings.model(job.params, job.seed)[0], corpus, "test", device())
    label = corpus.label[torch.cat(corpus.dialogues["test"])].numpy()
    assert found == pytest.approx(float(silhouette_score(representations.numpy(), label)), abs=0.0001)
    assert (tmp_path / "map.png").is_file()

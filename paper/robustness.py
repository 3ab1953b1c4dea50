"""robustness@D of paper/dvc.yaml: results on test that need the trained models.

It measures how each model's weighted F1 falls if a modality of the test clips is missing or noisy (no model is trained
for this), and how well the classes are separated in the fused representations of CMATH and MultiDAG (Figure 3). All
models and seeds have the same damaged clips and the same noise.

Writes paper/robustness/D/: robustness.csv; and tsne_M.png and silhouettes.json of the first seed's representations.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import silhouette_score

from foundation.device import device
from foundation.f1 import weighted_f1_of
from foundation.files import open_whole, write_whole
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.batching import NO_LABEL, Corpus
from model.training import positions, predict
from paper.courses import only
from paper.names import NAMES
from paper.params import Report, load_report
from paper.plan import planned
from paper.pool import run_course
from paper.results_file import read_results
from paper.search import OF_POINT, Job, point_in, reported_jobs
from paper.trainings import Trainings
from pipeline.params import Params
from pipeline.scoring.pictures import draw_tsne
from pipeline.stage import parser, start

MAPPED = ("cmath", "multidag")
"""Models in Figure 3."""


def run(args: argparse.Namespace, params: Params) -> None:
    report = load_report()
    prepare_torch(threads=1)
    trainings = Trainings(args.corpus, params)
    folder = Path("paper/robustness") / args.corpus
    folder.mkdir(parents=True, exist_ok=True)
    lines, silhouettes = [], {}
    for model in report.models:
        jobs = jobs_of(args.corpus, model, params, report)
        # Found in the work cache, or trained again if they were deleted from it.
        run_course(trainings, model, only(jobs), partial(planned, trainings, model, jobs))
        lines += [{"model": model, **line} for line in scores_of_damaged(trainings, jobs, report)]
        log.info("%s on %s: tested on damaged clips", model, args.corpus)
        if model in MAPPED:
            silhouettes[model] = map_classes(trainings, jobs[0], folder / f"tsne_{model}.png")
    with open_whole(folder / "robustness.csv") as stream:
        columns = ["model", "modality", "kind", "level", "seed", "weighted_f1"]
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    write_whole(folder / "silhouettes.json", json.dumps(silhouettes, indent=2) + "\n")


def jobs_of(corpus: str, model: str, params: Params, report: Report) -> list[Job]:
    """Reported trainings of a model, at the point that its search chose."""
    found = read_results(Path("paper/runs") / corpus / model / "metrics.json", OF_POINT)
    return reported_jobs(params, corpus, model, report, point_in(found))


def scores_of_damaged(trainings: Trainings, jobs: list[Job], report: Report) -> Iterator[dict]:
    """Yield weighted F1 on test by modality, kind of damage, level and seed.

    Turns without a label are damaged like the others, and enter no score.
    """
    corpus = trainings.corpus(jobs[0].params)
    where = positions(corpus, "test")
    label = corpus.label[where].numpy()
    scored = label != NO_LABEL
    levels = [("missing", level) for level in report.robustness.missing]
    levels += [("noise", level) for level in report.robustness.noise]
    models = {job.seed: trainings.model(job.params, job.seed)[0] for job in jobs}
    for modality in corpus.features:
        for kind, level in levels:
            damaged = (without if kind == "missing" else with_noise)(corpus, modality, level, where)
            for seed, model in models.items():
                said = predict(model, damaged, "test", device())[0].argmax(1).numpy()
                score = round(weighted_f1_of(label[scored], said[scored]), 2)
                yield {"modality": modality, "kind": kind, "level": level, "seed": seed, "weighted_f1": score}


def without(corpus: Corpus, modality: str, share: float, where: torch.Tensor) -> Corpus:
    """Remove a modality from the fraction `share` of the utterances at `where`.

    Utterances that lose it at a smaller fraction also lose it at a larger one.
    """
    order = torch.randperm(len(where), generator=torch.Generator().manual_seed(0))
    lost = where[order[: round(share * len(where))]]
    values, present = corpus.features[modality].clone(), corpus.present[modality].clone()
    values[lost], present[lost] = 0, False
    return replace(corpus, features={**corpus.features, modality: values},
                   present={**corpus.present, modality: present})  # fmt: skip


def with_noise(corpus: Corpus, modality: str, deviations: float, where: torch.Tensor) -> Corpus:
    """Add Gaussian noise to a modality of the utterances at `where` that have it."""
    values = corpus.features[modality].clone()
    noise = torch.randn(len(where), values.shape[1], generator=torch.Generator().manual_seed(0))
    values[where] += deviations * noise * corpus.present[modality][where].unsqueeze(1)
    return replace(corpus, features={**corpus.features, modality: values})


def map_classes(trainings: Trainings, job: Job, file: Path) -> float | None:
    """Draw the t-SNE of a seed's test representations; return the classes' silhouette, or None for a single class."""
    corpus = trainings.corpus(job.params)
    label = corpus.label[positions(corpus, "test")].numpy()
    shown = label != NO_LABEL
    network = trainings.model(job.params, job.seed)[0]
    representations, label = predict(network, corpus, "test", device())[1].numpy()[shown], label[shown]
    draw_tsne(representations, label, trainings.labels, file, f"{NAMES[job.params.model.name]}:")
    if not 1 < len(np.unique(label)) < len(label):
        return None
    return round(float(silhouette_score(representations, label)), 4)


if __name__ == "__main__":
    start(run, parser(__doc__))

"""study@D-S and text_study@D of paper/dvc.yaml: one study of CMATH on one corpus.

The studies are `ablations` (Table 4), `modalities` (Table 5), `widths` (Figure 4), `gammas` (Figure 6), and `text` (the
text encoder as published and fine-tuned). Each setting is trained at the point that CMATH's search chose. A setting
that the comparison has trained is not trained again.

Writes paper/studies/D/S/<setting>/: history.csv, predictions.csv and metrics.json. `text` also writes encoder/, the
results of the fine-tuned encoder alone. The folder of a setting that is not asked for any more is removed.
"""

import argparse
from functools import partial
from pathlib import Path

from foundation.log import log
from foundation.torch_setup import prepare_torch
from paper.courses import only
from paper.params import load_report
from paper.plan import in_words, planned
from paper.pool import run_course
from paper.results_file import read_results
from paper.rows import remove_others, write_encoder_row, write_row
from paper.search import OF_POINT, point_in
from paper.studies import STUDIES
from paper.study_jobs import jobs
from paper.trainings import Trainings
from pipeline.params import Params
from pipeline.stage import parser, start


def run(args: argparse.Namespace, params: Params) -> None:
    report, study = load_report(), args.study
    prepare_torch(threads=1)
    trainings = Trainings(args.corpus, params)
    point = point_in(read_results(Path("paper/runs") / args.corpus / "cmath" / "metrics.json", OF_POINT))
    settings = jobs(trainings, params, report, study, point)
    every = [job for part in settings.values() for job in part]
    left = partial(planned, trainings, study, every)
    log.info("%s on %s: %s", study, args.corpus, in_words([left()]))
    folder = Path("paper/studies") / args.corpus / study
    folder.mkdir(parents=True, exist_ok=True)
    remove_others(folder, {*settings, "encoder"} if study == "text" and settings else set(settings))
    if study == "text" and settings:
        write_encoder_row(trainings, folder / "encoder")
    fits = iter(run_course(trainings, study, only(every), left))
    for name, part in settings.items():
        scores = write_row(trainings, part, [next(fits) for _ in part], folder / name)
        log.info("%s, %s on %s: weighted F1 %.2f ± %.2f", study, name, args.corpus, scores["weighted_f1"],
                 scores["weighted_f1_std"])  # fmt: skip


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("study", choices=STUDIES)
    start(run, arguments)

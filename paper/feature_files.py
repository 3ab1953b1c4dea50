"""Run models on a published feature file, and put their scores beside the published ones.

    python -m paper.feature_files meld_sdt                     # the models of the file's rows in the table
    python -m paper.feature_files meld_sdt --models cmath sdt
    python -m paper.feature_files                              # only writes the table anew

The corpus must have the reader `features`, and its index and features must be there. Finished trainings come from the
store, so the command can be interrupted. The scores are kept in paper/feature_files.json, and the table in
docs/feature_files.md is written from it: by validation, and by the field's own choice of the epoch on test.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import write_whole
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.registry import MODELS
from model.training import positions
from paper.courses import only
from paper.names import NAMES
from paper.plan import planned
from paper.pool import run_course
from paper.published import published_scores
from paper.results_file import LIST, MAP, NUMBER, TEXT, read_kept, read_results, required
from paper.search import Job
from paper.trainings import Trainings
from paper.words import rewrite
from pipeline.params import Params, load_params, read_yaml
from pipeline.scoring.marks import marks
from pipeline.scoring.metrics import metrics, said_of_test
from pipeline.stage import command

ROWS, SCORES, PAGE = Path("paper/feature_files.yaml"), Path("paper/feature_files.json"), Path("docs/feature_files.md")
BEGIN, END = "<!-- written by python -m paper.feature_files -->", "<!-- end of what is written -->"
EMPTY = "file not at hand"
NUMBERS = ("weighted_f1", "weighted_f1_std", "oracle_weighted_f1", "oracle_weighted_f1_std", "seeds")
ENTRY = {**dict.fromkeys(NUMBERS, NUMBER), "seen": LIST}
"""What is kept of a model."""


def run(corpus: str, models: list[str]) -> None:
    """Train `models` on `corpus` (without any: those of the file's rows), keep their scores and write the table."""
    params = load_params()
    if corpus not in params.index or params.index[corpus].reader != "features":
        raise UserError(f"{corpus}: is no corpus of params.yaml whose reader is `features`")
    prepare_torch(threads=1)
    about = read_about(corpus)
    row = row_of(about)
    unused = [name for name in about["vectors"] if name not in about["taken"] or name not in params.model.modalities]
    if unused:
        raise UserError(f"{corpus}: its {' and '.join(unused)} vectors are not used (index.{corpus}.vectors, "
                        "model.modalities), and the table is for all that a file has")  # fmt: skip
    scores = read_scores(adding=True)
    for model in models or row["models"]:
        log.info("%s: %s on %s", corpus, NAMES[model], row["file"])
        scores.setdefault(row["file"], {})[model] = scores_of(corpus, with_model(params, model))
        write_whole(SCORES, json.dumps(scores, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        write_table(scores)


def read_about(corpus: str) -> dict[str, Any]:
    """What the census of a corpus says of its feature file.

    Raises:
        UserError: corpus.json is missing or broken.
    """
    file, remedy = Path("results") / corpus / "corpus.json", f"`dvc repro index@{corpus}` makes it anew"
    keys = {"vectors": MAP, "taken": LIST, "files": LIST, "layout": TEXT}
    about = read_results(file, {f"published.{key}": kind for key, kind in keys.items()}, remedy)["published"]
    if not about["files"]:
        raise UserError(f"{file}: names no file in published.files; {remedy}")
    for one in about["files"]:
        required(one, {"name": TEXT, "git_blob": TEXT}, file, remedy, "published.files")
    return dict(about)


def row_of(about: dict[str, Any]) -> dict[str, Any]:
    """Row of the table for the file that corpus.json describes."""
    first, *others = about["files"]
    for row in read_rows():
        # A folder of files has a layout of its own, whatever one of its files is alone.
        if (row.get("git_blob") == first["git_blob"] and not others) or row.get("layout") == about["layout"]:
            return row
    raise UserError(f"{first['name']}: has no row in {ROWS}; add one with its layout {about['layout']!r} or its "
                    f"git_blob {first['git_blob']}")  # fmt: skip


def read_rows() -> list[dict[str, Any]]:
    found = read_yaml(ROWS)
    assert isinstance(found, list)
    return found


def with_model(params: Params, name: str) -> Params:
    """Parameters with another model; CMATH's ablation is none."""
    model = params.model.model_copy(update={"name": name, "ablate": "none"})
    return params.model_copy(update={"model": model})


def scores_of(corpus: str, params: Params) -> dict[str, Any]:
    """Train one model per seed, or take them from the store, and score them on test."""
    trainings, seeds, model = Trainings(corpus, params), params.train[corpus].seeds, params.model.name
    jobs = [Job(params, seed, True) for seed in seeds]
    fits = run_course(trainings, model, only(jobs), partial(planned, trainings, model, jobs))
    for seed, done in zip(seeds, fits, strict=True):
        if done.score is None:
            raise UserError(f"{model} on {corpus}, seed {seed}: the loss is not finite; lower "
                            f"train.{corpus}.learning_rate")  # fmt: skip
    data = trainings.corpus(params)
    models = {seed: trainings.model(params, seed) for seed in seeds}
    calibration = trainings.calibration(params, {seed: network for seed, (network, _) in models.items()})
    said = [said_of_test(*model, seed, data, calibration) for seed, model in models.items()]
    tested = [trainings.rows[place] for place in positions(data, "test").tolist()]
    found = metrics(said, tested, [row.label for row in trainings.rows if row.split == "train"], trainings.labels)
    return {name: found[name] for name in NUMBERS} | {"seen": marks(corpus, params.model.modalities)}


def read_scores(*, adding: bool = False) -> dict[str, dict[str, Any]]:
    """The scores that are kept, by file and model; see `read_kept`."""
    return read_kept(SCORES, 2, ENTRY, adding=adding, of_models=True)


def table(scores: dict[str, dict[str, Any]]) -> list[str]:
    """Lines of the table. A row whose labels were seen is marked."""
    lines = ["| file | model | published | ours, epoch by validation | ours, epoch by test (oracle) | seeds |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    notes: list[str] = []
    for row in read_rows():
        published = published_scores(row["corpus"])[1]
        for model in dict.fromkeys([*row["models"], *scores.get(row["file"], {})]):
            printed = published.get(model, {}).get("weighted_f1")
            found = scores.get(row["file"], {}).get(model)
            ours = [EMPTY, "", ""]
            if found:
                ours = [f"{found[name]:.2f} ± {found[f'{name}_std']:.2f}" for name in
                        ("weighted_f1", "oracle_weighted_f1")]  # fmt: skip
                notes += [mark for mark in found["seen"] if mark not in notes]
                ours = [f"{value}{''.join(f' [{1 + notes.index(mark)}]' for mark in found['seen'])}" for value in ours]
                ours.append(str(found["seeds"]))
            lines.append(f"| {row['file']} | {NAMES[model]} | {printed or '-'} | {' | '.join(ours)} |")
    return lines + [""] * bool(notes) + [f"[{place}] {mark}." for place, mark in enumerate(notes, 1)]


def write_table(scores: dict[str, dict[str, Any]]) -> None:
    """Write the table into the page, between its two marks."""
    rewrite(PAGE, {(BEGIN, END): table(scores)})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("corpus", nargs="?", help="a corpus of params.yaml with the reader features")
    arguments.add_argument("--models", nargs="+", choices=list(MODELS), default=[])
    args = arguments.parse_args()
    command(lambda: run(args.corpus, args.models) if args.corpus else write_table(read_scores()))


if __name__ == "__main__":
    main()

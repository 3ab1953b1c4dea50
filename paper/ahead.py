"""Do the trainings of the report, as many at once as there are devices, before `dvc repro paper/dvc.yaml` needs them.

    python -m paper.ahead                 # for report.corpora of paper/params.yaml
    python -m paper.ahead meld
    CMATH_DEVICES=cuda:0,cuda:0,cuda:1,cuda:1 python -m paper.ahead meld
    CMATH_ENGINE=ray python -m paper.ahead meld

DVC runs one stage after the other, so at most the seeds of one model train at the same time. This command takes the
searches of all models, and CMATH's studies as soon as its search is over. It writes nothing but the store of trainings
(.cache/trainings), in which DVC's stages find them. It can be interrupted, and goes on where it was.

Index and features of the corpus must be there: `dvc repro`.
"""

import argparse
from collections.abc import Generator

from foundation.errors import UserError
from foundation.log import log
from foundation.torch_setup import prepare_torch
from paper.courses import Fits, Jobs, Searched, only, search
from paper.params import NO_CORPUS, Report, load_report
from paper.plan import Plan, in_words, plan, plan_of_study
from paper.pool import Course, run_courses
from paper.studies import STUDIES
from paper.study_jobs import jobs
from paper.trainings import Trainings
from pipeline.params import Params, load_params
from pipeline.stage import command


def run(corpus: str, params: Params, report: Report) -> None:
    """Do the trainings of one corpus.

    Raises:
        UserError: the search of a model failed; the other models are done.
    """
    trainings = Trainings(corpus, params)

    def left() -> list[Plan]:
        models = [plan(trainings, params, model, report) for model in report.models]
        studies = STUDIES if "cmath" in report.models else ()
        return models + [plan_of_study(trainings, params, report, study) for study in studies]

    log.info("%s: %s", corpus, in_words(left()))
    courses: dict[str, Course] = {model: search(trainings, params, model, report) for model in report.models}
    if "cmath" in courses:
        courses["cmath"] = with_studies(trainings, params, report)
    _, errors = run_courses(trainings, courses, left)
    log.info("%s: %s", corpus, in_words(left()))
    if errors:
        raise UserError("; ".join(map(str, errors.values())))


def with_studies(trainings: Trainings, params: Params, report: Report) -> Generator[Jobs, Fits, None]:
    """Course of CMATH: its search, and then all its studies at once, as far as their features are there."""
    found: Searched = yield from search(trainings, params, "cmath", report)
    of_studies = [
        job
        for study in STUDIES
        for part in jobs(trainings, params, report, study, found.best).values()
        for job in part
        if trainings.has_features(job.params)
    ]
    yield from only(of_studies)


def main() -> None:
    arguments = argparse.ArgumentParser("python -m paper.ahead", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    arguments.add_argument("corpora", nargs="*", help="names in `index` of params.yaml (report.corpora)")
    given = arguments.parse_args().corpora

    def work() -> None:
        params, report = load_params(), load_report()
        prepare_torch(threads=1)
        if not (given or report.corpora):
            raise UserError(NO_CORPUS)
        for corpus in given or report.corpora:
            if corpus not in params.index:
                raise UserError(f"{corpus}: is no corpus; `index` of params.yaml has {', '.join(params.index)}")
            run(corpus, params, report)

    command(work)


if __name__ == "__main__":
    main()

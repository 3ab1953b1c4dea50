"""Do the tests notice a wrong number? Small faults are put into the code one at a time, by mutmut, and counted.

    python -m bench.mutants                     all groups, 60 faults of each; about an hour on two cores
    python -m bench.mutants scores keys         only these groups
    python -m bench.mutants --each 200 --seed 1

A group is some modules and the tests that are their own. Only these tests are run, without the slow ones: a fault that
only another part's test happens to notice counts as missed. The faults are drawn at random by the seed. What survives
is shown as a difference: it is a missing test, or a change that nobody can observe. docs/testing.md has the numbers.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Group:
    """Modules, and the tests that should notice a fault in them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = {
    "training": Group(("model/training.py",), ("tests/model/test_training.py", "tests/model/test_training_loop.py")),
    "cmath": Group(
        ("model/cmath.py", "model/attention.py"),
        ("tests/model/test_cmath_equations.py", "tests/model/test_dropout.py"),
    ),
    "losses": Group(
        ("model/losses.py", "model/baselines/focal.py"),
        (
            "tests/model/test_cmath_equations.py",
            "tests/model/test_batching.py",
            "tests/model/baselines/test_focal.py",
            "tests/pipeline/training/test_loading.py",
        ),
    ),
    "scores": Group(
        ("foundation/f1.py", "pipeline/scoring/scores.py", "pipeline/scoring/metrics.py",
         "pipeline/scoring/lengths.py", "pipeline/scoring/tables.py"),
        ("tests/foundation/test_f1.py", "tests/pipeline/scoring/test_scores.py", "tests/pipeline/test_evaluate.py"),
    ),
    "comparison": Group(("pipeline/scoring/comparison.py",), ("tests/pipeline/scoring/test_scores.py",)),
    "keys": Group(
        ("foundation/identity.py", "foundation/trainings.py", "model/identity.py", "pipeline/training/store.py",
         "extractors/cache.py"),
        (
            "tests/test_identity.py",
            "tests/foundation/test_store_of_trainings.py",
            "tests/pipeline/training/test_store.py",
            "tests/extractors/test_cache.py",
        ),
    ),
    "readers": Group(
        ("pipeline/corpora/meld.py", "pipeline/corpora/iemocap.py", "pipeline/corpora/table.py"),
        (
            "tests/pipeline/corpora/test_meld.py",
            "tests/pipeline/corpora/test_iemocap.py",
            "tests/pipeline/corpora/test_table.py",
        ),
    ),
    "data": Group(
        ("foundation/standardisation.py", "model/batching.py", "model/scaling.py", "pipeline/training/loading.py",
         "pipeline/corpora/index_file.py"),
        (
            "tests/foundation/test_standardisation.py",
            "tests/model/test_batching.py",
            "tests/pipeline/training/test_loading.py",
            "tests/pipeline/test_index.py",
        ),
    ),
    "baselines": Group(("model/baselines/*.py",), ("tests/model/baselines", "tests/model/test_dropout.py")),
    "extractors": Group(
        ("extractors/audio/extractor.py", "extractors/audio/sound.py", "extractors/audio/reduction.py",
         "extractors/visual/faces.py", "extractors/decoding/*.py"),
        (
            "tests/extractors/test_audio.py",
            "tests/extractors/test_faces.py",
            "tests/extractors/test_visual.py",
            "tests/extractors/test_reduction.py",
            "tests/extractors/test_media.py",
            "tests/extractors/test_timeline.py",
            "tests/extractors/test_pictures.py",
            "tests/extractors/test_inspection.py",
        ),
    ),
    "stages": Group(
        ("pipeline/index.py", "pipeline/check.py", "pipeline/corpora/census.py", "pipeline/corpora/media_files.py",
         "pipeline/prediction/transcripts/*.py"),
        (
            "tests/pipeline/test_index.py",
            "tests/pipeline/test_check.py",
            "tests/pipeline/corpora/test_census.py",
            "tests/pipeline/prediction/transcripts",
        ),
    ),
}  # fmt: skip
NOTICED = {"killed", "timeout", "segfault", "suspicious", "caught by type check"}
"""What mutmut says of a fault after which a test failed, or did not end."""
CONFIGURATION = """
[tool.mutmut]
source_paths = ["foundation", "extractors", "model", "pipeline"]
only_mutate = {modules}
also_copy = {others}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-o", "addopts=--strict-markers", "-m", "not slow", "-x"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    arguments.add_argument("--each", type=int, default=60, help="faults of each group (60)")
    arguments.add_argument("--seed", type=int, default=0, help="by which they are drawn (0)")
    args = arguments.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        arguments.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    print("| group | faults in all | tried | noticed | share |\n|---|---|---|---|---|", flush=True)
    survivors: list[str] = []
    for name in args.groups or GROUPS:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            work = Path(folder) / "project"
            copy_project(work, GROUPS[name])
            every = faults(work)
            chosen = random.Random(args.seed).sample(every, min(args.each, len(every)))
            mutmut(work, "run", "--max-children", str(WORKERS), *chosen)
            found = {fault: status for fault, status in statuses(work).items() if fault in set(chosen)}
            noticed = sum(status in NOTICED for status in found.values())
            print(
                f"| {name} | {len(every)} | {len(chosen)} | {noticed} | {100 * noticed / len(chosen):.0f} % |",
                flush=True,
            )
            others = Counter(status for status in found.values() if status not in NOTICED | {"survived", "no tests"})
            if others:
                print(f"{name}: without a verdict: {dict(others)}", file=sys.stderr)
            survivors += [mutmut(work, "show", fault) for fault, status in found.items() if status not in NOTICED]
    print("\n".join(["", "What survived:", "", *survivors]))


def copy_project(work: Path, group: Group) -> None:
    """A copy of what git has of the project, set up for mutmut."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    files = [Path(name) for name in listed.split("\0") if name]
    for file in files:
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / file, work / file)
    mutated = {"foundation", "extractors", "model", "pipeline", "tests", "pyproject.toml"}
    others = sorted({file.parts[0] for file in files} - mutated)
    text = CONFIGURATION.format(modules=list(group.modules), others=others, tests=list(group.tests))
    with (work / "pyproject.toml").open("a", encoding="utf-8") as stream:
        stream.write(text.replace("'", '"'))


def faults(work: Path) -> list[str]:
    """The names of all faults that mutmut knows in the group's modules."""
    mutmut(work, "run", "no-such-name")  # which makes them, and then finds none of this name
    return sorted(statuses(work))


def statuses(work: Path) -> dict[str, str]:
    lines = mutmut(work, "results", "--all", "true").splitlines()
    return dict(match.groups() for line in lines if (match := re.fullmatch(r"\s+(\S+): (.+)", line)))  # type: ignore[misc]


def mutmut(work: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=work, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    return done.stdout


if __name__ == "__main__":
    main()

"""Kill stages at random moments, run them again, and compare the bytes with those of a run that was never killed.

    python -m bench.kills                        # about 100 kills: a quarter of an hour on two cores
    python -m bench.kills --kills 20 --stages train finetune_text

Works in a temporary folder, on the synthetic corpus `demo`, with small models, and on a few drawn faces. A stage is
started, killed after a random part of the time that it takes, and started again, until it ends. The exit code is 1 if
any output differs.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ruamel.yaml import YAML

from pipeline.corpora.fer2013 import EMOTIONS
from pipeline.params import load_params
from pipeline.stage import command

PROJECT = Path(__file__).parents[1]
MOST_IN_A_ROW = 5
"""Kills after which a stage may end."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """A command of the pipeline, and what it writes."""

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]


STAGES = (
    Stage("train_face", ("pipeline.train_face",), ("models/face", "results/face/history.csv")),
    Stage("raw", ("pipeline.raw", "demo"), ("corpora/demo", "data/demo/source")),
    Stage("index", ("pipeline.index", "demo"), ("data/demo/index.csv", "results/demo/corpus.json")),
    Stage(
        "finetune_text",
        ("pipeline.finetune_text", "demo"),
        ("data/demo/encoder/text", "data/demo/encoder/text_predictions.csv"),
    ),
    Stage("extract text", ("pipeline.extract", "demo", "text"), ("data/demo/features/text.safetensors",)),
    Stage("extract audio", ("pipeline.extract", "demo", "audio"), ("data/demo/features/audio.safetensors",)),
    Stage("extract visual", ("pipeline.extract", "demo", "visual"), ("data/demo/features/visual.safetensors",)),
    Stage("faces", ("pipeline.faces", "demo"), ("results/demo/faces.png",)),
    Stage("leakage", ("pipeline.leakage", "demo"), ("results/demo/leakage.json",)),
    Stage("train", ("pipeline.train", "demo"), ("models/demo", "results/demo/history.csv")),
    Stage("evaluate", ("pipeline.evaluate", "demo"), ("results/demo/scores.json", "results/demo/predictions.csv")),
)


def write_params(folder: Path) -> None:
    """params.yaml by which every stage takes some seconds."""
    values: dict[str, Any] = load_params(PROJECT / "params.yaml").model_dump()
    values["datasets"] = ["demo"]
    values["model"] |= {"dim": 60, "heads": 2}
    values["train"]["demo"] |= {"epochs": 12, "patience": 12, "seeds": [0, 1]}
    values["text"]["demo"] |= {"finetune": True, "crossfit": 2}
    values["visual"]["demo"]["weights"] = str(PROJECT / values["visual"]["demo"]["weights"])
    values["recipes"]["minilm"] |= {"epochs": 1}
    values["face"] |= {"data": str(folder / "fer"), "batch": 8, "held_out": 0.25}
    for phase in values["face"]["phases"]:
        phase |= {"edge": 16, "epochs": 1}
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(values, stream)
    draw = np.random.default_rng(SEED)
    for part, number in (("train", 8), ("test", 2)):
        for emotion in EMOTIONS:
            (folder / "fer" / part / emotion).mkdir(parents=True)
            for place in range(number):
                picture = draw.integers(256, size=(48, 48), dtype=np.uint8)
                cv2.imwrite(str(folder / "fer" / part / emotion / f"{place}.png"), picture)


def started(folder: Path, stage: Stage) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "CMATH_CACHE": str(folder / "cache"),
                   "CMATH_CHECKPOINT_SECONDS": "1", "CMATH_LOG": "ERROR"}  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", *stage.arguments], cwd=folder, env=environment,
                            start_new_session=True, stderr=subprocess.PIPE)  # fmt: skip


def finished(process: subprocess.Popen[bytes], stage: Stage) -> None:
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"error: {stage.name} ended with status {process.returncode}: {said.decode()[-2000:]}")


def contents(folder: Path, stage: Stage) -> dict[str, bytes]:
    """Every file that the stage has written."""
    found: dict[str, bytes] = {}
    for output in stage.outputs:
        place = folder / output
        files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
        found |= {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}
    assert found, f"{stage.name} has written nothing"
    return found


def removed(folder: Path, stage: Stage) -> None:
    """Remove what the stage has written, and all work caches."""
    for output in stage.outputs:
        if (folder / output).is_dir():
            shutil.rmtree(folder / output)
        else:
            (folder / output).unlink(missing_ok=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)


def try_stage(folder: Path, stage: Stage, kills: int, draw: random.Random) -> tuple[int, int, set[str]]:
    """Kill `stage` at least `kills` times; return the numbers of kills and of finished runs, and files that differ."""
    begin = time.monotonic()
    finished(started(folder, stage), stage)
    seconds, whole = time.monotonic() - begin, contents(folder, stage)
    done, runs, differ = 0, 0, set[str]()
    while done < kills:
        removed(folder, stage)
        in_a_row = 0
        while True:
            process = started(folder, stage)
            if in_a_row < MOST_IN_A_ROW:
                try:
                    process.wait(draw.uniform(0.2, 1.0) * seconds)
                except subprocess.TimeoutExpired:
                    # Half of the kills leave the worker processes to end by themselves, as a kill by hand does.
                    (os.killpg if draw.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
                    process.communicate()
                    done, in_a_row = done + 1, in_a_row + 1
                    continue
            finished(process, stage)
            break
        runs += 1
        after = contents(folder, stage)
        differ |= {name for name in whole.keys() | after.keys() if whole.get(name) != after.get(name)}
    return done, runs, differ


def main() -> None:
    arguments = argparse.ArgumentParser("python -m bench.kills", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    arguments.add_argument("--kills", type=int, default=10, help="of each stage, at least (10)")
    arguments.add_argument("--stages", nargs="+", choices=[stage.name for stage in STAGES], metavar="STAGE",
                           help=f"which of them (all): {', '.join(stage.name for stage in STAGES)}")  # fmt: skip
    given = arguments.parse_args()

    def work() -> None:
        draw, differing = random.Random(SEED), 0
        print("| stage | kills | finished runs | files that differ |\n|---|---|---|---|")
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_params(folder)
            asked = [place for place, stage in enumerate(STAGES) if not given.stages or stage.name in given.stages]
            for place, stage in enumerate(STAGES[: asked[-1] + 1]):
                if place not in asked:
                    finished(started(folder, stage), stage)
                    continue
                kills, runs, differ = try_stage(folder, stage, given.kills, draw)
                differing += len(differ)
                print(f"| {stage.name} | {kills} | {runs} | {', '.join(sorted(differ)) or 'none'} |", flush=True)
        if differing:
            raise SystemExit(1)

    command(work)


if __name__ == "__main__":
    main()

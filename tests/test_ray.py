"""Extraction and training on a Ray cluster of two machines, one of which is killed: the bytes of a plain run."""

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foundation import ray_workers
from paper.trainings import Trainings
from pipeline import extract, index, raw
from pipeline.params import load_params
from pipeline.training.pool import side_by_side
from tests.paper.small import write_params
from tests.random_features import write_features_of_meld

ray = pytest.importorskip("ray", reason="pip install -r requirements-ray.txt -c requirements-lock.txt")

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    ray.shutdown()
    made.shutdown()


def features(modality: str, *arguments: str) -> bytes:
    extract.run(extract.arguments().parse_args(["meld", modality, *arguments]), load_params())
    return Path(f"data/meld/features/{modality}.safetensors").read_bytes()


def test_a_cluster_gives_the_same_bytes_though_a_machine_is_lost_in_the_middle(
    tmp_path: Path, meld: Callable[..., Path], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, clip in enumerate(sorted(meld().rglob("*.mp4"))):  # no two the same, or they would be one extraction
        clip.write_bytes(clip.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    text = (PROJECT / "params.yaml").read_text().replace("corpora/MELD.Raw", str(tmp_path / "raw"))
    text = text.replace("model: roberta-large", "model: minilm")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMATH_ENGINE", "processes")
    for stage in (raw, index):
        stage.run(Namespace(corpus="meld"), load_params())
    whole = {modality: features(modality) for modality in ("audio", "text")}

    spread, lost = ray_workers.spread_over_cluster, []

    def losing(*arguments: Any) -> Iterator[Any]:
        for answer in spread(*arguments):
            yield answer
            if not lost:
                [node] = cluster.worker_nodes
                cluster.remove_node(node, allow_graceful=False)
                lost.append(node)

    monkeypatch.setattr(ray_workers, "spread_over_cluster", losing)
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path / "another cache"))
    assert len([node for node in cluster.list_all_nodes() if node]) == 2
    assert features("audio", "--engine", "ray") == whole["audio"]
    assert lost
    assert features("text", "--engine", "ray") == whole["text"]
    assert os.environ["CMATH_ENGINE"] == "ray"


def test_trainings_on_a_cluster_are_those_of_this_machine_though_a_machine_is_lost_in_the_middle(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_features_of_meld(tmp_path)
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    params = load_params()
    seeds = [0, 1, 2, 3]

    def kept(cache: str, engine: str) -> dict[int, bytes]:
        monkeypatch.setenv("CMATH_CACHE", cache)
        monkeypatch.setenv("CMATH_ENGINE", engine)
        trainings = Trainings("meld", params)
        tasks = [trainings.task(params, seed, weights=True) for seed in seeds]
        done = []
        for task, fit in side_by_side(iter(tasks)):
            done.append((task.seed, fit.score))
            if engine == "ray" and len(done) == 1:
                [node] = cluster.worker_nodes
                cluster.remove_node(node, allow_graceful=False)
        assert sorted(seed for seed, _ in done) == seeds
        return {task.seed: (task.folder / f"seed{task.seed}.safetensors").read_bytes() for task in tasks}

    here = kept("here", "processes")
    assert len(set(here.values())) == len(seeds)
    assert len(cluster.list_all_nodes()) == 2
    assert kept("shared", "ray") == here
    assert not list(Path("shared").rglob("*.running.json"))

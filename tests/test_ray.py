"""Extraction on a Ray cluster of two machines, one of which is killed in the middle: the bytes of a plain run."""

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foundation import ray_workers
from pipeline import extract, index, raw
from pipeline.params import load_params

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
    text = text.replace("model: roberta-large", "model: minilm").replace("set: IS13", "set: IS10")
    (tmp_path / "params.yaml").write_text(text.replace("reduce: pca", "reduce: none"))
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

"""dvc.yaml against the code: a stage depends on exactly what its module imports."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]
MODALITIES = ("text", "audio", "visual")
CHECKED_ONLY = {"pipeline/params.py"}
"""Checks values and computes none: a new key must not make every feature anew."""


def imported(file: Path) -> set[Path]:
    """The project's own modules that `file` imports, at its top or later."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = {PROJECT / (name.replace(".", "/") + ".py") for name in names}
    return {path for path in files if path.exists()}


def closure(file: Path) -> set[str]:
    found: set[Path] = set()
    queue = [file]
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            queue += imported(path)
    return {str(path.relative_to(PROJECT)) for path in found} - CHECKED_ONLY


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_stages_code_is_what_its_module_imports(stage: str, modality: str) -> None:
    deps = [str(dep).replace("${item.modality}", modality) for dep in STAGES[stage]["deps"]]
    code = {dep for dep in deps if dep.endswith(".py")}
    expected = closure(PROJECT / "pipeline" / f"{stage}.py") if stage != "check" else set()
    if stage == "extract":
        expected -= {f"extractors/{other}.py" for other in MODALITIES if other != modality}
    assert code == expected


def test_the_graph_has_the_houses_stages_and_files() -> None:
    assert list(STAGES) == [
        "check", "train_face", "raw", "watch", "index", "finetune_text", "extract", "faces", "train", "evaluate"
    ]  # fmt: skip
    kinds = ("outs", "metrics", "plots")
    outs = [out for stage in STAGES.values() for kind in kinds for out in stage.get(kind, [])]
    written = {str(next(iter(out)) if isinstance(out, dict) else out) for out in outs}
    for name in (
        "data/${item.dataset}/index.csv",
        "data/${item.dataset}/features/${item.modality}.safetensors",
        "models/${item.dataset}",
        "results/${item.dataset}/history.csv",
        "results/${item.dataset}/metrics.json",
        "results/${item.dataset}/predictions.csv",
        "results/${item.dataset}/confusion.csv",
    ):
        assert name in written


def test_every_stage_says_what_it_does_and_params_are_those_of_the_file() -> None:
    params = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    for stage in STAGES.values():
        assert stage["desc"]
        for key in stage.get("params", []):
            section = params
            examples = {"${item.dataset}": "meld", "${item.modality}": "audio", "${model.name}": "mmgcn"}
            for placeholder, example in examples.items():
                key = key.replace(placeholder, example)
            for name in key.split("."):
                section = section[name]

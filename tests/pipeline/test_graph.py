"""dvc.yaml against the code: a stage depends on exactly what its module imports."""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]
MODALITIES = ("text", "audio", "visual")
NO_OUTPUT = {
    "extractors/cache.py", "extractors/result.py", "model/identity.py", "paper/params.py", "paper/pool.py",
    "pipeline/params.py", "pipeline/stage.py", "pipeline/training/pool.py",
}  # fmt: skip
"""Files that change no output of a stage: they check values, start commands and processes, keep and name what was
made."""
PICTURES = {"pipeline/scoring/pictures.py"}
"""In the main pipeline it draws a map that is no output."""
OF_FOUNDATION = {
    f"foundation/{name}.py" for name in ("arithmetic", "f1", "precision", "standardisation", "torch_setup")
}
"""The only files of foundation/ that change a number."""

PACKAGES = {PROJECT / "pipeline/bundle/__init__.py"}
"""The packages that are libraries themselves; any other has no code, or sets the arithmetic for all of pipeline/."""


def imported(file: Path) -> set[Path]:
    """The project's own modules that `file` imports, at its top or later."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[\w.]+:[A-Z]\w+", str(node.value)):
            names.add(node.value.partition(":")[0])  # a class of the registry, by module and name
    places = {name.replace(".", "/") for name in names}
    files = {PROJECT / f"{place}.py" for place in places} | {PROJECT / place / "__init__.py" for place in places}
    return {path for path in files if path.exists() and (path.name != "__init__.py" or path in PACKAGES)}


def closure(file: Path) -> set[str]:
    """The project's own files that decide what the command `file` makes."""
    found: set[Path] = set()
    queue = [file]
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            if path != PROJECT / "pipeline/params.py":  # what it imports is for checks of values
                queue += imported(path)
    names = {name for name in (str(path.relative_to(PROJECT)) for path in found) if changes_an_output(name)}
    if any(name.startswith(("extractors/", "model/")) for name in names):
        names.add("foundation/arithmetic.py")  # which decides their last bits
    return names


def read_sections(file: Path) -> set[str]:
    """Sections of params.yaml that the code of the command `file` asks for by itself: whose reader, and which recipe.

    Every other section is read only where a stage's own module, which a reader of dvc.yaml looks into, asks for it.
    """
    code = "\n".join((PROJECT / name).read_text() for name in closure(file))
    asked = {"index": "params.index[", "recipes": ".recipe("}
    return {section for section, words in asked.items() if words in code}


def listed_sections(params: list) -> set[str]:
    """Sections of params.yaml that a stage's `params` name."""
    return {key.partition(".")[0] for key in params if isinstance(key, str)}


def changes_an_output(name: str) -> bool:
    if name.startswith("foundation/"):
        return name in OF_FOUNDATION
    return name not in NO_OUTPUT and not name.endswith("/settings.py")


def listed(deps: list[str]) -> set[str]:
    """The files of code that the dependencies of a stage are: a folder stands for all in it."""
    code = {dep for dep in deps if dep.endswith(".py")}
    for folder in [PROJECT / dep for dep in deps if dep.partition("/")[0] in ("extractors", "model", "pipeline")]:
        code |= {str(file.relative_to(PROJECT)) for file in folder.rglob("*.py") if file.name != "__init__.py"}
    return {name for name in code if changes_an_output(name)}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_stages_code_is_what_its_module_imports(stage: str, modality: str) -> None:
    deps = [str(dep).replace("${item.modality}", modality) for dep in STAGES[stage]["deps"]]
    expected = closure(PROJECT / "pipeline" / f"{stage}.py") if stage != "check" else set()
    if stage == "extract":
        others = tuple(f"extractors/{other}/" for other in MODALITIES if other != modality)
        expected = {name for name in expected if not name.startswith(others)}
        expected |= listed([f"extractors/{modality}"])  # whatever lies there may be named by the registry
    assert listed(deps) == expected - PICTURES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_reader_and_the_recipe_that_its_code_asks_for(stage: str) -> None:
    asked = read_sections(PROJECT / "pipeline" / f"{stage}.py") if stage != "check" else set()  # it depends on all
    assert asked <= listed_sections(STAGES[stage].get("params", []))


def test_a_file_that_is_listed_changes_an_output() -> None:
    for stage in STAGES.values():
        for dep in stage["deps"]:
            assert not str(dep).endswith(".py") or changes_an_output(str(dep)), dep


def test_the_graph_has_the_houses_stages_and_files() -> None:
    assert list(STAGES) == [
        "check", "train_face", "raw", "watch", "index", "finetune_text", "extract", "faces", "leakage", "train",
        "evaluate",
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

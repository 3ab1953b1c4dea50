"""paper/dvc.yaml against the code, as the main graph is held against it."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from paper.params import load_report
from pipeline.params import load_params
from tests.pipeline.test_graph import closure, listed, listed_sections, read_sections

PROJECT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load((PROJECT / "paper" / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_code_is_what_its_module_imports(stage: str) -> None:
    deps = [str(dep) for dep in STAGES[stage]["deps"]]
    module = STAGES[stage]["cmd"].split()[2]
    assert listed(deps) == closure(PROJECT / f"{module.replace('.', '/')}.py")
    assert STAGES[stage]["wdir"] == ".."
    assert STAGES[stage]["desc"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_reader_and_the_recipe_that_its_code_asks_for(stage: str) -> None:
    module = STAGES[stage]["cmd"].split()[2]
    asked = read_sections(PROJECT / f"{module.replace('.', '/')}.py")
    assert asked <= listed_sections(STAGES[stage]["params"])


def test_params_are_those_of_the_files() -> None:
    main, report = load_params(PROJECT / "params.yaml"), load_report(PROJECT / "paper" / "params.yaml")
    for stage in STAGES.values():
        for entry in stage["params"]:
            keys = entry["paper/params.yaml"] if isinstance(entry, dict) else [entry]
            for key in keys:
                section = {"report": report.model_dump()} if isinstance(entry, dict) else main.model_dump()
                examples = {"${item.model}": "mmgcn", "${item.dataset}": "meld", "${item.study}": "widths"}
                for placeholder, example in examples.items():
                    key = key.replace(placeholder, example)
                for name in key.split("."):
                    section = section[name]


@pytest.mark.parametrize("stage", STAGES)
def test_without_a_corpus_there_is_no_stage(stage: str) -> None:
    # A stage that is no matrix over the corpora is there for everyone, and DVC says of it that it never ran.
    assert STAGES[stage]["matrix"]["dataset"] == "${report.corpora}"


def test_the_shipped_report_has_every_model_and_no_corpus() -> None:
    report = load_report(PROJECT / "paper" / "params.yaml")
    assert report.corpora == []
    assert len(report.models) == 11

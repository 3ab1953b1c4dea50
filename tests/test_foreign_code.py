"""Nothing that comes with a model is run: no code of an encoder's folder, and no pickle."""

import ast
import builtins
import json
from pathlib import Path

import pytest

from extractors.result import ExtractorError
from extractors.text.extractor import TextExtractor
from tests.extractors.encoders import text_settings, write_roberta

PROJECT = Path(__file__).parents[1]
ROOMS = ("foundation", "extractors", "model", "pipeline", "paper", "bench")
CODE = """
from pathlib import Path
from transformers import RobertaConfig, RobertaModel

Path({mark!r}).touch()


class Mine(RobertaConfig):
    model_type = {kind!r}


class MyModel(RobertaModel):
    config_class = Mine
"""


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Calls of a function or method of this name in the project's code, with their places."""
    found = []
    for room in ROOMS:
        for file in sorted((PROJECT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
                    found.append((f"{file.relative_to(PROJECT)}:{node.lineno}", node))
    return found


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.literal_eval(given.value) for given in call.keywords if given.arg == name), None)


@pytest.mark.slow
def test_every_load_of_transformers_refuses_code_and_every_load_of_torch_takes_weights_alone() -> None:
    of_transformers = [*calls("from_pretrained"), *calls("pipeline")]
    assert len(of_transformers) >= 4
    assert [place for place, call in of_transformers if keyword(call, "trust_remote_code") is not False] == []
    of_torch = [(place, call) for place, call in calls("load") if ast.unparse(call.func) == "torch.load"]
    assert of_torch
    assert [place for place, call in of_torch if keyword(call, "weights_only") is not True] == []


@pytest.mark.slow
def test_nothing_is_read_with_pickle() -> None:
    wrong = []
    for name in ("load", "loads", "Unpickler", "read_pickle"):
        wrong += [place for place, call in calls(name) if ast.unparse(call.func).startswith(("pickle.", "pd.read_p"))]
    assert wrong == []


@pytest.mark.parametrize("kind", ["roberta", "mine"])
def test_the_code_in_an_encoders_folder_is_not_run_whatever_is_answered(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mark = write_roberta(tmp_path / "encoder"), tmp_path / "was run"
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda text="": asked.append(text) or "y")
    (folder / "mine.py").write_text(CODE.format(mark=str(mark), kind=kind))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": kind, "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.MyModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    if kind == "roberta":
        TextExtractor(text_settings(folder), Path()).encoder.encode(["No."])
    else:
        with pytest.raises(ExtractorError, match="is no encoder that transformers can load"):
            TextExtractor(text_settings(folder), Path()).encoder.encode(["No."])
    assert not mark.exists()
    assert asked == []

"""Nothing that comes with a model is run: no code of an encoder's folder, and no pickle."""

import ast
import builtins
import json
from contextlib import suppress
from pathlib import Path

import pytest

from extractors.result import ExtractorError
from extractors.settings import VisualSettings
from extractors.text.extractor import TextExtractor
from extractors.visual.transformer import TransformerVisualExtractor
from foundation.errors import UserError
from pipeline.prediction.recogniser import recognised
from tests.conftest import write_clip
from tests.extractors.encoders import text_settings, write_foreign
from tests.extractors.vision_encoders import write_vision

PROJECT = Path(__file__).parents[1]
ROOMS = ("foundation", "extractors", "model", "pipeline", "paper", "bench")


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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked on standard input; every question is answered with yes."""
    questions: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda text="": questions.append(text) or "y")
    return questions


@pytest.mark.parametrize("kind", ["roberta", "mine"])
def test_the_code_in_an_encoders_folder_is_not_run_whatever_is_answered(
    kind: str, tmp_path: Path, asked: list[str]
) -> None:
    folder, mark = write_foreign(tmp_path / "encoder", tmp_path / "was run", kind), tmp_path / "was run"
    if kind == "roberta":
        TextExtractor(text_settings(folder), Path()).encoder.encode(["No."])
    else:
        with pytest.raises(ExtractorError, match="is no encoder that transformers can load") as refused:
            TextExtractor(text_settings(folder), Path()).encoder.encode(["No."])
        assert "\n" not in str(refused.value)
    assert not mark.exists()
    assert asked == []


def test_the_code_of_an_image_processor_is_not_run(tmp_path: Path, asked: list[str]) -> None:
    folder, mark = write_vision(tmp_path / "vit", "vit"), tmp_path / "was run"
    (folder / "mine.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Mine: ...\n")
    file = folder / "preprocessor_config.json"
    mine = {"image_processor_type": "Mine", "auto_map": {"AutoImageProcessor": "mine.Mine"}}
    file.write_text(json.dumps({**json.loads(file.read_text()), **mine}))
    extractor = TransformerVisualExtractor(VisualSettings(encoder=str(folder)), tmp_path)
    with suppress(ExtractorError):
        extractor.encoder  # noqa: B018
    assert not mark.exists()
    assert asked == []


def test_the_code_of_a_tokenizer_is_not_run(tmp_path: Path, asked: list[str]) -> None:
    folder = write_foreign(tmp_path / "encoder", tmp_path / "was run", "roberta", tokenizer=True)
    with suppress(ExtractorError):
        TextExtractor(text_settings(folder), Path()).encoder.encode(["No."])
    assert not (tmp_path / "was run").exists()
    assert asked == []


@pytest.mark.slow
def test_a_recogniser_brings_no_code(tmp_path: Path, asked: list[str]) -> None:
    folder = write_foreign(tmp_path / "whisper", tmp_path / "was run")
    with pytest.raises(UserError, match="is no speech recogniser that transformers can load") as refused:
        recognised(write_clip(tmp_path / "a.mp4"), str(folder))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "was run").exists()
    assert asked == []

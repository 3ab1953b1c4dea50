"""Names for trainings: by them a model that was trained once is found again, whatever table asks for it.

A name stands for all that decides a training's numbers: the corpus as the model sees it, its configuration, how it is
trained, and the code of the network and its training. Code counts by what it does, so that a comment trains nothing
anew; the code that makes the corpus and the configuration is left out, for what it makes is in the name.
"""

import ast
import hashlib
import inspect
from functools import cache
from pathlib import Path

from model import losses, training
from model.batching import Corpus
from model.registry import MODELS

PROJECT = Path(__file__).parents[1]


def digest(corpus: Corpus) -> str:
    """A name for features, presence, speakers, labels and splits."""
    found = hashlib.sha256()
    parts = {**corpus.features, **{f"{name} present": there for name, there in corpus.present.items()}}
    parts |= {"speaker": corpus.speaker, "label": corpus.label}
    parts |= {f"{split} {number}": dialogue for split, dialogues in corpus.dialogues.items()
              for number, dialogue in enumerate(dialogues)}  # fmt: skip
    for name, values in parts.items():
        found.update(f"{name} {values.dtype} {list(values.shape)}".encode())
        found.update(values.contiguous().numpy().tobytes())
    return found.hexdigest()


@cache
def code_digest(model: str) -> str:
    """A name for the network of `model` and its training: their modules and what those import of this project."""
    queue, files = [Path(inspect.getfile(MODELS[model][0])), Path(training.__file__), Path(losses.__file__)], set()
    while queue:
        file = queue.pop()
        if file not in files:
            files.add(file)
            queue += _imported(ast.parse(file.read_text(encoding="utf-8")))
    found = hashlib.sha256()
    for file in sorted(files):
        found.update(f"{file.relative_to(PROJECT)}\n{_without_words(file)}\n".encode())
    return found.hexdigest()


def _imported(tree: ast.Module) -> list[Path]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    files = [PROJECT / f"{name.replace('.', '/')}.py" for name in names]
    return [file for file in files if file.is_file()]


def _without_words(file: Path) -> str:
    """The file's syntax without comments and docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [part for part in node.body if not _is_words(part)]
    return ast.dump(tree)


def _is_words(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

"""Identities: hashes of everything that affects a result, under which the result is stored.

Source files are hashed without comments and docstrings, so editing a comment does not retrain.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

ROOMS = ("extractors", "foundation", "model", "pipeline")
"""The project's packages whose code can affect a result; the machines of a cluster are sent these."""
NO_NUMBERS = ("checkpoint.py", "files.py", "log.py", "progress.py", "settings.py")
"""Files that do not affect results; settings.py is here because an identity has the values of the settings."""


def fingerprint(values: Mapping[str, object]) -> str:
    """Hash of `values`, which must be JSON-serialisable; the order of the keys does not matter."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def code_digest(files: Iterable[Path]) -> str:
    """Hash of the code in `files` and in all project modules that they import."""
    return _digest(tuple(sorted(files)))


@cache
def _digest(begin: tuple[Path, ...]) -> str:
    queue, files = list(begin), set[Path]()
    while queue:
        file = queue.pop()
        if file not in files and file.name not in NO_NUMBERS:
            files.add(file)
            queue += _imported(ast.parse(file.read_text(encoding="utf-8")))
    found = hashlib.sha256()
    for name, file in sorted((_name(file), file) for file in files):
        found.update(f"{name}\n{_without_words(file)}\n".encode())
    return found.hexdigest()


def _name(file: Path) -> str:
    """Path within the project, such as model/cmath.py."""
    room = next(name for name in ROOMS if file.is_relative_to(_folder(name)))
    return f"{room}/{file.relative_to(_folder(room)).as_posix()}"


@cache
def _folder(room: str) -> Path:
    """Folder of a package; on a Ray cluster, each lies in another place."""
    return Path(str(import_module(room).__file__)).parent


def _imported(tree: ast.Module) -> list[Path]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    parts = [name.partition(".") for name in names]
    files = [_folder(room) / f"{rest.replace('.', '/')}.py" for room, _, rest in parts if room in ROOMS and rest]
    return [file for file in files if file.is_file()]


def _without_words(file: Path) -> str:
    """Syntax tree of the file without comments and docstrings, as text."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [part for part in node.body if not _is_words(part)]
    return ast.dump(tree)


def _is_words(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

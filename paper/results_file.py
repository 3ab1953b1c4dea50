"""Reading of the project's own results in JSON: they are deleted, merged and edited by hand, and break.

Results of the stages are made anew by DVC. The scores that a table of docs/ is written from are kept in the repository
(paper/claims.json and its like), because other machines made them: git has them.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import read_file
from paper.names import NAMES

MADE_ANEW = "`dvc repro paper/dvc.yaml` makes it anew, if report.corpora of paper/params.yaml names the corpus"
"""Remedy for results of the stages of paper/dvc.yaml."""
NUMBER, NUMBER_OR_NULL, TEXT, LIST, MAP = "number", "number or null", "text", "list", "map"
KINDS: dict[str, tuple[type, ...]] = {
    NUMBER: (int, float), NUMBER_OR_NULL: (int, float, type(None)), TEXT: (str,), LIST: (list,), MAP: (dict,)
}  # fmt: skip
"""Kinds of values, in words."""
MODEL = f"model ({', '.join(NAMES)})"
"""Kind of a text that names one of the models."""
Keys = Mapping[str, str]
"""Kind of the value of each key that there must be; `validation.weighted_f1` is a key inside another one."""


def read_results(file: Path, keys: Keys, remedy: str = MADE_ANEW) -> dict[str, Any]:
    """Read a file of results, UTF-8, which must have the `keys`.

    Raises:
        UserError: there is no such file, or it is broken.
    """
    text = read_file(file, advice=remedy)
    try:
        content = json.loads(text.decode("utf-8"), parse_constant=_refused, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError):  # ValueError: also of the encoding
        raise UserError(f"{file}: is no JSON; {remedy}") from None
    return required(content, keys, file, remedy)


def _refused(name: str) -> float:
    """JSON has no NaN and no Infinity, which Python reads and with which every comparison fails."""
    raise ValueError(name)


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refused(digits)


def _whole(digits: str) -> int:
    _finite(digits)  # a larger one is no number to compute with
    return int(digits)


def required(content: object, keys: Keys, file: Path, remedy: str = MADE_ANEW, inside: str = "") -> dict[str, Any]:
    """The `content` of a file, or of its part `inside`, if it is a map that has the `keys`.

    Raises:
        UserError: it is none, a key is missing, or a value is of another kind.
    """
    if not isinstance(content, dict):
        raise UserError(f"{file}: {f'the value of {inside}' if inside else 'its content'} is no map; {remedy}")
    for key, kind in keys.items():
        value: object = content
        for name in key.split("."):
            if not isinstance(value, dict) or name not in value:
                raise UserError(f"{file}: lacks the key {_joined(inside, key)}; {remedy}")
            value = value[name]
        if not (value in tuple(NAMES) if kind == MODEL else isinstance(value, KINDS[kind])):
            raise UserError(f"{file}: the value of {_joined(inside, key)} is no {kind}; {remedy}")
    return content


def _joined(inside: str, key: str) -> str:
    return f"{inside}.{key}" if inside else key


def read_kept(file: Path, levels: int, keys: Keys, *, adding: bool = False, of_models: bool = False) -> dict[str, Any]:
    """Read scores that are kept in the repository, as maps inside one another.

    Args:
        levels: number of maps around each entry; an entry has the `keys`.
        adding: whether scores are about to be added, so that without a file there are none yet. Where a page is only
            written anew, a file that is missing was lost.
        of_models: whether the innermost maps have an entry for each model, by its name.

    Raises:
        UserError: there is no such file, or it is broken.
    """
    if adding and not file.exists():
        return {}
    remedy = restored(file)
    found = read_results(file, {}, remedy)
    _require_entries(found, levels, keys, file, remedy, "", of_models=of_models)
    return found


def restored(file: Path) -> str:
    """Remedy for a file that is kept in the repository."""
    return f"`git restore {file}` brings back the committed one"


def _require_entries(
    content: object, levels: int, keys: Keys, file: Path, remedy: str, inside: str, *, of_models: bool
) -> None:
    found = required(content, {} if levels else keys, file, remedy, inside)
    for name, part in found.items() if levels else ():
        if of_models and levels == 1 and name not in NAMES:
            raise UserError(f"{file}: {_joined(inside, name)} is no {MODEL}; {remedy}")
        _require_entries(part, levels - 1, keys, file, remedy, _joined(inside, name), of_models=of_models)

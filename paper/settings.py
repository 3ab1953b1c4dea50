"""Write a named set of report settings into params.yaml and paper/params.yaml.

    python -m paper.settings demo                                   a small first look at the synthetic corpus
    python -m paper.settings meld --raw /corpora/MELD.Raw           the published settings for a whole corpus
    python -m paper.settings iemocap --raw /corpora/IEMOCAP_full_release
    python -m paper.settings meld_text --raw /corpora/MELD.Raw --text context      those of a committed report
    python -m paper.settings printed                                CMATH as the paper prints it, for any corpus
    python -m paper.settings off                                    no report, as after a clone

The sets are in paper/sets. Those of a whole corpus have the paper's settings, and of each baseline what its authors
published for that corpus; for which models nothing is published, the command prints. Those of the reports in
docs/reports have our settings for CMATH, a search that two cores can do, and three kinds of text features (`--text`).

A set of a corpus gives the same settings whatever was chosen before it: it first puts all that such sets change back to
paper/defaults.yaml. `demo`, `printed` and `off` change what they name, and leave everything else as it is; so `printed`
can follow the set of a corpus.

`git diff` shows the changes, `git restore params.yaml paper/params.yaml` reverts them.
"""

import argparse
import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dvc.utils.serialize import dumps_yaml, loads_yaml
from pydantic import TypeAdapter, ValidationError

from foundation.errors import UserError
from foundation.files import write_whole
from paper.params import FILE, PaperParams
from pipeline.params import Params, ParamsError, checked, read_yaml

SETS, DEFAULTS = Path(__file__).parent / "sets", Path(__file__).parent / "defaults.yaml"
MAIN = Path("params.yaml")
OF_A_CORPUS = ("index", "text", "audio", "visual", "train")
"""Sections of params.yaml that have an entry for each corpus."""


@dataclass(frozen=True, slots=True)
class Set:
    """A named set, with the values of the sets that it is based on."""

    name: str
    main: dict[str, Any]
    """Values for params.yaml by key, as `train.meld.gamma1`; `*` stands for all entries of a section."""
    report: dict[str, Any]
    """Values for paper/params.yaml by key."""
    raw: str = ""
    """Key of the corpus' folder or file, which `--raw` gives; empty: the set needs none."""
    copies: dict[str, str] = field(default_factory=dict)
    """New corpora of params.yaml, each with the entry that it is a copy of."""
    text: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Values of each kind of text features, by its name: for params.yaml, and for paper/params.yaml as
    `report.studies.widths`."""
    about: str = ""
    """What the corpus of a report is, in a sentence."""
    unpublished: dict[str, str] = field(default_factory=dict)
    """Models for which a setting is not published, and what they have instead."""
    on_top: bool = False
    """Whether everything that the set does not name stays as it is."""

    @property
    def corpora(self) -> list[str]:
        found: list[str] = self.report.get("report.corpora", [])
        return found


def names() -> list[str]:
    return sorted(file.stem for file in SETS.glob("*.yaml"))


def read_set(name: str, above: tuple[str, ...] = ()) -> Set:
    """Read a set. A set with `based_on` has all values of that one, as far as it does not name them itself.

    Args:
        above: the sets that are based on it.

    Raises:
        UserError: its file is broken, or it is based on no set, or on itself.
    """
    file = SETS / f"{name}.yaml"
    below, one = _read(file, name)
    if not below:
        return one
    if below not in names() or below in (name, *above):
        others = ", ".join(other for other in names() if other not in (name, *above))
        raise UserError(f"{file}: based_on = {below}: must be one of {others}; {_restored(file)}")
    base = read_set(below, (name, *above))
    return replace(one, main=base.main | one.main, report=base.report | one.report)


def read_defaults() -> Set:
    """What a set of a corpus starts from."""
    return _read(DEFAULTS, DEFAULTS.stem)[1]


def _read(file: Path, name: str) -> tuple[str, Set]:
    """The set that a file has, and the name of the one that it is based on; empty if it is based on none."""
    values = read_yaml(file)
    if not isinstance(values, dict):
        raise UserError(f"{file}: has no settings; {_restored(file)}")
    known = ["based_on", *(one.name for one in fields(Set) if one.name != "name")]
    if unknown := [str(key) for key in values if key not in known]:
        raise UserError(f"{file}: {unknown[0]}: is none of {', '.join(known)}; {_restored(file)}")
    try:
        below = TypeAdapter(str).validate_python(values.pop("based_on", ""))
        return below, TypeAdapter(Set).validate_python({"name": name, **values})
    except ValidationError as errors:
        first = errors.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "based_on"
        raise UserError(f"{file}: {key}: {first['msg']}; {_restored(file)}") from None


def _restored(file: Path) -> str:
    return f"`git restore {os.path.relpath(file)}` brings back the committed one"


def write(chosen: Set, raw: str | None, text: str | None, more: dict[str, Any] | None = None) -> None:
    """Write a set into params.yaml and paper/params.yaml; see `texts`.

    Raises:
        UserError: a file cannot be read or written, it lacks a key, or a value is not allowed; both are as before then.
    """
    main_text, report_text = texts(chosen, raw, text, more)
    before = MAIN.read_text("utf-8")
    write_whole(MAIN, main_text)
    try:
        write_whole(FILE, report_text)
    except UserError:
        write_whole(MAIN, before)  # the two belong together
        raise


def texts(chosen: Set, raw: str | None, text: str | None, more: dict[str, Any] | None = None) -> tuple[str, str]:
    """Texts of params.yaml and paper/params.yaml with a set.

    Args:
        raw: folder or file of the corpus, for a set that needs one.
        text: kind of text features, for a set that has several.
        more: other values by key, for params.yaml, and for paper/params.yaml as `report.search.given`.

    Raises:
        UserError: a file cannot be read, it lacks a key, or a value is not allowed.
    """
    if chosen.raw and not (raw or "").strip():
        raise UserError("--raw is empty; give the folder or file of the corpus")
    start = Set("", {}, {}) if chosen.on_top else read_defaults()
    last = (chosen.text[text] if text else {}) | ({chosen.raw: raw} if raw else {}) | (more or {})
    of_report = {key: value for key, value in last.items() if key.startswith("report.")}
    of_main = {key: value for key, value in last.items() if key not in of_report}
    main_text = with_values(MAIN, chosen.main | of_main, Params, chosen.copies, start.main)
    return main_text, with_values(FILE, chosen.report | of_report, PaperParams, start=start.report)


def main() -> None:
    arguments = argparse.ArgumentParser("python -m paper.settings", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    arguments.add_argument("name", choices=names())
    arguments.add_argument("--raw", help="folder or file of the corpus, for a set that needs it")
    arguments.add_argument("--text", help="kind of text features, for a set that has several: frozen, tuned or context")
    args = arguments.parse_args()
    try:
        chosen = read_set(args.name)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    if bool(chosen.raw) != (args.raw is not None):
        arguments.error(f"{args.name} {'needs' if chosen.raw else 'has no'} --raw")
    if args.text not in (chosen.text or [None]):
        arguments.error(f"{args.name} needs --text {' | '.join(chosen.text)}" if chosen.text else
                        f"{args.name} has no --text")  # fmt: skip
    try:
        write(chosen, args.raw, args.text)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    if chosen.unpublished:
        print(f"Not published for {args.name}, by the authors of:")
    for model, instead in chosen.unpublished.items():
        print(f"  {model}: {instead}")
    print(_next(chosen))


def _next(chosen: Set) -> str:
    if chosen.name == "printed":
        return (f"{MAIN} has CMATH as the paper prints it, in which it collapses to one class (docs/distillation.md); "
                "go on with: dvc repro")  # fmt: skip
    if chosen.corpora:
        return f"{MAIN} and {FILE} have the settings for {chosen.name}; go on with: dvc repro paper/dvc.yaml"
    return (f"{FILE} names no corpus: paper/dvc.yaml has no stages; dvc checkout takes their results away, and "
            "brings them back when the corpus is chosen again")  # fmt: skip


def with_values(
    file: Path,
    values: dict[str, Any],
    schema: type[Params] | type[PaperParams],
    copies: dict[str, str] | None = None,
    start: dict[str, Any] | None = None,
) -> str:
    """Text of `file` with other values for some keys, in the form in which DVC writes it; comments are kept.

    Args:
        values: values by key, as `train.meld.gamma1`; in the place of a section, `*` stands for all that are there.
        copies: new corpora, each with the one whose entries it gets before the values are written. One that is there
            already begins anew.
        start: values that are written before all that. A key that the file lacks is left out.

    Raises:
        ParamsError: the file cannot be read, it lacks a key, or a value is not allowed.
    """
    if not isinstance(read_yaml(file), dict):
        raise ParamsError(f"{file}: has no settings; `git restore {file}` brings back the committed ones")
    before = file.read_text("utf-8")
    content = loads_yaml(before, typ="rt")
    changed = [_put(content, key, value) for key, value in (start or {}).items()]
    for new, old in (copies or {}).items():
        for name in OF_A_CORPUS:
            if old not in content.get(name, {}):
                raise ParamsError(f"{file}: {name}.{old} is missing")
            content[name][new] = deepcopy(content[name][old])
        changed.append(True)
    for key, value in values.items():
        there = _put(content, key, value)
        if there is None:
            raise ParamsError(f"{file}: {key} is missing")
        changed.append(there)
    text: str = dumps_yaml(content) if any(changed) else before
    checked(loads_yaml(text), schema, file)
    return text


def _put(content: object, key: str, value: Any) -> bool | None:
    """Write a value at a key, and return whether it is another one; None if a section lacks the key."""
    *path, last = key.split(".")
    sections, other = list(_sections(content, path)), False
    for section in sections:
        if not isinstance(section, dict) or last not in section:
            return None
        if section[last] != value:
            section[last], other = value, True
    return other


def _sections(content: object, path: list[str]) -> Iterator[object]:
    """The sections at `path` inside `content`; one that is missing is None."""
    found = [content]
    for name in path:
        maps = [part if isinstance(part, dict) else {} for part in found]
        found = [one for part in maps for one in (part.values() if name == "*" else [part.get(name)])]
    yield from found


if __name__ == "__main__":
    main()

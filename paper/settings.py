"""Write a named set of report settings into params.yaml and paper/params.yaml.

    python -m paper.settings demo                                   a small first look at the synthetic corpus
    python -m paper.settings meld --raw /corpora/MELD.Raw           the published settings for a whole corpus
    python -m paper.settings iemocap --raw /corpora/IEMOCAP_full_release
    python -m paper.settings printed                                CMATH as the paper prints it, for any corpus
    python -m paper.settings off                                    no report, as after a clone

The sets are in paper/sets. Those of a whole corpus have the paper's settings, and of each baseline what its authors
published for that corpus; for which models nothing is published, the command prints.

`git diff` shows the changes, `git restore params.yaml paper/params.yaml` reverts them.
"""

import argparse
from pathlib import Path

from dvc.utils.serialize import dumps_yaml, loads_yaml

from foundation.errors import UserError
from foundation.files import write_whole
from paper.params import FILE, PaperParams
from pipeline.params import Params, ParamsError, checked, read_yaml

SETS = Path(__file__).parent / "sets"
MAIN = Path("params.yaml")
WHOLE = ("iemocap", "meld")
"""Names of the sets that need the folder of a full corpus."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", choices=sorted(file.stem for file in SETS.glob("*.yaml")))
    arguments.add_argument("--raw", help=f"of {' and '.join(WHOLE)}: folder of the corpus, as its authors ship it")
    args = arguments.parse_args()
    if (args.name in WHOLE) != (args.raw is not None):
        arguments.error(f"{args.name} {'needs' if args.name in WHOLE else 'has no'} --raw")
    values: dict = read_yaml(SETS / f"{args.name}.yaml")  # type: ignore[assignment]
    if args.raw is not None:
        values["main"][f"index.{args.name}.raw"] = args.raw
    try:
        main_text = with_values(MAIN, values["main"], Params)
        report_text = with_values(FILE, values["report"], PaperParams)
        write_whole(MAIN, main_text)
        write_whole(FILE, report_text)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    if unpublished := values.get("unpublished", {}):
        print(f"Not published for {args.name}, by the authors of:")
    for model, instead in unpublished.items():
        print(f"  {model}: {instead}")
    print(_next(args.name, values))


def _next(name: str, values: dict) -> str:
    if name == "printed":
        return (f"{MAIN} has CMATH as the paper prints it, in which it collapses to one class (docs/distillation.md); "
                "go on with: dvc repro")  # fmt: skip
    if values["report"]["report.corpora"]:
        return f"{MAIN} and {FILE} have the settings for {name}; go on with: dvc repro paper/dvc.yaml"
    return (f"{FILE} names no corpus: paper/dvc.yaml has no stages; dvc checkout takes their results away, and "
            "brings them back when the corpus is chosen again")  # fmt: skip


def with_values(file: Path, values: dict[str, object], schema: type[Params] | type[PaperParams]) -> str:
    """Text of `file` with other values for some keys, in the form in which DVC writes it; comments are kept.

    Args:
        values: values by key, as `train.meld.gamma1`; in the place of a section, `*` stands for all that are there.

    Raises:
        ParamsError: the file cannot be read, it lacks a key, or a value is not allowed.
    """
    read_yaml(file)
    text = file.read_text("utf-8")
    content = loads_yaml(text, typ="rt")
    for key, value in values.items():
        *path, last = key.split(".")
        for section in _sections(content, path):
            if not isinstance(section, dict) or last not in section:
                raise ParamsError(f"{file}: {key} is missing")
            if section[last] != value:
                section[last] = value
                text = dumps_yaml(content)
    checked(loads_yaml(text), schema, file)
    return text


def _sections(content: object, path: list[str]) -> list[object]:
    """The sections at `path` inside `content`; one that is missing is None."""
    found = [content]
    for name in path:
        maps = [part if isinstance(part, dict) else {} for part in found]
        found = [one for part in maps for one in (part.values() if name == "*" else [part.get(name)])]
    return found


if __name__ == "__main__":
    main()

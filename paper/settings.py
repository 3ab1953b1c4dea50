"""Write a named set of report settings into params.yaml and paper/params.yaml.

    python -m paper.settings demo                                   a small first look at the synthetic corpus
    python -m paper.settings meld --raw /corpora/MELD.Raw           the paper's settings for a whole corpus
    python -m paper.settings iemocap --raw /corpora/IEMOCAP_full_release
    python -m paper.settings off                                    no report, as after a clone

`git diff` shows the changes, `git restore params.yaml paper/params.yaml` reverts them.
"""

import argparse
from pathlib import Path

from dvc.utils.serialize import dumps_yaml, loads_yaml

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
    except ParamsError as error:
        raise SystemExit(f"error: {error}") from None
    MAIN.write_text(main_text, "utf-8")
    FILE.write_text(report_text, "utf-8")
    if values["report"]["report.corpora"]:
        print(f"{MAIN} and {FILE} have the settings for {args.name}; go on with: dvc repro paper/dvc.yaml")
    else:
        print(f"{FILE} names no corpus: paper/dvc.yaml has no stages; dvc checkout takes their results away, and "
              "brings them back when the corpus is chosen again")  # fmt: skip


def with_values(file: Path, values: dict[str, object], schema: type[Params] | type[PaperParams]) -> str:
    """Text of `file` with other values for some keys, in the form in which DVC writes it; comments are kept.

    Raises:
        ParamsError: the file cannot be read, or a value is not allowed.
    """
    read_yaml(file)
    text = file.read_text("utf-8")
    content = loads_yaml(text, typ="rt")
    for key, value in values.items():
        *path, last = key.split(".")
        section = content
        for name in path:
            section = section[name]
        if section[last] != value:
            section[last] = value
            text = dumps_yaml(content)
    checked(loads_yaml(text), schema, file)
    return text


if __name__ == "__main__":
    main()

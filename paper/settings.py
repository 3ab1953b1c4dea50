"""The paper's settings for a whole corpus, written into params.yaml and paper/params.yaml by one name.

    python -m paper.settings meld --raw /corpora/MELD.Raw
    python -m paper.settings iemocap --raw /corpora/IEMOCAP_full_release

`git diff` shows what was changed, `git restore params.yaml paper/params.yaml` takes it back.
"""

import argparse
import io
from pathlib import Path

from ruamel.yaml import YAML

from paper.params import FILE, PaperParams
from pipeline.params import Params, ParamsError, checked, read_yaml

SETS = Path(__file__).parent / "sets"
MAIN = Path("params.yaml")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", choices=sorted(file.stem for file in SETS.glob("*.yaml")))
    arguments.add_argument("--raw", required=True, help="folder of the corpus, as its authors ship it")
    args = arguments.parse_args()
    values: dict = read_yaml(SETS / f"{args.name}.yaml")  # type: ignore[assignment]
    values["main"][f"index.{args.name}.raw"] = args.raw
    try:
        main_text = with_values(MAIN, values["main"], Params)
        report_text = with_values(FILE, values["report"], PaperParams)
    except ParamsError as error:
        raise SystemExit(f"error: {error}") from None
    MAIN.write_text(main_text, "utf-8")
    FILE.write_text(report_text, "utf-8")
    print(f"{MAIN} and {FILE} have the paper's settings for {args.name}; go on with: dvc repro paper/dvc.yaml")


def with_values(file: Path, values: dict[str, object], schema: type[Params] | type[PaperParams]) -> str:
    """The text of `file` with other values of some keys, its comments kept.

    Raises:
        ParamsError: the file cannot be read, or a value is not allowed.
    """
    read_yaml(file)
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 120, True
    content = yaml.load(file.read_text("utf-8"))
    for key, value in values.items():
        *path, last = key.split(".")
        section = content
        for name in path:
            section = section[name]
        if isinstance(value, list):  # written as the list was that stood there
            section[last].clear()
            section[last].extend(value)
        else:
            section[last] = value
    stream = io.StringIO()
    yaml.dump(content, stream)
    checked(YAML(typ="safe").load(stream.getvalue()), schema, file)
    return stream.getvalue()


if __name__ == "__main__":
    main()

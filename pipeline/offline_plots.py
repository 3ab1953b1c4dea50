"""Vega for the page of `dvc plots show`, so that it draws without network: written once into .dvc/tmp.

python -m pipeline.offline_plots
"""

from pathlib import Path

from pipeline.stage import root

VEGA_LITE = "5.20"
"""The version whose charts DVC writes."""


def write_vega(folder: Path) -> None:
    """Write `folder`/vega.js unless it is there."""
    file = folder / "vega.js"
    if file.exists() or not folder.parent.is_dir():
        return
    import vl_convert  # 80 MB of library, only for this

    folder.mkdir(exist_ok=True)
    half = file.with_suffix(".half")
    half.write_text(
        vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE), encoding="utf-8"
    )
    half.replace(file)


if __name__ == "__main__":
    write_vega(root() / ".dvc" / "tmp")

"""docs/encoders.md: its extractor, its model and its reader are what they are said to be, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs/encoders.md").read_text("utf-8")
BLOCKS: list[str] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
WHOLE = {match[1]: block for block in BLOCKS if (match := re.match(r"# (\S+\.py)\n", block))}
"""Whole files of the page, by their paths, which stand in their first lines."""
RUN = """
import sys
from pathlib import Path

if __name__ == "__main__":  # worker processes import this file, too
    import numpy as np

    from tests.pipeline.prediction.test_predict import compare_with_evaluate
    from tests.pipeline.trained import train_small, write_demo

    from extractors.features import read_features
    from pipeline.bundle import read_bundle
    from pipeline.corpora.readers import read
    from pipeline.params import load_params

    folder = Path(sys.argv[1])
    write_demo(folder / "raw")

    def change(content):
        content["audio"]["demo"] |= {"encoder": "loudness", "options": {"bins": 7}, "reduce": "none"}
        content["model"]["name"] = "mean_pool"
        content["baselines"]["mean_pool"] = {"hidden": 8}

    project = train_small(folder / "project", "demo", folder / "raw", change)
    features = read_features(project / "data/demo/features/audio.safetensors", 12)
    assert features.values.shape == (12, 8)
    np.testing.assert_allclose(features.values[features.present, :7].sum(1), 1, atol=1e-5)
    bundle = read_bundle(project / "models/demo")
    assert (bundle.audio_encoder, bundle.model) == ("loudness", "mean_pool")
    assert bundle.origins["audio"]["options"] == {"bins": 7}
    compare_with_evaluate(project, "demo", folder / "raw", folder)
    lines = folder / "lines/train"
    lines.mkdir(parents=True)
    (lines / "a.txt").write_text("joy|Ann|Yes!\\nanger|Bob|No, | no.\\njoy|Ann|Oh.\\n")
    from pipeline.corpora.settings import LinesSettings

    corpus = read(folder / "lines", LinesSettings(reader="lines", raw="lines"))
    assert [(row.label, row.speaker, row.text) for row in corpus.rows] == [
        ("joy", 0, "Yes!"), ("anger", 1, "No, | no."), ("joy", 0, "Oh."),
    ]
    print("all is as the page says")
"""


OPTIONS = """
from pathlib import Path

from extractors.registry import make
from extractors.settings import AudioSettings
from foundation.errors import UserError

def made(**options):
    return make("audio", AudioSettings(encoder="loudness", options=options), Path())

for options in ({"bins": 1}, {"bin": 3}):
    try:
        made(**options)
    except UserError as error:
        print(error)
print(made().identity != made(bins=3).identity, [made().dim, made(bins=3).dim])
"""


def insert(file: Path, before: str, what: str) -> None:
    text = file.read_text("utf-8")
    assert before in text, f"{file} has no {before!r}"
    file.write_text(text.replace(before, f"{what}{before}", 1))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project in which everything of the page was done."""
    folder = tmp_path / "copy"
    for room in ("foundation", "extractors", "model", "pipeline"):
        shutil.copytree(PROJECT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "params.yaml", folder)
    (folder / "tests").symlink_to(PROJECT / "tests")
    for name, code in WHOLE.items():
        (folder / name).write_text(code)
    one_line, settings_of_model, settings_of_reader = (block for block in BLOCKS if block not in WHOLE.values())
    insert(folder / "extractors/registry.py", '    # ("audio", "NAME")', one_line)
    insert(folder / "model/baselines/settings.py", "class SdtSettings", f"{settings_of_model}\n\n")
    registry = folder / "model/registry.py"
    insert(registry, "from model.baselines.mm_dfn", "from model.baselines.mean_pool import MeanPool, MeanPoolConfig\n")
    insert(registry, '    "sdt": (Sdt', '    "mean_pool": (MeanPool, MeanPoolConfig),\n')
    params = folder / "pipeline/params.py"
    insert(params, "    AdaignSettings,\n", "    MeanPoolSettings,\n")
    insert(params, '"sdt", "dialogue_rnn"', '"mean_pool", ')
    insert(params, "    sdt: SdtSettings\n", "    mean_pool: MeanPoolSettings\n")
    settings = folder / "pipeline/corpora/settings.py"
    insert(settings, "IndexSettings = Annotated[", f"{settings_of_reader}\n\n")
    insert(settings, "DemoSettings | MeldSettings | IemocapSettings", "LinesSettings | ")
    readers = folder / "pipeline/corpora/readers.py"
    insert(readers, "from pipeline.corpora import", "from pipeline.corpora import lines\n")
    insert(readers, "    TableSettings,\n)", "    LinesSettings,\n")
    insert(
        readers, "        case TableSettings()", "        case LinesSettings():\n            return lines.read(raw)\n"
    )
    content = (folder / "params.yaml").read_text("utf-8")
    (folder / "params.yaml").write_text(
        content.replace("\nbaselines:\n", "\nbaselines:\n  mean_pool:\n    hidden: 64\n")
    )
    return folder


@pytest.mark.slow
def test_what_the_page_adds_is_extracted_trained_and_predicts(copy: Path, tmp_path: Path) -> None:
    (copy / "run.py").write_text(RUN)
    done = subprocess.run(
        [sys.executable, "run.py", str(tmp_path)], cwd=copy, capture_output=True, text=True,
        env={**os.environ, "CMATH_CACHE": str(tmp_path / "cache"), "CMATH_WORKERS": "1", "CMATH_LOG": "WARNING"},
    )  # fmt: skip
    assert done.stdout.endswith("all is as the page says\n"), done.stdout + done.stderr[-3000:]


@pytest.mark.slow
def test_options_of_the_pages_extractor_are_checked(copy: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OPTIONS], cwd=copy, capture_output=True, text=True)
    first, second, third = done.stdout.splitlines() or [done.stderr]
    assert first.startswith("audio's `options` in params.yaml, bins: input should be greater than or equal to 2")
    assert "`options` in params.yaml, bin: extra inputs" in second
    assert "docs/encoders.md" in second
    assert third == "True [21, 4]"


def test_the_page_has_whole_files_of_forty_lines() -> None:
    assert [Path(name).stem for name in WHOLE] == ["loudness", "mean_pool", "lines"]
    assert all(len(code.splitlines()) <= 42 for code in WHOLE.values())

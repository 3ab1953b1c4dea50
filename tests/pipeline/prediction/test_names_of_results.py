"""No name of a file, a folder or a speaker brings results anywhere but into the folder that is meant for them."""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from foundation.errors import UserError
from pipeline.predict import arguments
from pipeline.prediction.run import run
from tests.conftest import write_clip
from tests.pipeline.prediction.transcripts.files import srt

pytestmark = pytest.mark.slow

RESULTS = {"predictions.csv", "predictions.json", "report.html"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def predict(*given: object) -> None:
    run(arguments().parse_args([str(value) for value in given]))


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["...srt", "..", "CON.srt", "a\nb.srt", "é\udcff.srt", "n" * 250 + ".srt", "x .srt"])
def test_a_transcript_of_any_name_writes_into_one_folder_of_predictions(
    name: str, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "given").mkdir()
    file = tmp_path / "given" / ("...txt" if name == ".." else name)
    file.write_text(srt("Ann: Hello.", "Bob: Go away!"))
    before = below(tmp_path) - below(tmp_path / "project")
    predict("--transcript", file, "--model", trained / "models/demo")
    (folder,) = Path("predictions").iterdir()
    assert {path.name for path in folder.iterdir()} == RESULTS
    assert below(Path()) == {f"predictions/{folder.name}/{result}" for result in RESULTS}
    assert {name for name in below(tmp_path) if not name.startswith(("project/", "cache/"))} == {
        name for name in before if not name.startswith(("project/", "cache/"))
    }
    json.loads((folder / "predictions.json").read_text("utf-8"))


def test_recordings_of_a_folder_whose_names_would_be_one_have_a_folder_each(trained: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    write_clip(films / "a.mkv", 1.0, sound=False)
    for other in ("A.mp4", "b.mkv", "b.mp4", "b.mkv.mp4", "...mkv", "..mp4"):
        (films / other).write_bytes((films / "a.mkv").read_bytes())
    for film in list(films.iterdir()):
        film.with_suffix(".srt").write_text(srt(f"Ann: {film.name}."))
    predict(films, "--model", trained / "models/demo")
    texts = {}
    for folder in Path("predictions/films").iterdir():
        assert {path.name for path in folder.iterdir()} == RESULTS
        with (folder / "predictions.csv").open(encoding="utf-8") as stream:
            texts[folder.name] = next(csv.DictReader(stream))["text"]
    assert len(texts) == 5  # hidden files are passed over
    assert len({name.casefold() for name in texts}) == len(texts)


def test_a_folder_of_recordings_whose_name_is_a_device_elsewhere_is_renamed(trained: Path, tmp_path: Path) -> None:
    films = tmp_path / "con"
    write_clip(films / "a.mkv", 1.0, sound=False)
    (films / "a.srt").write_text(srt("Ann: Hello."))
    predict(films, "--model", trained / "models/demo")
    (folder,) = Path("predictions").iterdir()
    assert folder.name.lower() != "con"
    assert below(folder) == {f"a/{result}" for result in RESULTS}


def test_results_never_replace_what_they_are_made_from(trained: Path) -> None:
    write_clip(Path("recording.mp4"), 1.0)
    content = Path("recording.mp4").read_bytes()
    Path("recording.srt").write_text(srt("Ann: Hello."))
    predict("recording.mp4", "--model", trained / "models/demo", "--out", ".")
    assert Path("recording.mp4").read_bytes() == content
    assert "cannot be shown" not in Path("report.html").read_text("utf-8")

    written = Path("predictions.csv").read_bytes()
    with pytest.raises(UserError, match=r"predictions.csv: would be overwritten by the results; give another --out"):
        predict("--transcript", "predictions.csv", "--model", trained / "models/demo", "--out", ".")
    assert Path("predictions.csv").read_bytes() == written
    Path("recording.srt").rename("predictions.srt")
    with pytest.raises(UserError, match=r"predictions.srt: would be overwritten"):
        predict(
            "--transcript",
            "predictions.srt",
            "--model",
            trained / "models/demo",
            "--out",
            "../project",
            "--also",
            "srt",
        )


def test_a_speaker_and_a_film_named_like_code_are_words_everywhere(trained: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    film = write_clip(tmp_path / 'a & <b> "c".mkv', 2.0, sound=False)
    table = tmp_path / "talk.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["start", "end", "speaker", "text"])
        writer.writerow([0, 1, evil, "]]> --> {\\b1}\n\n1\n00:00:00,000 --> 00:00:01,000\nx"])
        writer.writerow([1, 2, "../../Bob", 'class = "IntervalTier"'])
    predict(
        film,
        "--transcript",
        table,
        "--model",
        trained / "models/demo",
        "--also",
        "srt,vtt,eaf,TextGrid",
        "--out",
        "out",
    )
    assert {path.name for path in Path("out").iterdir()} == RESULTS | {
        f"predictions.{kind}" for kind in ("srt", "vtt", "eaf", "TextGrid")
    }
    assert evil not in Path("out/report.html").read_text("utf-8")
    assert "<script>" not in Path("out/predictions.vtt").read_text("utf-8")
    subtitles = Path("out/predictions.srt").read_text("utf-8").strip().split("\n\n")
    assert len(subtitles) == 3  # the warning and two utterances
    tiers = [tier.attrib["TIER_ID"] for tier in ET.parse("out/predictions.eaf").iter("TIER")]
    assert tiers == ["NOTE", "NOTE: emotion", evil, f"{evil}: emotion", "../../Bob", "../../Bob: emotion"]
    grid = Path("out/predictions.TextGrid").read_text("utf-8")
    assert grid.count('class = "IntervalTier"\n') == len(tiers)
    assert 'text = "class = ""IntervalTier"""' in grid

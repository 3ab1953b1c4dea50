"""Predictions as subtitles and annotations: what stands in the files, and what overlaps."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from extractors.utterance import Utterance
from pipeline.predict import ALSO, arguments
from pipeline.prediction.annotations import FORMATS, write_annotations
from pipeline.prediction.predictor import Prediction
from pipeline.prediction.recordings import Recording
from pipeline.prediction.run import run
from pipeline.prediction.transcripts import TranscriptLine
from tests.pipeline.prediction.transcripts.files import srt

LABELS = ["joy", "fear"]
ANN, BOB, SECOND = (
    TranscriptLine("1", 'Oh <3 & "you" --> it', "Ann", 0.5, 2.0),
    TranscriptLine("2", "Yes.", "Bob", 1.25, 3.0),
    TranscriptLine("3", "Twice.", "ann", 1.0, 1.5),
)


def write(folder: Path, lines: list[TranscriptLine], seconds: float = 4.0, files: list[Path] | None = None,
          warning: str = "") -> None:  # fmt: skip
    """Predict `fear` for Bob and `joy` for everybody else."""
    folder.mkdir(exist_ok=True)
    row = Utterance(utterance_id="a", dialogue_id="a", turn=0, speaker=0, split="test", text="", label="")
    found = [
        Prediction(row=row, speaker=line.speaker, missing={}, label=int(line.speaker == "Bob"),
                   probabilities=np.array([0.2, 0.8] if line.speaker == "Bob" else [0.9, 0.1]))
        for line in lines
    ]  # fmt: skip
    write_annotations(Recording("talk", lines, [row], [], files or [], seconds), found, LABELS, ALSO, folder, warning)


def text(folder: Path, name: str) -> str:
    return (folder / f"predictions.{name}").read_text("utf-8")


def annotated(folder: Path) -> dict[str, list[tuple[int, int, str]]]:
    """Tiers of the ELAN file, read by its own rules."""
    root = ET.fromstring(text(folder, "eaf").encode())
    times = {slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) for slot in root.iter("TIME_SLOT")}
    return {
        tier.attrib["TIER_ID"]: [
            (times[one.attrib["TIME_SLOT_REF1"]], times[one.attrib["TIME_SLOT_REF2"]],
             "".join(one.find("ANNOTATION_VALUE").itertext()))
            for one in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for tier in root.iter("TIER")
    }  # fmt: skip


def test_subtitles_have_the_emotion_before_the_line(tmp_path: Path) -> None:
    write(tmp_path, [ANN, BOB])
    assert text(tmp_path, "srt") == (
        '1\n00:00:00,500 --> 00:00:02,000\n[joy] Ann: Oh <3 & "you" --> it\n\n'
        "2\n00:00:01,250 --> 00:00:03,000\n[fear] Bob: Yes.\n"
    )
    assert text(tmp_path, "vtt") == (
        'WEBVTT\n\n00:00:00.500 --> 00:00:02.000\n[joy] Ann: Oh &lt;3 &amp; "you" --&gt; it\n\n'
        "00:00:01.250 --> 00:00:03.000\n[fear] Bob: Yes.\n"
    )


def test_a_warning_about_the_model_stands_at_the_beginning_of_every_file(tmp_path: Path) -> None:
    write(tmp_path, [ANN, BOB], warning="Synthetic.")
    assert text(tmp_path, "srt").startswith("1\n00:00:00,000 --> 00:00:03,000\n[warning] NOTE: Synthetic.\n\n2\n")
    assert text(tmp_path, "vtt").startswith("WEBVTT\n\n00:00:00.000 --> 00:00:03.000\n[warning] NOTE: Synthetic.\n")
    assert annotated(tmp_path)["NOTE"] == [(0, 3000, "Synthetic.")]
    assert "Synthetic." in text(tmp_path, "TextGrid")


def test_annotations_have_tiers_per_speaker_and_more_where_they_overlap(tmp_path: Path) -> None:
    write(tmp_path, [ANN, BOB, SECOND])
    joy, fear = "joy", "fear"
    assert annotated(tmp_path) == {
        "Ann": [(500, 2000, 'Oh <3 & "you" --> it')], "Ann: emotion": [(500, 2000, joy)],
        "Ann (2)": [(1000, 1500, "Twice.")], "Ann (2): emotion": [(1000, 1500, joy)],
        "Bob": [(1250, 3000, "Yes.")], "Bob: emotion": [(1250, 3000, fear)],
    }  # fmt: skip
    grid = text(tmp_path, "TextGrid").split("\n")
    assert [line.split('"')[1] for line in grid if "name = " in line] == list(annotated(tmp_path))
    first = [line.strip() for line in grid[: grid.index("    item [2]:")]]
    assert first == [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0.000000", "xmax = 4.000000",
        "tiers? <exists>", "size = 6", "item []:", "item [1]:", 'class = "IntervalTier"', 'name = "Ann"',
        "xmin = 0.000000", "xmax = 4.000000", "intervals: size = 3",
        "intervals [1]:", "xmin = 0.000000", "xmax = 0.500000", 'text = ""',
        "intervals [2]:", "xmin = 0.500000", "xmax = 2.000000", 'text = "Oh <3 & ""you"" --> it"',
        "intervals [3]:", "xmin = 2.000000", "xmax = 4.000000", 'text = ""',
    ]  # fmt: skip


def test_no_two_tiers_have_the_same_name(tmp_path: Path) -> None:
    names = ["Ann", "Ann: emotion", "Ann (2)", "Ann"]
    write(tmp_path, [TranscriptLine("1", "x", name, 0.0, 1.0) for name in names])
    assert list(annotated(tmp_path)) == [
        "Ann", "Ann: emotion", "Ann: emotion'", "Ann: emotion: emotion", "Ann (2)", "Ann (2): emotion",
        "Ann (2)'", "Ann (2): emotion'",
    ]  # fmt: skip


def test_a_quotation_mark_in_a_name_is_doubled_for_praat(tmp_path: Path) -> None:
    write(tmp_path, [TranscriptLine("1", "x", 'Al "Duke" Lee', 0.0, 1.0)])
    assert '        name = "Al ""Duke"" Lee"\n' in text(tmp_path, "TextGrid")
    assert next(iter(annotated(tmp_path))) == 'Al "Duke" Lee'


def test_an_end_that_is_not_known_is_the_next_start_or_the_recordings_end(tmp_path: Path) -> None:
    lines = [TranscriptLine("1", "a", "A", 3.0, None), TranscriptLine("2", "b", "A", 1.0, 1.0, problem="no length")]
    write(tmp_path, lines)
    assert annotated(tmp_path)["A"] == [(1000, 3000, "b"), (3000, 4000, "a")]
    write(tmp_path, lines, seconds=0.0)
    assert annotated(tmp_path)["A"] == [(1000, 3000, "b"), (3000, 4000, "a")]
    write(tmp_path, [TranscriptLine("1", "a", "A", None, None)], seconds=2.5)
    assert annotated(tmp_path)["A"] == [(0, 2500, "a")]


def test_elan_finds_the_recording_and_the_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    bad = TranscriptLine("1", "\ufffe\ud800 ok", "\uffff", 0.0, 1.0)
    for name in ("one", "two", "two"):
        write(tmp_path / name, [ANN, bad], files=[tmp_path / "films" / "talk.mp4"])
    root = ET.fromstring(text(tmp_path / "one", "eaf").encode())
    media = [dict(one.attrib) for one in root.iter("MEDIA_DESCRIPTOR")]
    assert media == [
        {"MEDIA_URL": "../films/talk.mp4", "RELATIVE_MEDIA_URL": "../films/talk.mp4", "MIME_TYPE": "video/mp4"}
    ]
    assert root.attrib["DATE"] == "1970-01-01T00:00:00+00:00"
    for name in ALSO:
        assert text(tmp_path / "one", name) == text(tmp_path / "two", name)
    assert not list((tmp_path / "two").glob("*.bak"))


def test_without_a_common_time_line_nothing_is_written_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for lines in ([TranscriptLine("1", "a", "A"), BOB], [TranscriptLine("1", "a", "A", 0.0, 1.0, file="x.mp4")]):
        write(tmp_path, lines)
        assert list(tmp_path.iterdir()) == []
    assert caplog.text.count("not written, because the utterances have no times of one common recording") == 8


def test_the_option_names_what_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(FORMATS) == list(ALSO)
    given = arguments().parse_args(["--model", "m", "--also", "SRT, textgrid,srt"])
    assert given.also == ["srt", "TextGrid"]
    for wrong in ("docx", "", "srt;vtt"):
        with pytest.raises(SystemExit):
            arguments().parse_args(["--model", "m", "--also", wrong])
        assert "must name some of srt, vtt, eaf, TextGrid" in capsys.readouterr().err


@pytest.mark.slow
def test_a_prediction_can_be_written_and_read_again(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.srt").write_text(srt("Ann: Hello.", "Bob: Go away!"))
    for transcript in ("talk.srt", "again.srt"):
        given = ["--transcript", tmp_path / transcript, "--model", trained / "models/demo", "--also", "srt",
                 "--out", tmp_path / "out"]  # fmt: skip
        run(arguments().parse_args([str(value) for value in given]))
        warning, _, written = (tmp_path / "out/predictions.srt").read_text().partition("\n\n")
        assert "a synthetic corpus of artificial voices" in warning
        (tmp_path / "again.srt").write_text(written)
    assert [line.partition("] ")[2] for line in written.split("\n")[2::4]] == ["Ann: Hello.", "Bob: Go away!"]
    assert [line for line in written.split("\n") if "-->" in line] == [
        "00:00:00,000 --> 00:00:02,000", "00:00:02,000 --> 00:00:04,000"
    ]  # fmt: skip

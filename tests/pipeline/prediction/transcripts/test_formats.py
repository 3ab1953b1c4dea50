"""SubStation Alpha, TTML, MicroDVD, and the JSON of Whisper and its relatives; and any bytes at all."""

import json
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foundation.errors import UserError
from pipeline.prediction.transcripts import SUFFIXES, read_transcript
from tests.pipeline.prediction.transcripts.files import essence, read

ASS = """[Script Info]
Title: Dialogue: none

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.50,Default,Ann,0,0,0,,{\\i1}Hello{\\i0},\\Nyou <3
Comment: 0,0:00:01.00,0:00:02.50,Default,Ann,0,0,0,,a note
Dialogue: 0,0:00:02.50,0:00:04.00,Default,,0,0,0,,Bob: Hi
Dialogue: 0,0:00:04.00,0:00:05.00,Default,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}
"""
TTML = """<?xml version="1.0" encoding="UTF-8"?>
<tt xmlns="{namespace}" xmlns:ttm="{namespace}#metadata" xmlns:ttp="{namespace}#parameter" ttp:frameRate="25"
    ttp:tickRate="10">
<head><metadata><ttm:agent xml:id="a1"><ttm:name type="full">Ann Lee</ttm:name></ttm:agent></metadata></head>
<body><div begin="10s"><div>
<p begin="00:00:01:05" dur="1.5s" ttm:agent="a1">Hello<br/>you &amp; <span>me</span></p>
<p begin="30t" end="00:00:04.5">Bob: Hi</p>
<p begin="5s"><span ttm:agent="a1">Oh.</span><span ttm:agent="Zoe">Ah.</span></p>
<p begin="100f" end="0.002h"/>
</div></div></body></tt>"""


def test_substation_has_names_and_neither_comments_nor_drawings(tmp_path: Path) -> None:
    older = ASS.replace("Format: Layer", "Format: Marked").replace(": 0,", ": Marked=0,")
    for suffix, content in ((".ass", ASS), (".ssa", older)):
        found = read(tmp_path, suffix, content)
        assert essence(found) == [("Ann", "Hello, you <3", 1.0, 2.5), ("Bob", "Hi", 2.5, 4.0)]
        assert found.notes == ["2 comments and drawings were passed over"]
    short = "[Events]\nFormat: Start, End, Name, Text\nDialogue: 0:00:01.5,0:00:02.50,Ann,Hello, you\n"
    for name in ("Name", "Actor"):  # the second is Aegisub's word for it
        found = read(tmp_path, ".ass", short.replace("Name", name))
        assert essence(found) == [("Ann", "Hello, you", 1.5, 2.5)]
    for line, words in (
        ("Dialogue: x,0:00:02.50,Ann,Hi", "line 3: cannot be understood"),
        ("Dialogue: 0:00:01.5,Hi", "line 3: has fewer fields than the format of the events"),
    ):
        with pytest.raises(UserError, match=words):
            read(tmp_path, ".ass", f"[Events]\nFormat: Start, End, Name, Text\n{line}\n")


@pytest.mark.parametrize("namespace", ["http://www.w3.org/ns/ttml", "http://www.w3.org/2006/10/ttaf1"])
def test_ttml_has_agents_and_every_kind_of_time(tmp_path: Path, namespace: str) -> None:
    found = read(tmp_path, ".ttml", TTML.format(namespace=namespace))
    assert essence(found) == [
        ("Ann Lee", "Hello you & me", 11.2, 12.7), ("Bob", "Hi", 13.0, 14.5), ("Ann Lee", "Oh.", 15.0, 15.2),
        ("Zoe", "Ah.", 15.2, None),
    ]  # fmt: skip


def test_what_is_no_ttml_that_can_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    for times, said in (
        ('begin="soon"', "'soon' is no time of TTML"), ('begin="00:75:10:12"', "'00:75:10:12' is no time of TTML"),
        ('begin="999999999999h"', "lies at 3.6e+15 s, and no recording is so long"),
        ('begin="1s" end="9999999999f"', "lies at 3.33333e+08 s"), ('begin="9999h" dur="2h"', "lies at 3.60036e+07 s"),
    ):  # fmt: skip
        with pytest.raises(UserError) as refused:
            read(tmp_path, ".ttml", f"<tt><body><div><p {times}>Hi</p></div></body></tt>")
        assert f"talk.ttml, subtitle 1: {said}" in str(refused.value)
    for begin, middle, end in (("<div>", "<p>Hi</p>", "</div>"), ("<span>", "Hi", "</span>")):
        deep = begin * 3000 + middle + end * 3000
        deep = f"<p>{deep}</p>" if begin == "<span>" else deep
        with pytest.raises(UserError, match=r"talk\.ttml: its divisions or spans are nested too deeply"):
            read(tmp_path, ".ttml", f"<tt><body>{deep}</body></tt>")


def test_microdvd_counts_pictures(tmp_path: Path) -> None:
    content = "{1}{1}25\n{25}{50}Ann: Hello|you\n{50}{75}{y:i}Bob: Hi\n"
    assert essence(read(tmp_path, ".sub", content)) == [("Ann", "Hello you", 1.0, 2.0), ("Bob", "Hi", 2.0, 3.0)]


PHRASES = [
    {"start": 0.5, "end": 1.5, "text": " Hi.", "speaker": "SPEAKER_00"},
    {"start": 1.5, "end": 2.0, "text": "Yo: no", "words": [{"speaker": "A"}, {"speaker": "B"}, {"speaker": "B"}, {}]},
    {"start": 2.0, "end": 3.3000000000000003, "text": "(laughs) Oh."},
]


def test_whispers_json_has_speakers_of_phrases_or_words(tmp_path: Path) -> None:
    expected = [("SPEAKER_00", "Hi.", 0.5, 1.5), ("B", "Yo: no", 1.5, 2.0), ("B", "Oh.", 2.0, 3.3)]
    for content in ({"segments": PHRASES, "language": "en"}, PHRASES):
        assert essence(read(tmp_path, ".json", json.dumps(content))) == [
            (speaker, text, start, pytest.approx(end)) for speaker, text, start, end in expected
        ]


def test_whispers_tsv_has_milliseconds_and_other_tables_have_seconds(tmp_path: Path) -> None:
    head, words = "start\tend\ttext\n", ("So where were you?", "At home, all day.")
    found = read(tmp_path, ".tsv", f"{head}0\t1203\t{words[0]}\n1203\t64000\t{words[1]}\n")
    assert essence(found) == [("speaker", words[0], 0.0, 1.203), ("speaker", words[1], 1.203, 64.0)]
    assert found.notes[0] == ("talk.tsv: start and end are read as milliseconds, as Whisper writes them: as seconds "
                              "they would be far too long for the texts")  # fmt: skip
    long = read(tmp_path, ".tsv", f"{head}7\t36000001\t{words[0]}\n36000001\t36001000\t{words[1]}\n")  # ten hours
    assert [(line.start, line.end) for line in long.lines] == [(0.007, 36000.001), (36000.001, 36001.0)]
    for table in (f"{head}0\t12\t{words[0]}\n12\t640\t{words[1]}\n", f"{head}0\t12.0\tx\n12\t6400.5\ty\n",
                  f"{head}0\t1200\tx\n1200\t\ty\n"):  # fmt: skip
        assert read(tmp_path, ".tsv", table).lines[1].start in (12.0, 1200.0)


def test_whispers_relatives_are_read(tmp_path: Path) -> None:
    transformers = {"chunks": [{"timestamp": [0.0, 2.0], "text": "Hi"}, {"timestamp": [2.0, None], "text": "Yo"}]}
    assert essence(read(tmp_path, ".json", json.dumps(transformers))) == [
        ("speaker", "Hi", 0.0, 2.0), ("speaker", "Yo", 2.0, None)
    ]  # fmt: skip
    cpp = {"transcription": [{"timestamps": {"from": "00:00:00,000", "to": "00:00:02,500"}, "text": " Hi"}]}
    assert essence(read(tmp_path, ".json", json.dumps(cpp))) == [("speaker", "Hi", 0.0, 2.5)]
    for phrase, words in (
        ({"text": "x"}, "segment 1: has no start"), ({"start": "x", "text": "x"}, "segment 1: 'x' is no time"),
        ({"start": 1e300, "text": "x"}, "segment 1: '1e.300' is no time"), ({"start": [1], "text": "x"}, "is no time"),
        ({"start": 1}, "segment 1: has no text"), ({"start": float("nan"), "text": "x"}, "'nan' is no time"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            read(tmp_path, ".json", json.dumps([phrase]))


PIECES = st.sampled_from(
    ["1", "00:00:01,000 --> 00:00:02,000", "Ann: hi", "[Bob] yo", "- a. - b", ">> x", "♪", "<v Ann>", "</v>", "WEBVTT",
     "", "0:03 Ann", "Ann  0:03", "[0:05] x", "NOTE", "{1}{1}25", "{5}{9}x", "[Events]", "text,speaker,start", "x,Ann",
     "Dialogue: 0,0:00:01.00,0:00:02.00,,A,0,0,0,,x", "<tt><body><p begin='1s' end='2s'>x</p></body></tt>", "&#1;", "(",
     '[{"start":1,"end":2,"text":"x"}]', "9" * 30 + ":00", "00:00:05 --> 00:00:01", "\0", "\u200f", "- -",
     "a" * 70 + ":", "[", '"', "："]
)  # fmt: skip


@given(st.sampled_from(SUFFIXES), st.lists(PIECES | st.text(max_size=12), max_size=12))
@example(".json", ["[" * 5000])
@example(".srt", ["00:00:01,000 --> 00:00:02,000", "&#" + "1" * 5000 + ";"])
def test_whatever_a_file_holds_it_is_read_or_refused_by_name(suffix: str, pieces: list[str]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"talk{suffix}"
        file.write_text("\n".join(pieces), "utf-8", "surrogatepass")
        _read_or_refuse(file)


@given(st.sampled_from(SUFFIXES), st.binary(max_size=120))
def test_whatever_bytes_a_file_has_it_is_read_or_refused_by_name(suffix: str, content: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"talk{suffix}"
        file.write_bytes(content)
        _read_or_refuse(file)


def _read_or_refuse(file: Path) -> None:
    refused = ""
    try:
        found = read_transcript(file)
    except UserError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(str(file))
        assert "\n" not in refused
        return
    assert all(line.speaker for line in found.lines)
    for line in found.lines:
        assert not re.search(r"[\x00-\x1f\x7f]", line.speaker + line.text)
        assert (line.speaker + line.text).encode()
        assert line.start is None or line.start >= 0
        assert line.end is None or line.problem or line.end > (line.start or 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["a ", " \n", "(", "[", "<", "♪\n", "- ", ">> ", "a: ", "a. B: ", "&#1", "0:0", ".", '"']
)
@pytest.mark.parametrize("suffix", [".srt", ".vtt", ".txt", ".csv", ".ass"])
def test_a_long_file_takes_no_longer_than_its_length(tmp_path: Path, suffix: str, piece: str) -> None:
    head = {".ass": "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,,A,0,0,0,,", ".csv": "text\n", ".txt": ""}
    content = head.get(suffix, "1\n00:00:01,000 --> 00:00:02,000\n") + piece * 20_000
    with suppress(UserError):
        read(tmp_path, suffix, content)

"""Every reader of what comes from outside: good files to begin with, and how a broken one is read.

A reader returns, or raises a UserError, whose message is to be shown. A medium may also raise a MediaError, which the
extractors record as the reason of a skip. Nothing else may come out, and nothing may take long.
"""

import io
import json
import math
import pickle
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import av
import cv2
import numpy as np
import pytest

from extractors.cache import ShardCache, WorkCache
from extractors.features import Features, read_features, read_origin, write_features
from extractors.media import MediaError, media_info, read_sound
from extractors.published.files import read_file as read_published_file
from extractors.published.reading import read_published
from extractors.settings import MOST_RANK
from extractors.text.folders import adapters_of, fine_tuned
from extractors.text.pooling import is_encoder_decoder, own_pooling
from extractors.utterance import Utterance
from extractors.visual.face_encoder import load as load_face_encoder
from foundation.errors import UserError
from paper.params import load_report
from pipeline.bundle import read_bundle
from pipeline.bundle.archive import read_zip
from pipeline.corpora import fer2013, iemocap, meld, meld_fair, table
from pipeline.corpora.features import read as read_features_corpus
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.settings import FeaturesSettings
from pipeline.params import load_params
from pipeline.prediction.transcripts import SUFFIXES, read_transcript
from pipeline.scoring import comparison
from pipeline.scoring.metrics import text_encoder_scores, validation_scores
from tests.extractors.published import written
from tests.extractors.shown import frames
from tests.pipeline.sealing import reseal

PROJECT = Path(__file__).parents[2]
CASES = PROJECT.parent / "shared" / "data" / "cases"
"""Files that were found in the world or by earlier fuzzing; they are not part of the project."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader of what comes from outside."""

    seeds: Callable[[Path], list[bytes]]
    """Makes good files; the folder may be used for it."""
    read: Callable[[Path, bytes], object]
    """Reads what is given, in a folder in which `around` was called once."""
    around: Callable[[Path], object] = lambda folder: None
    """Makes what has to be there besides the broken file."""
    words: Sequence[bytes] = ()
    """Marks of the format."""
    cases: str = ""
    """Pattern of further seeds in CASES."""
    seconds: float = 5.0
    """Longest processor time that one input may take."""
    share: float = 1.0
    """How many inputs, in comparison with other readers: fewer for those that take milliseconds."""

    def all_seeds(self, folder: Path) -> list[bytes]:
        found = sorted(CASES.glob(self.cases)) if self.cases else []
        others = [file.read_bytes() for file in found if file.is_file() and file.stat().st_size < 300_000]
        return self.seeds(folder) + others


def texts(*contents: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [content.encode() for content in contents]


# Transcripts

SRT = """1
00:00:01,000 --> 00:00:02,500
Ann: Hello, you &amp; <i>me</i>!

2
00:00:02,500 --> 00:00:04,000
- No.
- Yes! (laughs)

3
00:00:05,000 --> 00:00:04,000
<font color="red">BOB:</font> {\\an8}♪ la la ♪ >> Oh.
"""
VTT = """WEBVTT - a talk

STYLE
::cue { color: red }

NOTE a remark

intro
00:01.000 --> 00:02.500 align:start position:10%
<v Ann Lee>Hello <b>you</b> <00:00:02.000>there</v>

01:00:02.500 --> 01:00:04.000
<v Bob>Hi &lrm;</v><v.loud Cy>Oh</v>
"""
TXT = """Ann: What a wonderful day!
Bob [00:01:02]: No. It is not.

00:01:05 Cy Young
Oh dear.
[12:05 PM] Di: (sighs)
"""
MEETING = """Ann Lee   0:03
What a day.

Bob Stone   1:10:05
It is not.
"""
SPOKEN = """Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
Ses01F_impro01_M000 [007.5712-010.4750]: Do you have your forms?
M: a remark
"""
ASS = """[Script Info]
Title: x

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.50,Default,Ann,0,0,0,,{\\i1}Hello{\\i0},\\Nyou
Comment: 0,0:00:01.00,0:00:02.50,Default,Ann,0,0,0,,a note
Dialogue: 0,0:00:02.50,0:00:04.00,Default,,0,0,0,,Bob: Hi
"""
TTML = """<?xml version="1.0" encoding="UTF-8"?>
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttm="http://www.w3.org/ns/ttml#metadata"
    xmlns:ttp="http://www.w3.org/ns/ttml#parameter" ttp:frameRate="25" ttp:frameRateMultiplier="1000 1001"
    ttp:tickRate="10">
<head><metadata><ttm:agent xml:id="a1"><ttm:name type="full">Ann Lee</ttm:name></ttm:agent></metadata></head>
<body><div begin="10s"><p begin="00:00:01:05" dur="1.5s" ttm:agent="a1">Hello<br/>you &amp; <span>me</span></p>
<p begin="30t" end="00:00:04.5">Bob: Hi</p><p begin="100f" end="0.002h"/></div></body></tt>
"""  # fmt: skip
SUB = "{1}{1}25.000\n{25}{62}Ann: Hello,|you\n{62}{100}{y:i}Bob: Hi\n"
WHISPER = json.dumps({
    "text": "Hello you.", "language": "en",
    "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " Hello", "speaker": "SPEAKER_00",
                  "words": [{"word": "Hello", "start": 0.0, "end": 0.5, "speaker": "SPEAKER_01"}]},
                 {"id": 1, "start": 1.5, "end": None, "text": " you."}],
})  # fmt: skip
CHUNKS = json.dumps({"chunks": [{"timestamp": [0.0, 1.5], "text": "Hello"}, {"timestamp": [1.5, None], "text": "you"}]})
TABLE = """Speaker;Start;End;File;Region;Text
Ann;0:01;1:02,5;a.mp4;"0,0,10,10";"Hello; ""you"" "
Bob;62.5;;b.wav;;Hi
"""
COMMAS = 'speaker,text,start,end,region\nAnn,"Hello, ""you""",0:01,2.5,"0,0,10,10"\nBob,Hi,62.5,,\n'
WHISPER_TSV = "start\tend\ttext\n0\t1500\tHello\n1500\t2250\tAnn: you\n"
LABELS = "0.500000\t1.500000\tAnn: Hello\n1.500000\t2.250000\tBob: you\n"
WEBEX = """WEBVTT

1 "Ann Lee" (123)
00:00:01.000 --> 00:00:02.500
Hello you
"""
TRANSCRIPTS = {
    ".srt": (SRT,), ".vtt": (VTT, WEBEX), ".txt": (TXT, MEETING, SPOKEN, LABELS),
    ".ass": (ASS,), ".ssa": (ASS.replace("+", ""),),
    ".ttml": (TTML,), ".dfxp": (TTML,), ".sub": (SUB,), ".json": (WHISPER, CHUNKS), ".csv": (COMMAS, TABLE),
    ".tsv": (TABLE.replace(";", "\t"), WHISPER_TSV),
}  # fmt: skip
assert set(TRANSCRIPTS) == set(SUFFIXES)


def transcript(suffix: str) -> Reader:
    def read(folder: Path, content: bytes) -> None:
        file = folder / f"Ses01F_impro01{suffix}"
        file.write_bytes(content)
        for line in read_transcript(file).lines:
            (line.text + line.speaker + line.file + line.audio).encode()  # goes into files and to the encoder
            assert line.speaker
            for time in (line.start, line.end):
                assert time is None or (math.isfinite(time) and time >= 0), line
            int(sum(map(int, line.region.split(",")))) if line.region else 0

    return Reader(texts(*TRANSCRIPTS[suffix]), read, cases=f"**/*{suffix}")


# Corpora

MELD_CSV = """Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime
1,"also, I don’t know",Chandler,neutral,neutral,0,0,8,21,"00:16:16,059","00:16:21,731"
2,You must\x92ve had your hands full.,The Interviewer,joy,neutral,0,1,8,21,"00:16:21,940","00:16:23,442"
3,That I did.,Chandler,sadness,neutral,1,0,8,21,"0:16:23,442","00:16:20,389"
"""


def around_meld(folder: Path) -> None:
    for name in ("dev_sent_emo.csv", "test_sent_emo.csv"):
        (folder / name).write_text(MELD_CSV)
    (folder / "train_splits").mkdir()
    (folder / "train_splits/dia0_utt0.mp4").touch()


def read_meld(folder: Path, content: bytes) -> None:
    (folder / "train_sent_emo.csv").write_bytes(content)
    require_rows(meld.read(folder, ("text", "audio", "visual")).rows, folder)


CUT_LIST = """Split,Dialogue ID,Utterance ID,Original Dialogue ID,Original Utterance ID,Start Time,End Time
train,0,0,0,0,0.0,0.25
train,0,1,0,0,0.3,0.55
train,0,1,0,1,0.0,1.5
dev,1,0,1,0,0.1,2.5
"""
REALIGNED = """,Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Original Utterance_ID,Utterance_ID
0,1,"also, I don't know",Chandler,neutral,neutral,0,0,0
1,2,You mustve had your hands full.,The Interviewer,joy,neutral,0,1,1
2,3,That I did.,Chandler,sadness,neutral,1,0,0
"""
SPEAKER_BOXES = """Split,Dialogue ID,Utterance ID,Frame Number,X Left,Y Top,X Right,Y Bottom
train,0,0,0,10,20,40,50
train,0,0,1,11,20,41,50
train,0,1,7,-3,0,30,33
"""


def around_fair(folder: Path) -> None:
    around_meld(folder)
    (folder / "train_sent_emo.csv").write_text(MELD_CSV)
    (folder / meld_fair.CUTS).write_text(CUT_LIST)
    (folder / meld_fair.BOXES).write_text(SPEAKER_BOXES)
    for name in meld_fair.ANNOTATIONS.values():
        (folder / name).write_text(REALIGNED)


def read_fair(folder: Path, content: bytes, name: str) -> None:
    (folder / name).write_bytes(content)
    corpus = meld.read(folder, ("text", "audio", "visual"))
    meld_fair.recut(corpus, folder, folder, ("text", "audio", "visual"))
    require_rows(corpus.rows, folder)


def require_rows(rows: list[Utterance], folder: Path) -> None:
    """The index can be written, and read as it was."""
    rows = [replace(row, pieces_hash=row.pieces) for row in rows]  # as the stage `index` fills it in
    if rows:
        write_index(rows, folder / "index.csv")
        assert read_index(folder / "index.csv") == rows


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-F1:\tNeutral; Happiness;\t(curious)
A-E3:\tval 3; act 2; dom  2;\t()

[7.5712 - 10.4750]\tSes01F_impro01_M000\txxx\t[2.5000, 2.5000, 2.5000]
C-E2:\tHappiness;\t()
C-M1:\tHappiness;\t()
"""


def around_iemocap(folder: Path) -> None:
    for name in ("transcriptions", "EmoEvaluation"):
        (folder / "Session1/dialog" / name).mkdir(parents=True)
    (folder / "Session1/dialog/transcriptions/Ses01F_impro01.txt").write_text(SPOKEN)
    (folder / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").write_text(EVALUATION)


def read_iemocap(folder: Path, content: bytes, which: str) -> None:
    file = folder / "Session1/dialog" / which / "Ses01F_impro01.txt"
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        require_rows(iemocap.read(folder, ("text", "audio", "visual"), "random20", 0, "all").rows, folder)
    finally:
        file.write_bytes(before)


UTTERANCES = """dialogue,speaker,text,label,split,turn,start,end,video,audio
a,Ann,Hello,joy,train,0,0:01,2.5,a.mp4,
a,Bob,Hi,sad,train,1,3,,a.mp4,b.wav
b,Ann,Oh,joy,dev,0,,,,
c,Cy,No,joy,test,0,,,,
"""
IN_PIECES = """dialogue,speaker,text,label,split,pieces
a,Ann,Hello,joy,train,utterances.csv@0:01-2.5 | utterances.csv@-1
b,Ann,Oh,joy,dev,utterances.csv@3-
c,Cy,No,joy,test,
"""


def read_custom(folder: Path, content: bytes) -> None:
    (folder / "utterances.csv").write_bytes(content)
    require_rows(table.read(folder, ("text", "audio", "visual")).rows, folder)


def fer_rows(folder: Path) -> list[bytes]:
    pixels = " ".join(str(place % 256) for place in range(48 * 48))
    return ["\n".join(["emotion,pixels,Usage", *(f"{number},{pixels},{usage}" for number, usage in enumerate(
        ("Training", "PublicTest", "PrivateTest")))]).encode()]  # fmt: skip


def around_votes(folder: Path) -> None:
    (folder / "fer2013.csv").write_bytes(fer_rows(folder)[0])


VOTES = """Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0
PublicTest,fer0000001.png,6,0,1,1,0,0,0,0,2,0
PrivateTest,fer0000002.png,0,0,0,0,0,0,0,0,10,0
"""


def read_fer(folder: Path, content: bytes, name: str, labels: str) -> None:
    (folder / name).write_bytes(content)
    fer2013.read(folder, labels)


def face_pictures(folder: Path) -> list[bytes]:
    face = np.add.outer(np.arange(48), np.arange(48)).astype(np.uint8)
    return [cv2.imencode(ending, face)[1].tobytes() for ending in (".png", ".jpg", ".bmp")]


def around_pictures(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "angry").mkdir(parents=True)
        (folder / part / "angry/0.png").write_bytes(face_pictures(folder)[0])


def read_picture(folder: Path, content: bytes) -> None:
    (folder / "train/angry/1.png").write_bytes(content)
    fer2013.read(folder, "fer2013")


# Published feature files


def published_pickles(folder: Path) -> list[bytes]:
    files = []
    for name in written.TUPLES:
        splits = written.MELD if "MELD" in name else written.IEMOCAP
        for protocol in (2, 4):
            content = tuple(written.fields(splits)[field] for field in written.TUPLES[name].split())
            files.append(pickle.dumps(content, protocol))
    return [file for file in files if len(file) < 100_000]


def published_others(folder: Path) -> list[bytes]:
    array, archive, objects = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(12, dtype=np.float32).reshape(3, 4))
    np.savez_compressed(archive, a=np.arange(5), b=np.array(["x", "yy"]))
    np.save(objects, np.array({"whole_corpus": {"Ses01F_impro01_F000": {"emo": 1, "val": -10}}}, dtype=object))
    rows = [[{"text": "Hi", "speaker": [0, 1], "label": "joy", "cls": [0.5, 1.0]}]]
    return [array.getvalue(), archive.getvalue(), objects.getvalue(), json.dumps(rows).encode()]


def read_one_published(folder: Path, content: bytes) -> None:
    file = folder / "features.pkl"
    file.write_bytes(content)
    read_published_file(file)


def read_corpus_of_features(folder: Path, content: bytes) -> None:
    file = folder / "features.pkl"
    file.write_bytes(content)
    settings = FeaturesSettings(reader="features", raw=str(file))
    require_rows(read_features_corpus(file, settings).rows, folder)


def around_dag(folder: Path) -> None:
    for name in ("train", "dev", "test"):
        (folder / f"{name}_data_roberta.json.feature").write_text(DAG)


DAG = json.dumps([[{"text": "Hi", "speaker": "A", "label": "joy", "cls": [[0.5, 1.0]]},
                   {"text": "No", "speaker": "B", "cls": [[0.5, 2.0]]}]])  # fmt: skip


def read_dag(folder: Path, content: bytes) -> None:
    (folder / "train_data_roberta.json.feature").write_bytes(content)
    read_published(folder, {})


# Files of the project itself, which travel, are edited by hand and break


def params_yaml(folder: Path) -> list[bytes]:
    whole = (PROJECT / "params.yaml").read_text()
    plain = "\n".join(line for line in whole.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return [plain.encode()]


def read_params(folder: Path, content: bytes) -> None:
    (folder / "params.yaml").write_bytes(content)
    load_params(folder / "params.yaml")


def report_yaml(folder: Path) -> list[bytes]:
    return [(PROJECT / "paper/params.yaml").read_bytes(), (PROJECT / "paper/sets/demo.yaml").read_bytes()]


def read_report(folder: Path, content: bytes) -> None:
    (folder / "params.yaml").write_bytes(content)
    load_report(folder / "params.yaml")


ROWS = [Utterance(utterance_id=f"{split}{turn}", dialogue_id=split, turn=turn, speaker=turn, split=split,
                  text='a "b", c', label="joy", audio="a.wav", video="a.mp4", start=0.5, end=1.5,
                  region="0,0,10,10", audio_hash="0" * 64,
                  problem="x") for split in ("train", "validation", "test") for turn in range(2)]  # fmt: skip


JOINED = replace(ROWS[0], audio_hash="", start=None, end=None, pieces="a.mp4@0.5-1.5 | b.mp4@0-1",
                 pieces_hash="00@0.5-1.5 | 11@0-1", boxes="0.000:1,2,30,40 | 0.042:-1,2,30,40")  # fmt: skip


def index_csv(folder: Path) -> list[bytes]:
    seeds = []
    for rows in (ROWS, [JOINED, *ROWS[1:]]):
        write_index(rows, folder / "seed.csv")
        seeds.append((folder / "seed.csv").read_bytes())
    return seeds


def read_index_file(folder: Path, content: bytes) -> None:
    (folder / "index.csv").write_bytes(content)
    read_index(folder / "index.csv")


HISTORY = "seed,epoch,loss,validation_weighted_f1\n0,1,2.5,41.0\n0,2,2.0,43.5\n1,1,2.4,40.5\n"
PREDICTIONS = "utterance_id,seed,label,prediction,joy,sad\nt0,0,joy,sad,0.25,0.75\nt1,0,sad,sad,0.5,0.5\n"
PREDICTIONS += "t0,1,joy,joy,1,0\nt1,1,sad,joy,1,0\n"
TEXT_PREDICTIONS = "utterance_id,joy,sad\nvalidation0,0.5,0.5\nvalidation1,0.1,0.9\ntest0,1,0\ntest1,0,1\n"


def read_history(folder: Path, content: bytes) -> None:
    (folder / "history.csv").write_bytes(content)
    validation_scores(folder / "history.csv")


def read_predictions(folder: Path, content: bytes) -> None:
    (folder / "predictions.csv").write_bytes(content)
    comparison.load(str(folder), None)


def read_text_predictions(folder: Path, content: bytes) -> None:
    (folder / "text.csv").write_bytes(content)
    text_encoder_scores(folder / "text.csv", ROWS, ("joy", "sad"))


def features_file(folder: Path) -> list[bytes]:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    features = Features(values, np.array([True, False, True]), {"a": 1}, {"mean": values[0]})
    write_features(features, folder / "seed.safetensors")
    return [(folder / "seed.safetensors").read_bytes()]


def read_features_file(folder: Path, content: bytes) -> None:
    file = folder / "audio.safetensors"
    file.write_bytes(content)
    found = read_features(file, 3)
    assert np.isfinite(found.values).all()
    read_origin(file)


def around_bundle(folder: Path) -> None:
    from tests.fuzz.bundles import write_small_bundle

    write_small_bundle(folder)


def bundle_part(name: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        around_bundle(folder)
        return [(folder / name).read_bytes()]

    return seeds


def read_bundle_with(folder: Path, content: bytes, name: str) -> None:
    before = {file: file.read_bytes() for file in (folder / name, folder / "bundle/bundle.json")}
    (folder / name).write_bytes(content)
    try:
        with suppress(UserError):
            read_bundle(folder)
            # JSON may be written in other ways; a weight may not.
            same = json.loads if name.endswith(".json") else bytes
            assert same(content) == same(before[folder / name]), "a changed bundle was taken"
        with suppress(ValueError, AttributeError, TypeError, RecursionError):  # what is no object cannot be sealed
            reseal(folder / "bundle")  # so that what the seal would have found is found behind it
        read_bundle(folder).network(0)
    finally:
        for file, written in before.items():
            file.write_bytes(written)


def zips_of_bundle(folder: Path) -> list[bytes]:
    from tests.fuzz.bundles import write_small_bundle

    files = [path for path in write_small_bundle(folder / "zipped").rglob("*") if path.is_file()]
    found = []
    for kind in (ZIP_STORED, ZIP_DEFLATED):
        with ZipFile(folder / "seed.zip", "w", kind) as archive:
            for path in files:
                archive.write(path, path.relative_to(folder))
        found.append((folder / "seed.zip").read_bytes())
    return found


def read_zip_of_bundle(folder: Path, content: bytes) -> None:
    (folder / "model.zip").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMATH_CACHE", str(folder / "unpacked"))
        try:
            read_zip(folder / "model.zip")
        finally:
            shutil.rmtree(folder / "unpacked", ignore_errors=True)


def face_weights(folder: Path) -> list[bytes]:
    whole = (PROJECT / "extractors/visual/weights/denseface.safetensors").read_bytes()
    return [whole, whole[:60_000]]


def read_face_weights(folder: Path, content: bytes) -> None:
    (folder / "face.safetensors").write_bytes(content)
    with suppress(ValueError):  # which the extractor makes a UserError of
        load_face_encoder(folder / "face.safetensors")


def work_cache(folder: Path) -> list[bytes]:
    made = folder / "seed"
    cache = WorkCache(made)
    cache.put(cache.maker({"what": "seed"}), {f"key{number}": bytes(range(40)) for number in range(5)})
    cache.close()
    database = sqlite3.connect(made / "work.sqlite")
    database.execute("PRAGMA journal_mode = DELETE")
    database.close()
    return [(made / "work.sqlite").read_bytes()]


def read_work_cache(folder: Path, content: bytes) -> None:
    place = folder / "cache"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "work.sqlite").write_bytes(content)
    cache = WorkCache(place)
    try:
        name = cache.maker({"what": "seed"})
        found = cache.get(name, [f"key{number}" for number in range(5)])
        assert all(value == bytes(range(40)) for value in found.values()), "altered content came back"
        cache.put(name, {"new": b"x"})
        cache.contents()
    finally:
        cache.close()


def cache_log(folder: Path) -> list[bytes]:
    cache = ShardCache(folder / "seed", "a")
    name = cache.maker({"what": "seed"})
    cache.put(name, {"key0": b"value", "key1": bytes(50)})
    cache.close()
    (log,) = (folder / "seed/shards").glob("*.log")
    return [log.read_bytes()]


def read_cache_log(folder: Path, content: bytes) -> None:
    place = folder / "cache"
    shutil.rmtree(place, ignore_errors=True)
    (place / "shards").mkdir(parents=True)
    (place / "shards/a.log").write_bytes(content)
    shard = ShardCache(place, "b")
    shard.get(shard.maker({"what": "seed"}), ["key0", "key1"])
    shard.close()
    cache = WorkCache(place)
    cache.get(cache.maker({"what": "seed"}), ["key0", "key1"])
    cache.close()


def read_encoder_card(folder: Path, content: bytes) -> None:
    (folder / "encoder.json").write_bytes(content)
    fine_tuned(folder)


def read_adapters(folder: Path, content: bytes) -> None:
    (folder / "adapters.json").write_bytes(content)
    assert 1 <= adapters_of(folder).rank <= MOST_RANK


def around_encoder(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "config.json").write_text('{"model_type": "roberta"}')
    (folder / "1_Pooling/config.json").write_text('{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true}')
    (folder / "modules.json").write_text(MODULES)


MODULES = json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                      {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
                     )  # fmt: skip


def read_encoder_file(folder: Path, content: bytes, name: str) -> None:
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(content)
    try:
        own_pooling(folder)
        is_encoder_decoder(folder)
    finally:
        (folder / name).write_bytes(before)


# Media


def media(ending: str, video: str = "", audio: str = "") -> Callable[[Path], list[bytes]]:
    """A small recording of four tenths of a second."""

    def seeds(folder: Path) -> list[bytes]:
        file = folder / f"seed{ending}"
        with av.open(str(file), "w") as container:
            film = sound = None
            if video:
                film = container.add_stream(video, rate=25 if ending == ".mpg" else 10)
                film.width, film.height = 32, 32
                film.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(video, "yuv420p")
            if audio:
                sound = container.add_stream(audio, rate={"libopus": 48_000, "mp3": 22_050}.get(audio, 16_000))
                sound.layout = "mono"
            for number in range(4):
                if film:
                    shade = np.full((32, 32, 3), 50 * number, np.uint8)
                    frame = av.VideoFrame.from_ndarray(shade, "rgb24").reformat(format=film.pix_fmt)
                    frame.pts, frame.time_base = number, Fraction(1, 25 if ending == ".mpg" else 10)
                    container.mux(film.encode(frame))
                if sound:
                    wave = (np.sin(np.arange(sound.rate // 10) / 5) * 8000).astype(np.int16)
                    heard = av.AudioFrame.from_ndarray(wave[None], "s16", "mono")
                    heard.sample_rate, heard.pts = sound.rate, number * len(wave)
                    heard.time_base = Fraction(1, sound.rate)
                    container.mux(sound.encode(heard))
            for stream in (film, sound):
                if stream:
                    container.mux(stream.encode(None))
        return [file.read_bytes()]

    return seeds


def read_medium(folder: Path, content: bytes, name: str) -> None:
    file = folder / name
    file.write_bytes(content)
    info = media_info(file)
    assert math.isfinite(info.seconds)
    for begin, end in ((None, None), (0.1, 0.3), (1e6, 1e6 + 1)):
        with suppress(MediaError):
            sound = read_sound(file, begin, end)
            assert np.isfinite(sound).all()
        with suppress(MediaError):
            for picture in islice(frames(file, 5, begin, end, "0,0,16,16"), 20):
                assert picture.ndim == 3


RECORDINGS = {
    "wav": media(".wav", audio="pcm_s16le"), "wav (float)": media(".wav", audio="pcm_f32le"),
    "mp4": media(".mp4", "libx264", "aac"), "mov": media(".mov", "mjpeg", "pcm_s16be"),
    "webm": media(".webm", "libvpx", "libopus"), "mkv": media(".mkv", "libx264", "flac"),
    "avi": media(".avi", "mpeg4", "mp3"), "flv": media(".flv", "flv", "mp3"), "ts": media(".ts", "mpeg2video", "mp2"),
    "mpg": media(".mpg", "mpeg1video", "mp2"), "ogg": media(".ogg", audio="libopus"),
    "flac": media(".flac", audio="flac"),
    "mp3": media(".mp3", audio="mp3"), "aac": media(".aac", audio="aac"), "gif": media(".gif", "gif"),
}  # fmt: skip


def medium(name: str) -> Reader:
    ending = name.partition(" ")[0]
    read = partial(read_medium, name=f"talk.{ending}")
    return Reader(RECORDINGS[name], read, words=MARKS, cases=f"hostile/*.{ending}", seconds=20.0, share=0.05)


MARKS = (b"RIFF", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"moov", b"trak", b"mdat", b"dref", b"stts",
         b"elst", b"free",
         b"\x1aE\xdf\xa3", b"OggS", b"FLV", b"\x00\x00\x01\xba", b"\x47", b"fmt ", b"data")  # fmt: skip

READERS: dict[str, Reader] = {
    **{f"transcript {suffix}": transcript(suffix) for suffix in SUFFIXES},
    "MELD": Reader(texts(MELD_CSV), read_meld, around_meld, words=(b"neutral", b"dia0_utt0")),
    "MELD-FAIR": Reader(texts(CUT_LIST), partial(read_fair, name=meld_fair.CUTS), around_fair, words=(b"dev", b"9")),
    "boxes of MELD-FAIR": Reader(texts(SPEAKER_BOXES), partial(read_fair, name=meld_fair.BOXES), around_fair),
    "annotations of MELD-FAIR": Reader(texts(REALIGNED), partial(read_fair, name="realigned_dev_sent_emo.csv"),
                                       around_fair, words=(b"joy", b"neutral")),
    "IEMOCAP transcription": Reader(texts(SPOKEN), partial(read_iemocap, which="transcriptions"), around_iemocap),
    "IEMOCAP evaluation": Reader(texts(EVALUATION), partial(read_iemocap, which="EmoEvaluation"), around_iemocap),
    "table": Reader(texts(UTTERANCES, IN_PIECES), read_custom, words=(b"train", b"label"), cases="hostile/*.csv"),
    "FER-2013": Reader(fer_rows, partial(read_fer, name="fer2013.csv", labels="fer2013"), share=0.3),
    "FER+": Reader(texts(VOTES), partial(read_fer, name="fer2013new.csv", labels="soft"), around_votes, share=0.3),
    "FER pictures": Reader(face_pictures, read_picture, around_pictures),
    "published pickle": Reader(published_pickles, read_one_published, words=(b"cos\nsystem\n", b"\x80\x04", b".")),
    "published json, npy, npz": Reader(published_others, read_one_published),
    "published corpus": Reader(published_pickles, read_corpus_of_features),
    "published folder": Reader(texts(DAG), read_dag, around_dag),
    "params.yaml": Reader(params_yaml, read_params, cases="hostile/*.yaml", share=0.2),
    "paper/params.yaml": Reader(report_yaml, read_report, share=0.2),
    "index.csv": Reader(index_csv, read_index_file),
    "history.csv": Reader(texts(HISTORY), read_history),
    "predictions.csv": Reader(texts(PREDICTIONS), read_predictions),
    "text_predictions.csv": Reader(texts(TEXT_PREDICTIONS), read_text_predictions),
    "feature file": Reader(features_file, read_features_file),
    "bundle.json": Reader(bundle_part("bundle/bundle.json"), partial(read_bundle_with, name="bundle/bundle.json"),
                          around_bundle, cases="hostile/bundle*.json", share=0.3),
    "weights of a bundle": Reader(bundle_part("bundle/seed0.safetensors"), partial(read_bundle_with,
                                  name="bundle/seed0.safetensors"), around_bundle, share=0.3),
    "statistics of a bundle": Reader(bundle_part("bundle/statistics.safetensors"), partial(read_bundle_with,
                                     name="bundle/statistics.safetensors"), around_bundle, share=0.3),
    "zip of a bundle": Reader(zips_of_bundle, read_zip_of_bundle, words=(b"PK\1\2", b"PK\3\4", b"PK\5\6"), share=0.2),
    "weights of faces": Reader(face_weights, read_face_weights, share=0.02),
    "work cache": Reader(work_cache, read_work_cache, share=0.2),
    "log of a shard": Reader(cache_log, read_cache_log, share=0.2),
    "encoder.json": Reader(texts('{"fine_tuned": true, "encoders": [{}], "folds": {"a": 0}}'), read_encoder_card),
    "adapters.json": Reader(texts('{"rank": 8, "published": "0a1b"}'), read_adapters),
    "modules.json": Reader(texts(MODULES), partial(read_encoder_file, name="modules.json"), around_encoder),
    "config.json": Reader(texts('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "is_decoder": false}'),
                          partial(read_encoder_file, name="config.json"), around_encoder),
    "pooling": Reader(texts('{"pooling_mode": "mean"}', '{"pooling_mode_cls_token": true}'),
                      partial(read_encoder_file, name="1_Pooling/config.json"), around_encoder),
    **{f"media {name}": medium(name) for name in RECORDINGS},
}  # fmt: skip

"""Audio features: width, short sounds, silence, intervals, and files that were changed."""

import warnings
import wave
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from librosa.feature import rms

from extractors import clips
from extractors.audio import extractor as audio
from extractors.audio import reduction
from extractors.audio import sound as hearing
from extractors.audio.extractor import AudioExtractor, functionals
from extractors.audio.sound import FRAME, HOP, SILENCE, is_silent
from extractors.cache import WorkCache
from extractors.media import RATE, ContentError
from extractors.result import Result
from extractors.settings import FUNCTIONALS, AudioSettings
from extractors.utterance import Part, Utterance
from foundation.workers import TaskLost
from pipeline.corpora.media_files import inspect_media
from pipeline.corpora.raw_corpus import RawCorpus
from tests.conftest import change_in_secret, in_this_process, write_clip


def tone(seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 180 * time)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width"), FUNCTIONALS.items())
def test_every_set_has_its_width_and_finite_values_of_the_shortest_sound(name: str, width: int) -> None:
    values = functionals(tone(0.05), name, 0.25)
    extractor = AudioExtractor(AudioSettings(set=name, min_seconds=0.25, reduce="none", dim=5), Path())
    assert values.shape == (width,) == (extractor.dim,)
    assert np.isfinite(values).all()
    assert np.count_nonzero(values) > width / 2


def test_is10_is_1582_finite_values_that_hear_a_difference() -> None:
    values = functionals(tone(1.0), "IS10", 0.25)
    assert values.shape == (1582,)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert not np.array_equal(values, functionals(0.1 * tone(1.0), "IS10", 0.25))


def test_a_sound_of_50_ms_is_padded_where_opensmile_alone_gives_nothing_but_nan() -> None:
    import opensmile

    with pytest.warns(UserWarning, match="too short"):
        bare = opensmile.Smile(opensmile.FeatureSet.IS10).process_signal(tone(0.05), RATE).to_numpy()
    assert np.isnan(bare).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not functionals(tone(0.05), "IS10", 0.0).any()  # openSMILE's warning is not passed on
    padded = functionals(tone(0.05), "IS10", 0.25)
    assert np.isfinite(padded).all()
    assert np.count_nonzero(padded) > 1000


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Results by file name, of a loud, a silent, a very short clip and one that fails to decode."""
    raw = tmp_path_factory.mktemp("raw")
    write_clip(raw / "loud.mp4")
    write_clip(raw / "silent.mp4", loud=0.0)
    write_clip(raw / "short.mp4", seconds=0.05)
    rows = [
        Utterance(utterance_id=name, dialogue_id="d", turn=0, speaker=0, split="train", text="", label="", audio=name)
        for name in ("loud.mp4", "silent.mp4", "short.mp4")
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMATH_CACHE", str(raw / "cache"))
        raw_corpus = RawCorpus(rows, ["Ann"] * len(rows))
        inspect_media(raw_corpus, raw)
    extractor = AudioExtractor(AudioSettings(set="IS10", min_seconds=0.25, reduce="none", dim=300), raw)
    keys = dict(zip(extractor.keys(raw_corpus.rows), raw_corpus.rows, strict=True))
    assert None not in keys
    results: dict[str, Result] = {}
    for batch in extractor.extract({key: row for key, row in keys.items() if key}, set()):
        results |= {keys[key].audio: result for key, result in batch.items()}
    return results


def test_silence_is_missing_and_said_to_be(extracted: dict[str, Result]) -> None:
    assert extracted["silent.mp4"].vector is None
    assert extracted["silent.mp4"].reason == "silent"


def test_a_loud_and_a_very_short_clip_have_vectors(extracted: dict[str, Result]) -> None:
    for name in ("loud.mp4", "short.mp4"):
        vector = extracted[name].vector
        assert vector is not None
        assert vector.shape == (1582,)
        assert np.isfinite(vector).all()


def test_results_survive_the_cache(extracted: dict[str, Result]) -> None:
    for result in extracted.values():
        again = Result.from_bytes(result.to_bytes())
        assert (again.reason, again.used) == (result.reason, result.used)
        np.testing.assert_array_equal(again.vector, result.vector)


def test_silence_is_what_librosa_finds_in_overlapping_frames() -> None:
    draw, found = np.random.default_rng(0), []
    for _ in range(400):
        sound = (draw.normal(size=int(draw.integers(1, 30_000))) * 10 ** draw.uniform(-4, -2.3)).astype(np.float32)
        if draw.random() < 0.5:  # a burst in digital silence, wherever the frames begin
            begin = int(draw.integers(len(sound)))
            sound[:begin] = 0
            sound[begin + int(draw.integers(1, 4000)) :] = 0
        loudness = rms(y=np.pad(sound, FRAME // 2), frame_length=FRAME, hop_length=HOP, center=False)
        found.append(bool(loudness.max() < SILENCE))
        assert is_silent(sound) == found[-1]
    assert 50 < sum(found) < 350


@pytest.mark.parametrize(("loudness", "silent"), [(1.01, False), (0.99, True)])
def test_no_frame_is_left_out_where_a_long_sound_is_looked_at_in_blocks(
    loudness: float, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "BLOCK", 3)
    hops = 11
    for place in range(hops - FRAME // HOP + 1):  # one frame alone holds all of the burst
        sound = np.zeros(hops * HOP, np.float32)
        sound[place * HOP : place * HOP + FRAME] = loudness * SILENCE
        assert is_silent(sound) == silent, place


def write_wave(file: Path, sound: np.ndarray) -> Path:
    """Sound, float [samples] at 16 kHz, as 16 bits."""
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(RATE)
        stream.writeframes((sound * 32_767).astype("<i2").tobytes())
    return file


SETTINGS = AudioSettings(set="eGeMAPSv02", min_seconds=0.25, reduce="none", dim=5)
ROW = Utterance(utterance_id="u", dialogue_id="d", turn=0, speaker=0, split="test", text="", label="joy")


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Gives the results of some rows, whose files lie in `tmp_path`."""
    monkeypatch.setattr(clips, "spread", in_this_process)

    def extract(rows: list[Utterance], settings: AudioSettings = SETTINGS) -> list[Result]:
        extractor = AudioExtractor(settings, tmp_path)
        keys = {str(key): row for key, row in zip(extractor.keys(rows), rows, strict=True)}
        results = {key: result for part in extractor.extract(keys, set()) for key, result in part.items()}
        return [results[key] for key in keys]

    return extract


def indexed(rows: list[Utterance], raw: Path) -> list[Utterance]:
    raw_corpus = RawCorpus(rows, ["Ann"] * len(rows))
    inspect_media(raw_corpus, raw)
    return raw_corpus.rows


def test_what_is_heard_of_a_file_is_the_interval_of_its_sound(heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    time = np.arange(3 * RATE) / RATE
    write_wave(tmp_path / "long.wav", 0.3 * np.sin(2 * np.pi * (150 + 40 * time) * time))
    intervals = [(None, None), (1.0, None), (None, 1.0), (1.0, 2.5), (1.0, 2.0), (0.5, 2.0)]
    [row] = indexed([replace(ROW, audio="long.wav")], tmp_path)
    rows = [replace(row, audio_start=start, audio_end=end) for start, end in intervals]
    results = heard(rows)
    assert [result.used / RATE for result in results] == [3, 2, 1, 1.5, 1, 1.5]
    assert len({result.vector.tobytes() for result in results}) == len(rows)
    # What of the film is shown, and where, is nothing to be heard: one result is for all of these.
    assert len(heard([replace(row, start=start, end=9.0, region="1,1,2,2") for start in (0.0, 1.0)])) == 1


def test_each_setting_of_the_functionals_is_heard_and_the_reductions_are_not(heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_wave(tmp_path / "short.wav", tone(0.3))
    rows = indexed([replace(ROW, audio="short.wav")], tmp_path)

    def vector(**changes: object) -> np.ndarray:
        [result] = heard(rows, SETTINGS.model_copy(update=changes))
        return result.vector

    before = vector()
    assert vector(set="IS10").shape == (1582,)
    assert not np.array_equal(vector(min_seconds=1.0), before)
    np.testing.assert_array_equal(vector(reduce="svm", dim=2), before)


def test_a_sound_that_is_changed_is_refused_until_the_index_knows_it_and_is_then_another(heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = write_wave(tmp_path / "own.wav", tone(0.5))
    write_clip(tmp_path / "film.mp4", sound=False)
    row = replace(ROW, audio="own.wav", video="film.mp4")
    before = indexed([row], tmp_path)
    [old] = heard(before)
    content = file.read_bytes()
    change_in_secret(file, content[:44] + content[44:][::-1])
    with pytest.raises(ContentError, match=r"own\.wav: was changed since the index was made"):
        heard(before)
    after = indexed([row], tmp_path)
    assert after[0].audio_hash != before[0].audio_hash
    assert after[0].video_hash == before[0].video_hash
    assert heard(after)[0].vector.tobytes() != old.vector.tobytes()
    file.unlink()
    with pytest.raises(ContentError, match="cannot be read"):
        heard(after)


def test_what_cannot_be_heard_is_missing_with_its_reason(heard, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_wave(tmp_path / "own.wav", tone(0.5))
    write_wave(tmp_path / "zeros.wav", np.zeros(RATE))
    write_clip(tmp_path / "film.mp4", sound=False)
    rows = [
        replace(ROW, audio=name, audio_hash=sha256((tmp_path / name).read_bytes()).hexdigest(), audio_end=end)
        for name, end in (("own.wav", 0.25), ("own.wav", 0.0), ("zeros.wav", None), ("film.mp4", None))
    ]
    results = heard(rows)
    assert [(result.reason, result.used) for result in results] == [
        ("", RATE // 4), ("silent", 0), ("silent", 0), ("has no audio stream", 0)
    ]  # fmt: skip
    assert [result.vector is None for result in results] == [False, True, True, True]


def test_a_clip_that_is_lost_says_why_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "spread", lambda _, clips, *__: [(clip, TaskLost("died")) for clip in clips])
    extractor, row = AudioExtractor(SETTINGS, Path()), replace(ROW, audio="a.wav", audio_hash="h")
    assert extractor.prepare({"k": row}, WorkCache(tmp_path))
    [found] = extractor.extract({"k": row}, set())
    assert found == {"k": Result(None, "died", lasting=False)}


def test_what_is_known_is_not_heard_again_and_each_utterance_is_heard_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "spread", lambda _, clips, *__: [(clip, Result(None, "silent")) for clip in clips])
    extractor = AudioExtractor(SETTINGS, Path())
    rows = {name: replace(ROW, audio=name) for name in "abc"}
    assert [list(part) for part in extractor.extract(rows, {"b"})] == [["a"], ["c"]]
    assert extractor.groups(rows) == [["a"], ["b"], ["c"]]
    assert extractor.keys([replace(ROW, text="Yes.")]) == [None]


@pytest.mark.parametrize(
    ("reduce", "split", "known", "loaded"),
    [("svm", "train", set(), 1), ("none", "train", set(), 0), ("svm", "test", set(), 0), ("svm", "train", {"a"}, 0)],
)
def test_the_library_of_the_reduction_is_loaded_meanwhile_where_it_will_be_needed(
    reduce: str, split: str, known: set[str], loaded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(reduction, "load_library", lambda: asked.append("sklearn"))
    monkeypatch.setattr(clips, "spread", lambda *_: [])
    extractor = AudioExtractor(SETTINGS.model_copy(update={"reduce": reduce}), Path())
    rows = {"a": replace(ROW, audio="a", split=split), "b": replace(ROW, audio="b", split="test")}
    assert list(extractor.extract(rows, known)) == []
    assert len(asked) == loaded


def test_whatever_a_clip_raises_costs_this_clip_alone(  # type: ignore[no-untyped-def]
    heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wave(tmp_path / "good.wav", tone(0.5))
    write_wave(tmp_path / "odd.wav", tone(0.6))
    rows = indexed([replace(ROW, audio=name) for name in ("odd.wav", "good.wav")], tmp_path)
    read = hearing.joined_sound

    def fails(parts: list[Part]) -> np.ndarray:
        if parts[0].path.name == "odd.wav":
            raise IndexError("list index\nout of range")
        return read(parts)

    monkeypatch.setattr(hearing, "joined_sound", fails)
    odd, good = heard(rows)
    assert (odd.vector, odd.reason, odd.lasting) == (None, "failed (IndexError: list index out of range)", False)
    assert good.vector is not None
    monkeypatch.setattr(hearing, "joined_sound", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):  # not the clip's fault: the worker processes see to it
        heard(rows)


def test_a_short_sound_is_padded_at_its_end_to_the_shortest_length_and_no_further() -> None:
    sound = tone(0.3)
    padded = functionals(np.concatenate([sound, np.zeros(round(0.7 * RATE), np.float32)]), "eGeMAPSv02", 0.25)
    np.testing.assert_array_equal(functionals(sound, "eGeMAPSv02", 1.0), padded)
    np.testing.assert_array_equal(functionals(sound, "eGeMAPSv02", 0.25), functionals(sound, "eGeMAPSv02", 0.1))


def test_what_cannot_be_determined_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    class Smile:
        def process_signal(self, *_: object) -> pd.DataFrame:
            return pd.DataFrame([[1.0, np.nan, np.inf, -np.inf]])

    monkeypatch.setattr(audio, "_smile", lambda _: Smile())
    assert functionals(tone(1.0), "IS10", 0.25).tolist() == [1, 0, 0, 0]


def test_silence_begins_at_60_decibels_below_full_scale() -> None:
    full = np.sqrt(2) * tone(1.0) / 0.3  # a root mean square of 1
    assert not is_silent(full * 10 ** (-58 / 20))
    assert is_silent(full * 10 ** (-62 / 20))


def test_the_identity_is_what_it_was_before_there_were_other_encoders() -> None:
    # Otherwise every cached vector, and every feature file of a colleague, would be made again.
    versions = {name: version(name) for name in ("opensmile", "av", "librosa")}
    assert AudioExtractor(SETTINGS.model_copy(update={"layers": "all", "dim": 7}), Path()).identity == {
        "set": "eGeMAPSv02", "min_seconds": 0.25, "modality": "audio", "version": 4, **versions,
    }  # fmt: skip

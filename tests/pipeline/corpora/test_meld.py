"""MELD's reader against every irregularity of the release, each a test."""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import UserError
from pipeline.corpora import meld as reader
from pipeline.corpora.census import census
from pipeline.corpora.labels import MELD as LABELS
from pipeline.corpora.labels import labels
from tests.conftest import MELD_COLUMNS, write_meld_csv

ALL = ["text", "audio", "visual"]
SHARED = Path(__file__).parents[4] / "shared" / "data"


def rewrite(raw: Path, rows: list[dict[str, object]], encoding: str = "utf-8") -> None:
    write_meld_csv(raw / "train_sent_emo.csv", rows, encoding)


def test_rows_come_in_conversation_order_with_splits_and_clips(meld: Callable[..., Path]) -> None:
    raw_corpus = reader.read(meld(), ALL)
    rows, notes = raw_corpus.rows, raw_corpus.notes
    assert [row.utterance_id for row in rows[:3]] == ["train_dia0_utt0", "train_dia0_utt1", "train_dia0_utt2"]
    assert [row.split for row in rows] == ["train"] * 3 + ["validation"] * 3 + ["test"] * 3
    assert [row.label for row in rows[:3]] == ["joy", "neutral", "anger"]
    assert rows[3].audio == rows[3].video == "dev_splits_complete/dia0_utt0.mp4"
    assert notes == []


def test_speakers_are_numbered_inside_each_dialogue_by_first_appearance(meld: Callable[..., Path]) -> None:
    raw = meld()
    names = {0: ["Rachel", "Joey", "Rachel", "Ross"], 1: ["Ross", "Ross"]}
    rewrite(
        raw, [{"Dialogue_ID": d, "Utterance_ID": u, "Speaker": name} for d in names for u, name in enumerate(names[d])]
    )
    rows = reader.read(raw, ["text"]).rows
    assert [row.speaker for row in rows if row.split == "train"] == [0, 1, 0, 2, 0, 0]


def test_episodes_are_told_by_season_and_number_and_what_is_no_number_is_none(meld: Callable[..., Path]) -> None:
    raw = meld()
    said = [("3", " 19 "), ("10", "1"), ("", "4"), ("x", "4"), ("-1", "4")]
    rewrite(raw, [{"Dialogue_ID": 0, "Utterance_ID": u, "Season": season, "Episode": number}
                  for u, (season, number) in enumerate(said)])  # fmt: skip
    rows = [row for row in reader.read(raw, ["text"]).rows if row.split == "train"]
    assert [row.episode for row in rows] == ["s03e19", "s10e01", "", "", ""]


def test_gaps_in_utterance_ids_order_turns_and_leave_no_holes(meld: Callable[..., Path]) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 7, "Utterance_ID": u, "Utterance": str(u)} for u in (9, 2, 5)])
    rows = [row for row in reader.read(raw, ["text"]).rows if row.split == "train"]
    assert [(row.turn, row.text) for row in rows] == [(0, "2"), (1, "5"), (2, "9")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_both_encodings_give_the_same_text(meld: Callable[..., Path], encoding: str) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 0, "Utterance_ID": 0, "Utterance": "It’s – well – a café…"}], encoding)
    assert reader.read(raw, ["text"]).rows[0].text == "It’s – well – a café…"


@pytest.mark.parametrize(("written", "seconds"), [("00:16:16,059", 976.059), ("0:36:59,425", 2219.425), ("soon", None)])
def test_both_forms_of_time_are_read(written: str, seconds: float | None) -> None:
    assert reader.seconds(written) == (pytest.approx(seconds) if seconds else None)


@given(st.integers(0, 9), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_time_is_what_was_written(hours: int, minutes: int, whole: int, thousandths: int) -> None:
    written = f"{hours:02}:{minutes:02}:{whole:02},{thousandths:03}"
    assert reader.seconds(written) == pytest.approx(hours * 3600 + minutes * 60 + whole + thousandths / 1000)


def test_a_corrected_twin_is_preferred(meld: Callable[..., Path]) -> None:
    raw = meld()
    twin = raw / "output_repeated_splits_test" / "final_videos_testdia0_utt1.mp4"
    twin.write_bytes(b"corrected")
    raw_corpus = reader.read(raw, ALL)
    rows, notes = raw_corpus.rows, raw_corpus.notes
    assert rows[7].video.endswith("final_videos_testdia0_utt1.mp4")
    assert notes == []  # its twin is not said to lack a row


def test_a_clip_without_a_row_is_noted_and_a_row_without_a_clip_is_a_problem(meld: Callable[..., Path]) -> None:
    raw = meld()
    (raw / "train_splits" / "dia0_utt1.mp4").rename(raw / "train_splits" / "dia5_utt5.mp4")
    raw_corpus = reader.read(raw, ALL)
    rows, notes = raw_corpus.rows, raw_corpus.notes
    assert rows[1].problem == "dia0_utt1.mp4: no such clip"
    assert (rows[1].audio, rows[1].video) == ("", "")
    assert notes == ["train_splits/dia5_utt5.mp4: a clip without a row in train_sent_emo.csv"]


def test_appledouble_files_are_skipped(meld: Callable[..., Path]) -> None:
    raw = meld()
    (raw / "train_splits" / "._dia0_utt0.mp4").write_bytes(b"\0\5\26\7")
    raw_corpus = reader.read(raw, ALL)
    rows, notes = raw_corpus.rows, raw_corpus.notes
    assert rows[0].video == "train_splits/dia0_utt0.mp4"
    assert notes == []


def test_the_release_may_keep_its_folder_a_split(meld: Callable[..., Path], tmp_path: Path) -> None:
    flat = meld()
    nested = tmp_path / "MELD.Raw"
    for split, (annotations, folder) in {"train": reader.FILES["train"], "dev": reader.FILES["validation"],
                                         "test": reader.FILES["test"]}.items():  # fmt: skip
        (nested / split).mkdir(parents=True)
        (flat / annotations).rename(nested / split / annotations)
        (flat / folder).rename(nested / split / folder)
    rows = reader.read(nested, ALL).rows
    assert rows[0].video == "train/train_splits/dia0_utt0.mp4"


def test_media_that_are_left_out_are_no_problem(meld: Callable[..., Path]) -> None:
    rows = reader.read(meld(clips=False), ["text"]).rows
    assert all(row.audio == row.video == row.problem == "" for row in rows)
    rows = reader.read(meld(), ["text", "audio"]).rows
    assert rows[0].audio
    assert not rows[0].video


def test_an_empty_utterance_and_a_dialogue_of_one_turn_are_rows(meld: Callable[..., Path]) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 3, "Utterance_ID": 0, "Utterance": "  "}])
    rows = reader.read(raw, ["text"]).rows
    assert (rows[0].turn, rows[0].text, rows[0].dialogue_id) == (0, "", "train_dia3")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"Dialogue_ID": "x", "Utterance_ID": 0}], "line 2: Dialogue_ID and Utterance_ID must be whole numbers"),
        ([{"Dialogue_ID": 0, "Utterance_ID": 0}] * 2, "line 3: a second row for dialogue 0, utterance 0"),
        ([{"Dialogue_ID": 0, "Utterance_ID": 0, "Emotion": "glee"}], "line 2: emotion 'glee' is none of neutral"),
    ],
)
def test_a_row_that_cannot_be_understood_is_named(meld: Callable[..., Path], rows: list[dict], said: str) -> None:
    raw = meld()
    rewrite(raw, rows)
    with pytest.raises(UserError) as caught:
        reader.read(raw, ["text"])
    assert f"train_sent_emo.csv, {said}" in str(caught.value)


def test_a_missing_column_or_file_is_named(meld: Callable[..., Path], tmp_path: Path) -> None:
    raw = meld()
    (raw / "dev_sent_emo.csv").write_text("Utterance,Speaker\nHi,Ann\n")
    with pytest.raises(UserError, match=r"dev_sent_emo\.csv, line 1: no column Emotion"):
        reader.read(raw, ["text"])
    with pytest.raises(UserError, match=r"has train_sent_emo\.csv"):
        reader.read(tmp_path / "empty", ["text"])


def test_an_utterance_that_ends_before_it_starts_is_noted_and_stays(meld: Callable[..., Path]) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 155, "Utterance_ID": 3, "StartTime": "0:10:05,000", "EndTime": "0:10:01,000"}])
    raw_corpus = reader.read(raw, ["text"])
    assert raw_corpus.rows[0].utterance_id == "train_dia155_utt3"
    assert raw_corpus.rows[0].utterance_id not in raw_corpus.stated
    assert raw_corpus.notes == ["train_sent_emo.csv, line 2: dia155_utt3 ends before it starts"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,Well,,I never,Ann,joy,,0,1,1,1,0:0:0,0,0:0:1,0\n", "line 3: more fields than the header has columns"),
        ("1,Well\n", "line 3: fewer fields than the header has columns"),
        ('1,"Well,Ann,joy,,0,1,1,1,0:0:0,0:0:1\n', "is not a CSV row (unexpected end of data)"),
    ],
)
def test_a_line_that_is_no_row_is_named(meld: Callable[..., Path], line: str, said: str) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 0, "Utterance_ID": 0}])
    with (raw / "train_sent_emo.csv").open("a") as stream:
        stream.write(line)
    with pytest.raises(UserError) as caught:
        reader.read(raw, ["text"])
    assert "train_sent_emo.csv, line " in str(caught.value)
    assert said in str(caught.value)


def test_the_classes_stand_in_the_literatures_order() -> None:
    assert labels("meld", ["joy"]) == labels("demo", []) == (
        "neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"
    )  # fmt: skip
    assert labels("iemocap", ["sad"]) == ("happy", "sad", "neutral", "angry", "excited", "frustrated")
    assert labels("table", ["sad", "glad", "sad", "Zest"]) == ("Zest", "glad", "sad")


def test_every_column_goes_to_its_own_field(meld: Callable[..., Path]) -> None:
    raw = meld()
    for split, name in (("train", "train_sent_emo.csv"), ("dev", "dev_sent_emo.csv"), ("test", "test_sent_emo.csv")):
        row = {"Dialogue_ID": 12, "Utterance_ID": 3, "Utterance": f"  Said \n in\t{split}  e\u0301", "Speaker": " Ann ",
               "Emotion": " Disgust ", "StartTime": "01:02:03,5", "EndTime": "1:02:04.25"}  # fmt: skip
        write_meld_csv(raw / name, [{**row, "Utterance_ID": 10, "Speaker": "Bob", "Emotion": "FEAR"}, row,
                                    {**row, "Dialogue_ID": 7, "Speaker": "Ann"}])  # fmt: skip
    raw_corpus = reader.read(raw, ["text"])
    splits = ("train", "validation", "test")
    assert [
        (row.utterance_id, row.dialogue_id, row.turn, row.speaker, row.split, row.label) for row in raw_corpus.rows
    ] == [
        value
        for split in splits
        for value in (
            (f"{split}_dia7_utt3", f"{split}_dia7", 0, 0, split, "disgust"),
            (f"{split}_dia12_utt3", f"{split}_dia12", 0, 0, split, "disgust"),
            (f"{split}_dia12_utt10", f"{split}_dia12", 1, 1, split, "fear"),
        )
    ]
    assert [row.text for row in raw_corpus.rows[::3]] == ["Said in train é", "Said in dev é", "Said in test é"]
    assert raw_corpus.speakers == ["Ann", "Ann", "Bob"] * 3
    assert [row.speaker_name for row in raw_corpus.rows] == raw_corpus.speakers
    assert raw_corpus.stated["test_dia7_utt3"] == pytest.approx(0.75)
    assert len(raw_corpus.stated) == 9


@pytest.mark.parametrize("written", ["00:16:16", "16:16,059", "00:1:16,059", "a0:16:16,059", "00:16:16,0591", ""])
def test_what_is_no_time_is_none(written: str) -> None:
    assert reader.seconds(written) is None


def test_a_time_may_have_a_short_fraction_a_point_and_blanks() -> None:
    assert reader.seconds(" 02:00:01.5\n") == pytest.approx(7201.5)
    assert reader.seconds("0:01:00,05") == pytest.approx(60.05)


def test_an_utterance_without_a_length_is_noted_and_one_without_a_time_is_not(meld: Callable[..., Path]) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 0, "Utterance_ID": 0, "StartTime": "0:00:01,0", "EndTime": "0:00:01,0"},
                  {"Dialogue_ID": 0, "Utterance_ID": 1, "StartTime": ""}])  # fmt: skip
    raw_corpus = reader.read(raw, ["text"])
    assert raw_corpus.notes == ["train_sent_emo.csv, line 2: dia0_utt0 ends before it starts"]
    assert not {"train_dia0_utt0", "train_dia0_utt1"} & set(raw_corpus.stated)


def test_sound_and_picture_are_given_as_they_are_asked_for(meld: Callable[..., Path]) -> None:
    raw = meld()
    clip = "train_splits/dia0_utt0.mp4"
    for modalities, expected in ((["visual"], ("", clip)), (["audio"], (clip, "")), (ALL, (clip, clip))):
        row = reader.read(raw, modalities).rows[0]
        assert (row.audio, row.video, row.start, row.end, row.region) == (*expected, None, None, "")


FIELDS = st.fixed_dictionaries(
    {name: st.text(st.characters(exclude_categories=["Cs"]), max_size=8) for name in MELD_COLUMNS}
)


@given(FIELDS, st.integers(0, 3))
def test_whatever_a_row_says_it_is_read_or_named_with_its_line(fields: dict[str, str], before: int) -> None:
    with TemporaryDirectory() as folder:
        rows: list[dict] = [{"Dialogue_ID": 900, "Utterance_ID": number} for number in range(before)]
        for annotations, _ in reader.FILES.values():
            write_meld_csv(Path(folder) / annotations, [*rows, fields])
        try:
            assert len(reader.read(Path(folder), ["text"]).rows) == 3 * (before + 1)
        except UserError as error:
            # A field may hold line breaks: the row ends on line `before + 2` or after it.
            found = re.search(r"train_sent_emo\.csv, line (\d+): ", str(error))
            assert found
            assert int(found[1]) >= before + 2


def published(raw: Path, lost: tuple[int, int] | None = None) -> Path:
    """Annotations with the published files' counts, with the dialogues' true numbers; `lost`: (dialogue, utterances)
    of train that are missing at its end."""
    for split, (annotations, _) in reader.FILES.items():
        utterances, numbers = reader.KNOWN[split]
        dialogues = [number for number in numbers if split != "train" or number != reader.NEVER_PUBLISHED]
        rows: list[dict[str, object]] = [{"Dialogue_ID": d, "Utterance_ID": 0} for d in dialogues]
        rows += [{"Dialogue_ID": 1, "Utterance_ID": u} for u in range(1, utterances - len(dialogues) + 1)]
        rows[0]["Utterance"] = "’" * reader.APOSTROPHES[split]
        if split == "train" and lost:
            rows = [row for row in rows if row["Dialogue_ID"] != lost[0]][: -lost[1]]
        write_meld_csv(raw / annotations, rows)
    return raw


@pytest.mark.slow
def test_the_full_release_has_its_known_counts_and_dialogue_60_is_explained(tmp_path: Path) -> None:
    raw_corpus = reader.read(published(tmp_path), ["text"])
    assert len(raw_corpus.rows) == 13_708
    assert len({row.dialogue_id for row in raw_corpus.rows}) == 1_432
    assert raw_corpus.differences == []
    assert len(raw_corpus.notes) == 1
    assert "dialogue 60 is missing, as in every copy" in raw_corpus.notes[0]
    assert "1,153" in raw_corpus.notes[0]


@pytest.mark.slow
def test_a_full_release_that_lacks_something_names_the_file(tmp_path: Path) -> None:
    raw_corpus = reader.read(published(tmp_path, lost=(700, 4)), ["text"])
    assert raw_corpus.differences == [
        "train_sent_emo.csv: 9984 utterances in 1037 dialogues; the published file has 9989 in 1038 "
        "(lacking: dialogue 700)"
    ]


@pytest.mark.slow
def test_a_full_release_without_its_apostrophes_is_not_taken_for_the_published_one(tmp_path: Path) -> None:
    raw = published(tmp_path)
    file = raw / "test_sent_emo.csv"
    file.write_text(file.read_text("utf-8").replace("’’", "’"), "utf-8")
    assert reader.read(raw, ["text"]).differences == [
        "test_sent_emo.csv: 777 apostrophes in its texts; those of the published file have 1554: the others are lost, "
        "or were written as another character"
    ]


def test_a_small_copy_is_not_taken_for_a_full_release(meld: Callable[..., Path]) -> None:
    raw_corpus = reader.read(meld(), ALL)
    assert raw_corpus.differences == raw_corpus.notes == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="the annotations of MELD are not part of the project")
def test_the_published_annotations_are_the_papers_table_1() -> None:
    raw_corpus = reader.read(SHARED / "meld_csv", ["text"])
    assert raw_corpus.differences == []
    counts = census(raw_corpus, [0.0] * len(raw_corpus.rows), LABELS)["splits"]
    assert [counts[split]["utterances"] for split in ("train+validation", "test")] == [11_098, 2_610]
    assert [counts[split]["dialogues"] for split in ("train+validation", "test")] == [1_152, 280]  # the paper: 1,153
    assert counts["test"]["turns_a_dialogue"]["mean"] == 9.32
    assert reader.read(SHARED / "meld_mini", ["text"]).differences == []


def test_names_that_differ_in_case_only_are_noted(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        rows = [{"Speaker": "Ann", "Emotion": "joy", "Dialogue_ID": 0, "Utterance_ID": 0},
                {"Speaker": "ANN", "Emotion": "Joy", "Dialogue_ID": 0, "Utterance_ID": 1}]  # fmt: skip
        write_meld_csv(tmp_path / f"{name}_sent_emo.csv", rows if name == "dev" else rows[:1])
    found = reader.read(tmp_path, ["text"])
    assert [row.label for row in found.rows] == ["joy"] * 4
    assert found.notes == [
        "dev_sent_emo.csv: speakers that differ in case only count as different people: Ann, ANN",
        "dev_sent_emo.csv: emotions that differ in case only count as one: joy, Joy",
    ]

"""A few broken inputs for every reader of what comes from outside; `make fuzz` reads thousands."""

from pathlib import Path

import pytest

from extractors.media import MediaError
from foundation.errors import UserError
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.run import SlowError, attempt, fuzzed

EXAMPLES = 12
"""Inputs of a reader with a share of 1: seconds for all readers."""


@pytest.mark.parametrize("name", READERS)
def test_a_broken_input_is_read_or_refused_in_a_line(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    outcomes = fuzzed(reader, tmp_path, max(3, round(EXAMPLES * reader.share)), None, lambda content: None)
    assert sum(outcomes.values()) > 0


@pytest.mark.parametrize("name", READERS)
def test_what_fuzzing_begins_with_is_read(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    seeds = reader.seeds(tmp_path)
    reader.around(tmp_path)
    for content in seeds:
        if name in NOT_OF_ITSELF:
            continue
        assert attempt(reader, tmp_path, content) == "read"


NOT_OF_ITSELF = {"weights of faces", "published corpus", "paper/params.yaml"}
"""Readers with some seeds that are refused: half a file, a corpus without validation, a set of settings."""


def test_what_is_neither_read_nor_refused_is_a_finding(tmp_path: Path) -> None:
    def read(folder: Path, content: bytes) -> None:
        if b"\0" in content:
            raise UserError("file: has a NUL")
        if content.endswith(b"!"):
            raise MediaError("is too loud")
        int(content.decode("ascii"))

    reader = Reader(lambda folder: [b"12"], read)
    assert attempt(reader, tmp_path, b"12") == "read"
    assert attempt(reader, tmp_path, b"\0") == attempt(reader, tmp_path, b"12!") == "refused"
    with pytest.raises(ValueError, match="invalid literal"):
        attempt(reader, tmp_path, b"x")
    with pytest.raises(ValueError, match=r"invalid literal|can't decode"):
        fuzzed(reader, tmp_path, 200, 1, lambda content: None)
    with pytest.raises(SlowError, match=r"took .* s of processor time, more than 0 s"):
        attempt(Reader(lambda folder: [b""], lambda folder, content: sum(range(10**5)), seconds=0.0), tmp_path, b"")

    def refuses_without_a_word(folder: Path, content: bytes) -> None:
        raise UserError

    with pytest.raises(AssertionError, match="without a word"):
        attempt(Reader(lambda folder: [b""], refuses_without_a_word), tmp_path, b"")

"""extract@D-M: what the extractors are asked for."""

from dataclasses import replace

from extractors.extraction import by_key
from extractors.utterance import Utterance

ROW = Utterance(utterance_id="u", dialogue_id="d", turn=0, speaker=0, split="test", text="", label="joy")


def test_utterances_are_asked_for_in_index_order_and_equal_content_once() -> None:
    # Batches are cut in this order, and another order would be other last bits; a clip of train must count as one.
    rows = [replace(ROW, utterance_id=name, split=split) for name, split in
            (("a", "test"), ("b", "train"), ("c", "train"), ("d", "test"), ("e", "validation"))]  # fmt: skip
    found = by_key(["x", "y", "x", "y", None], rows)
    assert [(key, row.utterance_id) for key, row in found.items()] == [("x", "c"), ("y", "b")]

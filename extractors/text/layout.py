"""Tokens of an utterance and of the turns around it, in the order in which a text encoder reads them.

The input has up to three segments,

    <start> earlier turns <separator> the utterance <separator> later turns <end>

with the encoder's own special tokens, and with its segment ids if it has any. Each turn begins with its speaker. If the
input is too long, the turns that are farthest away are left out. The vector is made of the tokens of the utterance's
own words, or of the first token of all if `pooling` is `first`.
"""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from extractors.result import ExtractorError
from extractors.settings import ContextSettings
from extractors.text.window import Window

PROBES = (" a", " b")
"""Two short texts whose pair shows where a tokenizer puts its special tokens."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """An input of the encoder."""

    ids: list[int]
    """Token ids, with special tokens."""
    own: tuple[int, int]
    """Beginning and end of the tokens from which the vector is made."""
    segments: list[int]
    """Segment id of each token; empty if the encoder has no segments, or reads the utterance alone."""


class Layout:
    """Layout of a window for one tokenizer."""

    def __init__(self, tokenizer: Any, segments: int, max_tokens: int, settings: ContextSettings) -> None:
        """Find out how `tokenizer` puts two texts together.

        Args:
            segments: number of segment ids that the encoder knows; 0 or 1 if it has none.

        Raises:
            ExtractorError: the tokenizer cannot be understood.
        """
        self.tokenizer, self.max_tokens, self.settings = tokenizer, max_tokens, settings
        first, second = tokenizer(list(PROBES), add_special_tokens=False)["input_ids"]
        pair = tokenizer(*PROBES)
        ids = list(pair["input_ids"])
        begin = _find(first, ids, 0)
        middle = _find(second, ids, begin + len(first)) if begin >= 0 else -1
        if middle < 0:
            raise ExtractorError(f"{tokenizer.name_or_path}: its tokenizer changes words when two texts are put "
                                 "together, so that text's `context` in params.yaml cannot be used; set its `past` "
                                 "and `future` to 0")  # fmt: skip
        self.start, self.separator = ids[:begin], ids[begin + len(first) : middle]
        self.end = ids[middle + len(second) :]
        if not self.separator:  # of a network that was not made for pairs, such as GPT-2
            mark = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
            self.separator = [mark] if mark is not None else self._plain(["\n"])[0]
        kinds = list(pair["token_type_ids"]) if segments > 1 and "token_type_ids" in pair else []
        self.kinds = (kinds[begin], kinds[middle]) if kinds else None

    def tokens(self, windows: list[Window]) -> list[Tokens]:
        """Put the tokens of each window together."""
        turns = {turn for window in windows for turn in (*window.past, *window.future)}
        named = {window.speaker for window in windows if window.speaker}
        parts = list(dict.fromkeys([*sorted(turns), *sorted(named), *(window.text for window in windows)]))
        known = dict(zip(parts, self._plain(parts), strict=True))
        return [self._of(window, known) for window in windows]

    def _of(self, window: Window, known: dict[str, list[int]]) -> Tokens:
        """Tokens of `window`; `known` has those of each turn, name and text."""
        room = self.max_tokens - len(self.start) - len(self.separator) - len(self.end)
        room -= len(self.separator) if window.future else 0
        name = known[window.speaker][: room // 2] if window.speaker else []
        text = known[window.text][: room - len(name)]
        room -= len(name) + len(text)
        past, future = self._nearest(window, known, room)
        before = [*self.start, *past, *self.separator]
        begin = len(before) + len(name)
        own = begin, begin + len(text)
        if not text:  # words without a token: what stands in their place is the special token behind them
            own = begin, begin + 1
        here, behind = [*name, *text, *self.end], list[int]()
        if future:
            here, behind = [*name, *text, *self.separator], [*future, *self.end]
        parts = (before, here, behind)
        kinds = self.kinds and (self.kinds[0], self.kinds[1], self.kinds[0])
        segments = [kind for kind, part in zip(kinds, parts, strict=True) for _ in part] if kinds else []
        return Tokens([*before, *here, *behind], own, segments)

    def _nearest(self, window: Window, known: dict[str, list[int]], room: int) -> tuple[list[int], list[int]]:
        """Tokens of the turns before and after that fit into `room`: whole turns, in turns from both sides."""
        past, future = list[int](), list[int]()
        full = {"past": False, "future": False}
        for before, after in zip_longest(reversed(window.past), window.future):
            if before is not None and not full["past"]:
                full["past"] = len(past) + len(future) + len(known[before]) > room
                past = past if full["past"] else [*known[before], *past]
            if after is not None and not full["future"]:
                full["future"] = len(past) + len(future) + len(known[after]) > room
                future = future if full["future"] else [*future, *known[after]]
        return past, future

    def _plain(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, with a blank before it, and without special tokens."""
        # The blank makes a word the same tokens wherever it stands, as byte-level vocabularies tell them apart.
        ids: list[list[int]] = self.tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]
        return ids


def _find(part: list[int], whole: list[int], begin: int) -> int:
    """Place of `part` in `whole` from `begin` on; -1 if it is not there."""
    places = range(begin, len(whole) - len(part) + 1) if part else ()
    return next((place for place in places if whole[place : place + len(part)] == part), -1)

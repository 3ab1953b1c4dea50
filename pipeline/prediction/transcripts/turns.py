"""Conversion of cues to utterances: who speaks, what is said, and when, if several people speak in one cue."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.prediction.transcripts.cues import INVISIBLE, Cue, Part, clean
from pipeline.prediction.transcripts.names import Kind, Label, Names, label_of, middle_label
from pipeline.prediction.transcripts.sounds import SONG, without_sounds
from pipeline.prediction.transcripts.transcript import SOMEONE_ELSE, TranscriptLine

CHEVRONS = re.compile(r"(?:^|(?<=\s))>{2,3}\s*")
"""What television captions write before another speaker's words."""
DASH = re.compile(r"[-‐–—]{1,2}\s*(?=[^\s\d-])")
INNER_DASH = re.compile(r"(?<=[.?!…。？！\"”»)\]♪])\s+[-‐–—]\s*(?=\S)")
LETTERS_A_SECOND = 15.0
"""Speed of speech, for turns whose end is not known."""
SHOWN = 5
"""Largest number of examples in a note."""


@dataclass(slots=True)
class Piece:
    """A line of a part, or what stands between two dashes of it."""

    text: str
    changes: bool
    """Another person speaks than before."""
    begins: bool
    """A name may stand here: the first line of a part, or a change of speaker."""
    label: Label | None


@dataclass(slots=True)
class SpokenTurn:
    speaker: str
    text: str


def utterances(cues: Sequence[Cue]) -> tuple[list[TranscriptLine], list[str]]:
    """Convert cues to utterances, in the same order, and notes; an utterance without a name has the speaker "".

    Of a cue with several speakers, each gets a share of its time by the length of the text. A cue without words, or of
    sounds alone, is a line without text, which only says who speaks in the lines after it.
    """
    pieces = [[(part, list(_pieces(part))) for part in cue.parts] for cue in cues]
    names = _names(pieces)
    accepted = names.accepted()
    found: list[TranscriptLine] = []
    wordless: list[str] = []
    empty = shared = without_length = 0
    for cue, parts in zip(cues, pieces, strict=True):
        turns = [turn for part, of_part in parts for turn in _turns(part, of_part, accepted, names.shouted)]
        spoken = []
        for turn in turns:
            text = clean(without_sounds(turn.text))
            if turn.text.strip() and not text:
                wordless.append(f"{cue.place}, {clean(turn.text)[:40]!r}")
            spoken.append(SpokenTurn(clean(turn.speaker) if turn.speaker != SOMEONE_ELSE else SOMEONE_ELSE, text))
        said = [turn for turn in spoken if turn.text]
        empty += not any(turn.speaker or turn.text.strip() for turn in turns)
        problem = ""
        if cue.start is not None and cue.end is not None and cue.end <= cue.start:
            problem = f"{cue.place}: ends at {cue.end:g} s, not after its start {cue.start:g} s"
            without_length += bool(said)
        elif cue.start is not None:
            shared += len(said) > 1
        for turn, (start, end) in zip(spoken, _times(cue, spoken), strict=True):
            found.append(TranscriptLine(cue.place, turn.text, turn.speaker, start, end, problem=problem))
    notes = _notes_on_names(names, accepted)
    if shared:
        notes.append(f"{shared} times several people speak in one place of the transcript: when each of them does is "
                     "estimated from the length of the text")  # fmt: skip
    if wordless:
        notes.append(f"{len(wordless)} times there are no words, only sounds or music (the first: {wordless[0]}): "
                     "passed over")  # fmt: skip
    if empty:
        notes.append(f"{empty} subtitles are empty: passed over")
    if without_length:
        notes.append(f"{without_length} subtitles have no length, because they do not end after their start: they are "
                     "predicted from their words alone")  # fmt: skip
    return found, notes


def _pieces(part: Part) -> Iterator[Piece]:
    text = SONG.sub("♪♪", INVISIBLE.sub("", part.text))
    lines = [" ".join(line.split()) for line in text.split("\n") if line.strip()]
    dashes = sum(DASH.match(line) is not None for line in lines)
    for number, line in enumerate(lines):
        for place, between in enumerate(CHEVRONS.split(line)):
            if not between.strip():
                continue
            dash = DASH.match(between)
            changes = place > 0
            texts = [between.strip()]
            # A single dash before a small letter goes on with a sentence that was broken off.
            if dash and (dashes > 1 or INNER_DASH.search(between) or not between[dash.end()].islower()):
                texts, changes = INNER_DASH.split(between[dash.end() :].strip()), True
            for inner, text in enumerate(texts):
                if text.strip():
                    changed = changes or inner > 0
                    yield Piece(text.strip(), changed, changed or number == 0, label_of(text))


def _names(pieces: Sequence[Sequence[tuple[Part, list[Piece]]]]) -> Names:
    """Count the candidates of the file."""
    names = Names()
    texts: list[str] = []
    for parts in pieces:
        for part, of_part in parts:
            if part.speaker:
                names.given.add(part.speaker.casefold())
                texts += [piece.text for piece in of_part]
                continue
            named = bool(of_part) and of_part[0].label is not None
            for piece in of_part:
                texts.append(piece.label.rest if piece.label else piece.text)
                sure = piece.label and piece.label.kind in (Kind.UPPER, Kind.NUMBERED)
                if (piece.begins and (piece.label or without_sounds(piece.text))) or (piece.label and (named or sure)):
                    names.count(piece.label)
    names.read(texts)
    return names


def _turns(part: Part, pieces: Sequence[Piece], accepted: set[str], shouted: bool) -> list[SpokenTurn]:
    """Put the lines of a part together to one turn per speaker."""
    found: list[SpokenTurn] = []
    for piece in pieces:
        text, label = piece.text, piece.label
        if label and label.key in accepted:
            found.append(SpokenTurn(_name(part, label), ""))
            text = label.rest
        elif piece.changes and not part.speaker:
            found.append(SpokenTurn(SOMEONE_ELSE, ""))
        elif not found:
            found.append(SpokenTurn(part.speaker, ""))
        while inner := middle_label(text, accepted, shouted):
            end, label = inner
            found[-1].text += f"\n{text[:end]}"
            found.append(SpokenTurn(_name(part, label), ""))
            text = label.rest
        found[-1].text += f"\n{text}"
    return found


def _name(part: Part, label: Label) -> str:
    return part.speaker if label.key == part.speaker.casefold() else label.name


def _times(cue: Cue, turns: Sequence[SpokenTurn]) -> Iterator[tuple[float | None, float | None]]:
    """Give each turn of a cue a share of its time, by the length of the text."""
    letters = [len(turn.text) for turn in turns]
    has_length = cue.start is not None and (cue.end is None or cue.end > cue.start)
    if cue.start is None or not has_length or sum(map(bool, letters)) < 2:
        yield from ((cue.start, cue.end) for _ in turns)
        return
    whole = cue.end - cue.start if cue.end is not None else sum(letters) / LETTERS_A_SECOND
    before = 0
    for number, length in enumerate(letters, 1):
        start = round(cue.start + whole * before / sum(letters), 3)
        before += length
        last = number == len(letters)
        yield start, cue.end if last else round(cue.start + whole * before / sum(letters), 3)


def _notes_on_names(names: Names, accepted: set[str]) -> list[str]:
    """Say what was decided about candidates that may or may not be names."""
    notes = []
    doubtful = [key for key in names.counts if key not in accepted]
    as_text = [f"{names.written[key]}:" for key in doubtful if key in names.with_colon]
    as_sounds = [names.written[key] for key in doubtful if key not in names.with_colon]
    as_names = [names.written[key] for key in names.counts if key in accepted - names.given and names.is_doubtful(key)]
    if as_text:
        notes.append(f"{_examples(as_text)}: read as words, not as speakers, because most lines have no name, or it "
                     "does not recur, or it is a common word")  # fmt: skip
    if as_sounds:
        notes.append(
            f"{_examples(as_sounds)} in brackets: read as sounds, not as speakers, because few lines have a name"
        )
    if as_names:
        notes.append(f"{_examples(as_names)}: read as speakers, because they recur, or other lines have names too")
    return notes


def _examples(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

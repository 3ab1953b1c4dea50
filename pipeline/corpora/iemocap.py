"""Reader of IEMOCAP_full_release: transcriptions, evaluations, sentence recordings and split-screen dialogue videos.

It gives the six-class set of the literature. An utterance without consensus (`xxx`) counts as happy if Happiness has
more votes of all annotators than any other category and is the only category in the actor's own line. Session 5 is
test. The speakers' numbers are their roles in the dyad, M 0 and F 1.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.files import read_file
from pipeline.corpora.labels import ROLES
from pipeline.corpora.raw_corpus import RawCorpus

CODES = {"hap": "happy", "sad": "sad", "neu": "neutral", "ang": "angry", "exc": "excited", "fru": "frustrated"}
TEST_SESSION, HELD_OUT_SESSION = "5", "4"
DIALOGUE = re.compile(r"Ses0(?P<session>[1-5])(?P<marked>[FM])_(?:impro|script)\w+")
SPOKEN = re.compile(
    r"(?P<id>(?P<dialogue>Ses\w+)_(?P<speaker>[FM])\w*) \[(?P<start>[0-9]{1,6}(\.[0-9]{1,30})?)"
    r"-(?P<end>[0-9]{1,6}(\.[0-9]{1,30})?)\]: ?(?P<text>.*)"
)
PASSED_OVER = re.compile(r"[MF]:|\S*XX")
"""Lines of a transcription that are not utterances: notes on the other actor, and turns without a recording."""
EVALUATED = re.compile(r"\[[0-9.]+ - [0-9.]+\]\t(?P<id>\S+)\t(?P<code>\w{3})\t")
VOTE = re.compile(r"C-(?P<annotator>[EFM]\d*):\t(?P<categories>[^(]*)")
MUST_BE_UNDERSTOOD = ("[", "C-")
"""Beginnings of the evaluation lines that the reader must understand."""
LEFT, RIGHT = "6,122,348,238", "366,122,348,238"
"""Regions of the two actors in the letterboxed 720x480 picture; the actor with the markers is on the left."""
COSMIC_12 = (
    "Ses01M_impro01", "Ses01M_script03_1", "Ses02F_impro02", "Ses02F_impro07", "Ses02M_script01_2", "Ses03F_impro01",
    "Ses03M_impro02", "Ses03M_impro08a", "Ses03M_script02_2", "Ses03M_script03_2", "Ses04F_impro07",
    "Ses04F_script02_1",
)  # fmt: skip
"""Fixed list of validation dialogues that is in use since COSMIC."""
KNOWN = {1: (28, 1373), 2: (30, 1356), 3: (32, 1569), 4: (30, 1512), 5: (31, 1623)}
"""Dialogues and six-class utterances of each session in the full release."""


@dataclass(slots=True)
class Evaluation:
    """A block of an EmoEvaluation file."""

    code: str
    votes: Counter[str] = field(default_factory=Counter)
    """Votes of all C-* lines; every category in a line counts once."""
    own: list[str] = field(default_factory=list)
    """Categories in the speaking actor's own lines, as written."""

    @property
    def label(self) -> str | None:
        """Label of the six-class set, or None for an utterance that is left out."""
        if self.code == "xxx":
            ranked = self.votes.most_common(2)
            single = ranked and ranked[0][0] == "Happiness" and (len(ranked) == 1 or ranked[0][1] > ranked[1][1])
            return "happy" if single and "Happiness;" in self.own else None
        return CODES.get(self.code)


def read(raw: Path, modalities: Sequence[str], validation: str, seed: int, context: str = "labelled") -> RawCorpus:
    """Read the six-class utterances in the order of the transcription lines.

    Args:
        context: `labelled`, or `all` for the turns of other labels too, whose `label` is then empty.

    Raises:
        UserError: there is no transcription, or a dialogue has no evaluation.
    """
    files = sorted(raw.glob("Session[1-5]/dialog/transcriptions/Ses*.txt"))
    if not files:
        raise UserError(f"{raw}: has no Session1…5/dialog/transcriptions/Ses*.txt; the key `raw` of this corpus "
                        "in params.yaml must name the folder IEMOCAP_full_release")  # fmt: skip
    result = RawCorpus([], [], untranscribed(raw))
    for file in files:
        if not DIALOGUE.fullmatch(file.stem):
            result.notes.append(f"{file.relative_to(raw)}: is not named like a dialogue; passed over")
            continue
        evaluations = file.parent.parent / "EmoEvaluation" / file.name
        if not evaluations.is_file():
            raise UserError(f"{evaluations}: no such file, but {file.name} has a transcription")
        _dialogue(result, raw, file, read_evaluations(evaluations, raw, result.notes), modalities, context)
    _compare_with_release(result)
    result.rows = with_validation(result.rows, validation, seed)
    return result


def untranscribed(raw: Path) -> list[str]:
    """Notes on dialogues that have other files, but no transcription."""
    others = ("dialog/EmoEvaluation/Ses*.txt", "dialog/avi/**/Ses*.avi", "dialog/wav/Ses*.wav", "sentences/wav/Ses*")
    found = {
        (path.relative_to(raw).parts[0], path.stem) for kind in others for path in raw.glob(f"Session[1-5]/{kind}")
    }
    lacking = [Path(session, "dialog/transcriptions", f"{name}.txt") for session, name in sorted(found)]
    return [f"{path}: no such file, but the dialogue has others" for path in lacking if not (raw / path).is_file()]


def _compare_with_release(result: RawCorpus) -> None:
    """Record which sessions differ from the full release, and which of their files have a note.

    A copy with at most half of the dialogues is taken for a deliberate selection, and not compared.
    """
    dialogues = {row.dialogue_id for row in result.rows}
    if 2 * len(dialogues) <= sum(number for number, _ in KNOWN.values()):
        return
    for session, (number, utterances) in KNOWN.items():
        found = sum(name[4] == str(session) for name in dialogues)
        rows = sum(row.dialogue_id[4] == str(session) and bool(row.label) for row in result.rows)
        if (found, rows) != (number, utterances):
            noted = [note.partition(": ")[0].partition(", line")[0] for note in result.notes]
            suspects = ", ".join(dict.fromkeys(file for file in noted if file.startswith(f"Session{session}/")))
            result.differences.append(
                f"Session{session}: {rows} utterances in {found} dialogues; the release has {utterances} in {number}"
                f" ({f'to look at: {suspects}' if suspects else 'all files that are there can be understood'})"
            )


def read_evaluations(file: Path, raw: Path, notes: list[str]) -> dict[str, Evaluation]:
    """Read the blocks of an EmoEvaluation file by utterance; lines that cannot be parsed are added to `notes`."""
    found: dict[str, Evaluation] = {}
    current: Evaluation | None = None
    speaker = ""
    for number, line in enumerate(_lines(file), 1):
        if head := EVALUATED.match(line):
            current = found[head["id"]] = Evaluation(head["code"])
            speaker = head["id"].rsplit("_", 1)[-1][:1]
        elif current and (vote := VOTE.match(line)):
            categories = vote["categories"].strip()
            current.votes.update(part.strip() for part in categories.split(";") if part.strip())
            if vote["annotator"][0] == speaker:
                current.own.append(categories)
        elif line.startswith(MUST_BE_UNDERSTOOD):
            notes.append(f"{file.relative_to(raw)}, line {number}: cannot be understood, passed over: {line[:60]!r}")
    return found


def _lines(file: Path) -> list[str]:
    text = read_file(file).decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _dialogue(
    result: RawCorpus,
    raw: Path,
    file: Path,
    evaluations: dict[str, Evaluation],
    modalities: Sequence[str],
    context: str,
) -> None:
    """Add one dialogue to `result`."""
    name = DIALOGUE.fullmatch(file.stem)
    assert name
    session = file.parent.parent.parent
    sentences = session / "sentences" / "wav" / file.stem
    films = {path.stem: path for path in sorted((session / "dialog" / "avi").glob("**/Ses*.avi"))}
    film = films.get(file.stem)
    spoken_before: set[str] = set()
    turn = 0
    for number, line in enumerate(_lines(file), 1):
        place = f"{file.relative_to(raw)}, line {number}"
        if not line.strip() or PASSED_OVER.match(line):
            continue
        spoken = SPOKEN.fullmatch(line.strip())
        if not spoken or float(spoken["end"]) < float(spoken["start"]):
            result.notes.append(f"{place}: cannot be understood, passed over: {line[:60]!r}")
            continue
        if spoken["id"] in spoken_before:
            result.notes.append(f"{place}: a second line for {spoken['id']}, passed over")
            continue
        spoken_before.add(spoken["id"])
        evaluation = evaluations.get(spoken["id"])
        if evaluation is None:
            result.notes.append(f"{place}: {spoken['id']} has no evaluation, passed over")
            continue
        if evaluation.label is None and context == "labelled":
            continue
        sound = sentences / f"{spoken['id']}.wav"
        problems = []
        # If a session has no file of this kind, the copy lacks the modality; if single files are missing, report them.
        if "audio" in modalities and sentences.parent.is_dir() and not sound.is_file():
            problems.append(f"{sound.relative_to(raw)}: no such file")
        if "visual" in modalities and films and not film:
            problems.append(f"{session.name}/dialog/avi/…/{file.stem}.avi: no such file")
        result.speakers.append(f"Ses0{name['session']}{spoken['speaker']}")
        result.rows.append(
            Utterance(
                utterance_id=spoken["id"],
                dialogue_id=file.stem,
                turn=turn,
                speaker=ROLES["iemocap"].index(spoken["speaker"]),
                speaker_name=spoken["speaker"],
                episode=f"Ses0{name['session']}",
                split="test" if name["session"] == TEST_SESSION else "train",
                text=" ".join(spoken["text"].split()),
                label=evaluation.label or "",
                audio=sound.relative_to(raw).as_posix() if "audio" in modalities and sound.is_file() else "",
                video=film.relative_to(raw).as_posix() if "visual" in modalities and film else "",
                start=float(spoken["start"]),
                end=float(spoken["end"]),
                region=LEFT if spoken["speaker"] == name["marked"] else RIGHT,
                problem="; ".join(problems),
            )
        )
        turn += 1
    unspoken = [key for key, one in evaluations.items() if one.label and key not in spoken_before]
    if unspoken:
        result.notes.append(
            f"{file.relative_to(raw)}: has no line for {len(unspoken)} evaluated utterances, first {unspoken[0]}"
        )


def with_validation(rows: list[Utterance], validation: str, seed: int) -> list[Utterance]:
    """Move the train dialogues that `validation` selects to the validation split.

    Args:
        validation: `random20` (a fifth of the dialogues, drawn from `seed`), `cosmic12` or `session4`.
    """
    train = sorted({row.dialogue_id for row in rows if row.split == "train"})
    if validation == "random20":
        drawn = np.random.default_rng(seed).permutation(len(train))[: round(0.2 * len(train))]
        chosen = {train[place] for place in drawn.tolist()}
    elif validation == "cosmic12":
        chosen = set(COSMIC_12) & set(train)
    else:
        chosen = {name for name in train if name[4] == HELD_OUT_SESSION}
    return [replace(row, split="validation") if row.dialogue_id in chosen else row for row in rows]

"""A trained model in Python, for a script or a notebook; docs/predict.md has examples.

    from pipeline.predictor import Predictor

    emotions = Predictor()
    emotions("talk.mp4", "talk.srt")

gives a pandas frame with a row for each utterance, and the columns of predictions.csv.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import pandas as pd

from foundation.errors import UserError
from foundation.files import is_file
from foundation.log import log
from foundation.safe_names import safe_name
from pipeline.prediction import predictor
from pipeline.prediction.recordings import Recording, read_recording
from pipeline.prediction.results import as_rows, warning
from pipeline.prediction.run import transcript_of
from pipeline.prediction.transcripts import Transcript, TranscriptLine, read_transcript
from pipeline.prediction.transcripts.cues import clean

__all__ = ["Predictor", "UserError"]

File = str | PathLike[str]
Utterances = Sequence[str | tuple[str, str]]


class Predictor:
    """A trained model with its encoders, which are loaded once for any number of conversations."""

    def __init__(
        self,
        model: File = "starter",
        *,
        seed: int | None = None,
        text_encoder: str = "",
        audio_encoder: str = "",
        visual_encoder: str = "",
        risk: float | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: a trained model: models/D, a copy of models/D/bundle, a zip of it, or `hf:org/name` on the hub; by
                default the starter, which comes with the project.
            seed: the model of one seed; by default, the average of all.
            text_encoder: where the text encoder lies, if not where it lay when the model was trained. The other two
                are the same for the encoders of sound and of pictures, if they are transformers encoders.
            risk: share of wrong emotions, among those said for sure, that is accepted: what is less sure has 0 in the
                column `sure`. By default all are sure.

        Raises:
            UserError: the model, or an encoder that it needs, is missing or a different one.
        """
        self._predictor = predictor.Predictor(str(model), seed, text_encoder, audio_encoder, visual_encoder, risk)
        if told := warning(self._predictor.bundle):
            log.warning(told)

    @property
    def labels(self) -> list[str]:
        """The emotions, in the order of the columns with their probabilities."""
        return list(self._predictor.bundle.labels)

    def __call__(self, conversation: File | Utterances | None = None, transcript: File | None = None) -> pd.DataFrame:
        """Predict the emotion of every utterance of a conversation.

        Args:
            conversation: the file of a recording; or the utterances themselves, of which there is no recording: each
                a text, or a pair of speaker and text.
            transcript: file of the transcript, in any of the formats of docs/predict.md; by default, the one beside
                the recording. Without a recording, it is predicted from its text, or from the files that it names.

        Returns:
            A row for each utterance, in order, with the columns of predictions.csv: `prediction`, a column for each of
            `labels` with its probability, `sure`, `has_text` and `missing`, `without_text`, ... `attrs["notes"]` says
            what was repaired or left out, and `attrs["warning"]` what must be known about the model.

        Raises:
            UserError: the recording or the transcript cannot be used; the message says why.
        """
        recording = _recording(conversation, transcript)
        (found,) = self._predictor.predict([recording])
        for note in recording.notes:
            log.warning("%s: %s", recording.name, note)
        frame = pd.DataFrame(as_rows(found, self._predictor))
        numbers = [*self.labels, *(name for name in frame if name.startswith("without_")), "start", "end"]
        frame[numbers] = frame[numbers].apply(pd.to_numeric).astype("float64")
        frame.attrs = {"notes": recording.notes, "warning": warning(self._predictor.bundle)}
        return frame


def _recording(conversation: File | Utterances | None, transcript: File | None) -> Recording:
    if conversation is not None and not isinstance(conversation, str | PathLike):
        if transcript is not None:
            raise UserError("transcript: the utterances are given already; leave it out")
        return read_recording("conversation", None, Transcript(_lines(conversation)), Path())
    media = None if conversation is None else Path(conversation)
    if media and not is_file(media):
        raise UserError(f'{media}: no such file. Sentences are given as a list: ["Hello."]')
    if transcript is not None:
        file = Path(transcript)
        return read_recording(safe_name((media or file).stem), media, read_transcript(file), file.parent)
    if media is None:
        raise UserError("nothing to predict: give a recording, a transcript, or a list of utterances")
    return read_recording(safe_name(media.stem), media, *transcript_of(media, ""))


def _lines(utterances: Utterances) -> list[TranscriptLine]:
    found = []
    for number, one in enumerate(utterances, 1):
        parts = ("", one) if isinstance(one, str) else one
        if not isinstance(parts, tuple | list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise UserError(f"utterance {number} is {one!r}: must be a text, or a pair of speaker and text")
        speaker, text = map(clean, parts)  # as a transcript's: half a character, for example, is in no file either
        found.append(TranscriptLine(place=f"utterance {number}", text=text, speaker=speaker))
    if not found:
        raise UserError("there is no utterance: give at least one")
    return found

"""Transcripts: subtitles, tables, meeting exports and plain lines, read to utterances with speakers and times."""

from pipeline.prediction.transcripts.reading import SUFFIXES, read_transcript
from pipeline.prediction.transcripts.transcript import Transcript, TranscriptLine

__all__ = ["SUFFIXES", "Transcript", "TranscriptLine", "read_transcript"]

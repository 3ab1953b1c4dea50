"""Transcripts made on the spot, and what is read from them."""

from pathlib import Path

from pipeline.prediction.transcripts import Transcript, read_transcript


def read(folder: Path, suffix: str, content: str | bytes, name: str = "talk") -> Transcript:
    file = folder / f"{name}{suffix}"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_transcript(file)


def srt(*texts: str, seconds: int = 2) -> str:
    """Subtitles of `seconds` each, one after another."""

    def clock(time: int) -> str:
        return f"{time // 3600:02d}:{time // 60 % 60:02d}:{time % 60:02d},000"

    return "\n".join(
        f"{number}\n{clock(seconds * (number - 1))} --> {clock(seconds * number)}\n{text}\n"
        for number, text in enumerate(texts, 1)
    )


def essence(transcript: Transcript) -> list[tuple]:
    return [(line.speaker, line.text, line.start, line.end) for line in transcript.lines]


def said(transcript: Transcript) -> list[tuple[str, str]]:
    return [(line.speaker, line.text) for line in transcript.lines]

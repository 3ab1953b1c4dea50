"""The work of `python -m pipeline.predict`, for one recording or a folder of them."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from foundation.disk import DiskError, disk_error
from foundation.errors import UserError
from foundation.files import is_file, is_folder, make_folder, resolved
from foundation.log import log
from foundation.safe_names import distinct, safe_name
from pipeline.prediction.annotations import write_annotations
from pipeline.prediction.predictor import Prediction, Predictor
from pipeline.prediction.recordings import MEDIA, Recording, read_recording
from pipeline.prediction.results import as_table, warning, write_results
from pipeline.prediction.transcripts import SUFFIXES, Transcript, read_transcript

TOGETHER = 64
"""Smallest number of utterances extracted together, because starting worker processes takes seconds."""


def recordings_in(folder: Path) -> list[Path]:
    """List the recordings in `folder`, sorted by name; what else is there, but for their transcripts, is logged.

    Hidden files are passed over. A pipe or a broken link that is called as a recording is listed too: whoever reads it
    says what is wrong with it.

    Raises:
        UserError: there are none.
    """
    there = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    files = [file for file in there if file.suffix.lower() in MEDIA and not is_folder(file)]
    if not files:
        raise UserError(f"{folder}: has no recording (a file that ends in {', '.join(MEDIA)})")
    beside = {file.with_suffix(suffix) for file in files for suffix in SUFFIXES}
    if others := [file.name for file in there if file not in beside and file not in files]:
        log.warning("%s: not used, because neither a recording nor the transcript of one: %s. docs/predict.md lists "
                    "the endings of recordings", folder, ", ".join(others))  # fmt: skip
    return files


def transcript_of(media: Path, recogniser: str) -> tuple[Transcript, Path]:
    """Get the transcript next to `media`, or one from the recogniser, and the folder for its relative paths."""
    for suffix in SUFFIXES:
        if is_file(media.with_suffix(suffix)):
            return read_transcript(media.with_suffix(suffix)), media.parent
    if recogniser:
        from pipeline.prediction.recogniser import recognised

        return recognised(media, recogniser), media.parent
    beside = f"{media.stem}.srt (or {', '.join(SUFFIXES[1:])})"
    raise UserError(f"{media}: has no transcript. Give --transcript FILE, or put {beside} beside it, or give "
                    "--recogniser, a folder with a Whisper model or its name on the hub, such as "
                    "openai/whisper-small")  # fmt: skip


def read_all(args: argparse.Namespace) -> Iterator[Recording | UserError]:
    """Yield the recordings given on the command line; for a folder, unusable recordings are yielded as errors."""
    if args.transcript:
        file = args.transcript
        if args.recording and is_folder(args.recording):
            raise UserError(f"{args.recording}: is a folder; each of its recordings needs a transcript of its own "
                            "beside it, without --transcript")  # fmt: skip
        name = safe_name((args.recording or file).stem)
        yield read_recording(name, args.recording, read_transcript(file), file.parent)
    elif args.recording is None:
        raise UserError("nothing to predict: give a recording, or --transcript FILE, or both (`--help` has examples)")
    elif is_folder(args.recording):
        files = recordings_in(args.recording)
        stems = [file.stem for file in files]
        names = distinct([file.name if stems.count(file.stem) > 1 else file.stem for file in files])
        for name, file in zip(names, files, strict=True):
            try:
                yield read_recording(name, file, *transcript_of(file, args.recogniser))
            except Exception as error:  # one recording must not stop the others
                yield unforeseen(file, error)
    else:
        if not is_file(args.recording):
            raise UserError(f"{args.recording}: no such file or folder")
        media = args.recording
        yield read_recording(safe_name(media.stem), media, *transcript_of(media, args.recogniser))


def grouped(recordings: Iterator[Recording | UserError]) -> Iterator[list[Recording | UserError]]:
    """Yield the recordings in groups of at least TOGETHER utterances."""
    group: list[Recording | UserError] = []
    for recording in recordings:
        group.append(recording)
        if sum(len(one.rows) for one in group if isinstance(one, Recording)) >= TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _require_usable_folder(args: argparse.Namespace) -> None:
    """Refuse --out where the results would replace what they are made from, or cannot be written, before any work."""
    written = {"predictions.csv", "predictions.json", "report.html", *(f"predictions.{name}" for name in args.also)}
    for given in (args.recording, args.transcript):
        if args.out and given and given.name in written and resolved(given).parent == resolved(args.out):
            raise UserError(f"{given}: would be overwritten by the results; give another --out")
    if args.out and not is_folder(args.out):
        make_folder(args.out)
        args.out.rmdir()  # it can be made, and a run that is refused leaves none
    if args.out:
        for folder in (args.out / name for name in sorted(written)):
            if is_folder(folder):
                raise UserError(f"{folder}: is a folder, and has the name of a result; give another --out")


def predicted(
    predictor: Predictor, recordings: list[Recording], many: bool
) -> Iterator[tuple[Recording, list[Prediction] | UserError]]:
    """Yield the recordings with their predictions; of `many`, one that fails is tried alone, and fails alone.

    Raises:
        UserError: a recording that is not one of many cannot be predicted, or all fail for the same reason.
    """
    try:
        yield from zip(recordings, predictor.predict(recordings) if recordings else [], strict=True)
        return
    except Exception as error:
        if not many or disk_error(error) or isinstance(error, DiskError):
            raise
    found: list[list[Prediction] | UserError] = []
    for recording in recordings:
        try:
            found += predictor.predict([recording])
        except Exception as error:
            found.append(unforeseen(Path(recording.name), error))
    reasons = {str(one) for one in found if isinstance(one, UserError)}
    if len(recordings) > 1 and len(reasons) == 1 and all(isinstance(one, UserError) for one in found):
        raise UserError(reasons.pop())
    yield from zip(recordings, found, strict=True)


def unforeseen(file: Path, error: Exception) -> UserError:
    """What is said of a recording that cannot be used, whatever was raised."""
    if isinstance(error, UserError):
        return error
    log.debug("%s", file, exc_info=True)
    return UserError(f"{file}: cannot be used ({type(error).__name__}: {' '.join(str(error).split())})")


def run(args: argparse.Namespace) -> None:
    began = time.monotonic()
    _require_usable_folder(args)
    predictor = Predictor(args.model, args.seed, args.text_encoder, args.audio_encoder, args.visual_encoder,
                          args.risk)  # fmt: skip
    seconds, failed = 0.0, []
    many = args.recording is not None and is_folder(args.recording)
    for group in grouped(read_all(args)):
        failed += [str(error) for error in group if isinstance(error, UserError)]
        recordings = [one for one in group if isinstance(one, Recording)]
        for recording, found in predicted(predictor, recordings, many):
            name = safe_name(resolved(args.recording).name) if many else recording.name
            base = args.out or Path("predictions") / name
            out = base / recording.name if many else base
            try:
                if isinstance(found, UserError):
                    raise found
                write_results(recording, found, predictor, out)
                write_annotations(recording, found, predictor.bundle.labels, args.also, out, warning(predictor.bundle))
            except Exception as error:  # one recording must not stop the others, unless the disk is full
                if not many or disk_error(error) or isinstance(error, DiskError):
                    raise
                failed.append(str(unforeseen(Path(recording.name), error)))
                continue
            print("\n".join([*([f"\n{recording.name}"] if many else []),
                             *as_table(recording, found, predictor.bundle)]))  # fmt: skip
            log.info("%s: %d utterances; look at %s", out, len(found), out / "report.html")
            seconds += recording.seconds
    took = time.monotonic() - began
    if seconds:
        log.info("%.1f s of recording in %.1f s: real-time factor %.2f", seconds, took, took / seconds)
    for reason in failed:
        log.error("no prediction: %s", reason)
    if failed:
        raise UserError(f"{len(failed)} recordings failed; the reasons stand above")

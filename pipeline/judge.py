"""What prediction does: recordings and transcripts through the extractors and models of a bundle, to files."""

import argparse
import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from extractors import reduction
from extractors.cache import CacheError, WorkCache
from extractors.device import device
from extractors.faces import Faces
from extractors.media import ContentError
from extractors.result import Extractor, ExtractorError, Result
from extractors.visual import VisualExtractor
from model.batching import Corpus
from model.cmath import Cmath
from model.interface import ErcModel
from model.training import predict, prepare_torch
from pipeline.bundle import read_bundle
from pipeline.bundle_extractors import make_extractor
from pipeline.extract import KIND, as_features, by_key, extract
from pipeline.params import MODALITIES
from pipeline.recordings import MEDIA, Recording, read_recording
from pipeline.report import write_report
from pipeline.stage import StageError, cache_folder, log
from pipeline.transcripts import SUFFIXES, Transcript, read_transcript
from pipeline.utterances import Utterance

TOGETHER = 64
"""Utterances of a folder's recordings extracted together: worker processes take seconds to start."""
THUMBNAILS = 6


@dataclass(slots=True, kw_only=True)
class Judgement:
    """What the model says of one utterance."""

    row: Utterance
    speaker: str
    probabilities: np.ndarray
    """[C], the mean over the seeds."""
    missing: dict[str, str]
    """Of each modality that is not there, why."""
    gates: dict[str, float] = field(default_factory=dict)
    """Share of each modality in Eq. 12, averaged over width, seeds and the centres that are present; empty for a model
    without gates."""
    centres: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same of each central modality's gate alone."""
    crops: np.ndarray | None = None
    """Some of the faces used, uint8 [faces, 64, 64]."""
    faces: int = 0
    """Number of all faces used."""


class Predictor:
    """A bundle with its encoders: loaded once, used for any number of recordings."""

    def __init__(self, folder: Path, seed: int | None = None, text_encoder: str = "") -> None:
        """`seed` chooses one model instead of the average; `text_encoder` is where a copy of the encoder lies.

        Raises:
            StageError: the bundle, or an encoder that it needs, is missing or another one.
        """
        prepare_torch()
        self.bundle = read_bundle(folder)
        seeds = self.bundle.seeds if seed is None else [seed]
        if seeds[0] not in self.bundle.seeds:
            raise StageError(f"--seed {seed}: {folder} has the seeds {', '.join(map(str, self.bundle.seeds))}")
        self.seeds = seeds
        self.networks = [self.bundle.network(number).to(device()).eval() for number in seeds]
        self.modalities = [name for name in MODALITIES if name in self.bundle.config["dims"]]
        self.text_encoder = text_encoder
        self._extractors: dict[str, Extractor] = {}

    def judge(self, recordings: list[Recording]) -> list[list[Judgement]]:
        """Each recording's judgements, utterances in conversation order.

        Raises:
            StageError: an encoder is missing, or extraction cannot go on.
        """
        rows = [row for recording in recordings for row in recording.rows]
        found = [
            Judgement(row=row, speaker=line.speaker, probabilities=np.zeros(0), missing={})
            for recording in recordings
            for row, line in zip(recording.rows, recording.lines, strict=True)
        ]
        features: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for modality in self.modalities:
            try:
                features[modality], present[modality] = self._features(modality, rows, found)
            except (ExtractorError, CacheError, ContentError) as error:
                raise StageError(str(error)) from None
        known = self.bundle.config["speakers"]
        speaker = torch.tensor([min(row.speaker, known - 1) for row in rows])
        corpus = Corpus(features, present, speaker, torch.zeros(len(rows), dtype=torch.int64), {})
        begin = 0
        for recording in recordings:
            spoken = 1 + max(row.speaker for row in recording.rows)
            if spoken > known:
                recording.notes.append(f"{spoken} people speak, and the model knows conversations of at most {known}: "
                                       "it takes those who come last for one")  # fmt: skip
            parts = -(-len(recording.rows) // self.bundle.turns)
            if parts > 1:
                recording.notes.append(f"longer than any conversation that the model knows ({self.bundle.turns} "
                                       f"turns): judged in {parts} parts")  # fmt: skip
            end = begin + len(recording.rows)
            for places in np.array_split(np.arange(begin, end), parts):
                self._judge_part(replace_dialogue(corpus, torch.from_numpy(places)), [found[i] for i in places])
            begin = end
        places = np.cumsum([0, *(len(recording.rows) for recording in recordings)])
        return [found[int(begin) : int(end)] for begin, end in pairwise(places)]

    def _features(self, modality: str, rows: list[Utterance], found: list[Judgement]) -> tuple[Tensor, Tensor]:
        """Standardised features [utterances, F] and which are there; tells `found` why some are not."""
        values = np.zeros((len(rows), self.bundle.config["dims"][modality]), np.float32)
        there = np.zeros(len(rows), bool)
        keys: list[str | None] = [None] * len(rows)
        results: dict[str, Result] = {}
        if any(getattr(row, KIND[modality]) for row in rows):
            extractor = self._extractor(modality)
            keys = [extractor.key(row) for row in rows]
            results, _ = extract(extractor, by_key(keys, rows), modality)
            made = as_features(extractor, keys, results)
            values, there = made.values, made.present
            if modality == "audio" and self.bundle.reduction:
                reduced = reduction.Reduction(self.bundle.reduction)(values)
                values = np.where(there[:, None], reduced, np.float32(0))
            if isinstance(extractor, VisualExtractor):
                _show_faces(extractor, keys, results, found)
        for judgement, key, row in zip(found, keys, rows, strict=True):
            if key is None:
                judgement.missing[modality] = row.problem or ("no text" if modality == "text" else "no recording")
            elif results[key].vector is None:
                judgement.missing[modality] = results[key].reason
        present = torch.from_numpy(there)
        return self.bundle.scalers[modality](torch.from_numpy(values), present), present

    def _extractor(self, modality: str) -> Extractor:
        if modality not in self._extractors:
            self._extractors[modality] = make_extractor(modality, self.bundle, self.text_encoder)
        return self._extractors[modality]

    @torch.inference_mode()
    def _judge_part(self, corpus: Corpus, found: list[Judgement]) -> None:
        """Give `found`, the utterances of the only dialogue of `corpus`, their probabilities and gates."""
        probabilities = []
        gates: dict[str, list[Tensor]] = {}
        for network in self.networks:
            watched = watch_gates(network)
            probabilities.append(predict(network, corpus, "test", device())[0].double().softmax(1).numpy())
            for centre, handle, seen in watched:
                handle.remove()
                gates.setdefault(centre, []).append(seen[0])
        mean = np.mean(probabilities, axis=0)
        where = corpus.dialogues["test"][0]
        for turn, judgement in enumerate(found):
            judgement.probabilities = mean[turn]
            for centre, of_seeds in gates.items():
                weight = torch.stack(of_seeds).mean(0)[:, turn]
                share = (weight / weight.sum()).tolist()
                names = [centre, *(name for name in self.bundle.config["dims"] if name != centre)]
                judgement.centres[centre] = dict(zip(names, share, strict=True))
            there = [name for name in gates if corpus.present[name][where[turn]]] or list(gates)
            judgement.gates = {
                name: float(np.mean([judgement.centres[centre][name] for centre in there])) for name in gates
            }


def replace_dialogue(corpus: Corpus, positions: Tensor) -> Corpus:
    return replace(corpus, dialogues={"test": [positions]})


def watch_gates(network: ErcModel) -> list[tuple[str, torch.utils.hooks.RemovableHandle, list[Tensor]]]:
    """For each gate of Eq. 12 its central modality, and a list that gets its weights, [sources, T], of one dialogue."""
    if not isinstance(network, Cmath) or network.transformer is None:
        return []
    watched = []
    for centre, transformer in network.transformer.items():
        gate = transformer.get_submodule("gate")
        seen: list[Tensor] = []

        def keep(gate: torch.nn.Module, given: tuple, _: Tensor, seen: list[Tensor] = seen) -> None:
            seen.append(gate.weights(*given).mean(-1)[:, 0].float().cpu())  # type: ignore[operator]

        watched.append((centre, gate.register_forward_hook(keep), seen))
    return watched


def _show_faces(
    extractor: VisualExtractor, keys: list[str | None], results: dict[str, Result], found: list[Judgement]
) -> None:
    """Give `found` some of the faces that their features were made of."""
    cache = WorkCache(cache_folder())
    for judgement, key in zip(found, keys, strict=True):
        if key and results[key].vector is not None:
            crops = Faces.from_bytes(cache.get(extractor.faces, [key])[key]).crops
            places = np.linspace(0, len(crops) - 1, min(THUMBNAILS, len(crops))).round().astype(int)
            judgement.crops, judgement.faces = crops[places], len(crops)
    cache.close()


def write_results(recording: Recording, found: list[Judgement], predictor: Predictor, out: Path) -> None:
    """predictions.csv, predictions.json and report.html of one recording."""
    out.mkdir(parents=True, exist_ok=True)
    labels = predictor.bundle.labels
    utterances = [as_entry(judgement, labels, predictor.modalities) for judgement in found]
    flat = [_flat(entry) for entry in utterances]
    with (out / "predictions.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, flat[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    content = {
        "recording": recording.name,
        "files": [file.name for file in recording.files],
        "model": {"corpus": predictor.bundle.corpus, "name": predictor.bundle.model, "seeds": predictor.seeds},
        "labels": labels,
        "notes": recording.notes,
        "utterances": utterances,
    }
    (out / "predictions.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    write_report(content, [judgement.crops for judgement in found], recording, out / "report.html")


def as_entry(judgement: Judgement, labels: Sequence[str], modalities: list[str]) -> dict:
    """A judgement as predictions.json has it."""
    row = judgement.row
    shares = [round(float(share), 6) for share in judgement.probabilities]
    return {
        "utterance_id": row.utterance_id,
        "speaker": judgement.speaker,
        "start": row.start,
        "end": row.end,
        "text": row.text,
        "prediction": labels[int(judgement.probabilities.argmax())],
        "probabilities": dict(zip(labels, shares, strict=True)),
        "present": {name: name not in judgement.missing for name in modalities},
        "missing": judgement.missing,
        "faces": judgement.faces,
        "gates": {name: round(share, 4) for name, share in judgement.gates.items()},
        "centres": {
            centre: {name: round(share, 4) for name, share in shares_of.items()}
            for centre, shares_of in judgement.centres.items()
        },
    }


def _flat(entry: dict) -> dict:
    """The same as a row of predictions.csv."""
    first = {name: entry[name] for name in ("utterance_id", "speaker", "start", "end", "text", "prediction")}
    present = {f"has_{name}": int(there) for name, there in entry["present"].items()}
    gates = {f"gate_{name}": share for name, share in entry["gates"].items()}
    missing = {"missing": "; ".join(f"{name}: {reason}" for name, reason in entry["missing"].items())}
    shares = {label: f"{share:.6f}" for label, share in entry["probabilities"].items()}
    return first | shares | present | gates | missing


def as_table(recording: Recording, found: list[Judgement], labels: Sequence[str]) -> Iterator[str]:
    """Lines for the terminal."""
    width = max(len(label) for label in labels)
    names = max(7, *(len(judgement.speaker[:16]) for judgement in found))
    yield f"{'time':>9}  {'speaker':<{names}}  {'emotion':<{width}}  share  heard  text"
    for judgement in found:
        start = judgement.row.start
        clock = "" if start is None else f"{int(start // 60):d}:{start % 60:05.2f}"
        heard = "".join(name[0] if name not in judgement.missing else "-" for name in MODALITIES)
        best = int(judgement.probabilities.argmax())
        yield (f"{clock:>9}  {judgement.speaker[:16]:<{names}}  {labels[best]:<{width}}  "
               f"{judgement.probabilities[best]:5.2f}  {heard:<5}  {judgement.row.text[:60]}")  # fmt: skip
    for note in recording.notes:
        yield f"note: {note}"


def recordings_in(folder: Path) -> list[Path]:
    """The media files of `folder` by name.

    Raises:
        StageError: there are none.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in MEDIA and file.is_file())
    if not files:
        raise StageError(f"{folder}: has no recording (a file that ends in {', '.join(MEDIA)})")
    return files


def transcript_of(media: Path, recogniser: str) -> tuple[Transcript, Path]:
    """The transcript beside `media`, or what a recogniser hears, and the folder from which its paths count."""
    for suffix in SUFFIXES:
        if media.with_suffix(suffix).is_file():
            return read_transcript(media.with_suffix(suffix)), media.parent
    if recogniser:
        from pipeline.recognise import recognised

        return recognised(media, recogniser), media.parent
    beside = f"{media.stem}.srt (or {', '.join(SUFFIXES[1:])})"
    raise StageError(f"{media}: has no transcript. Give --transcript FILE, or put {beside} beside it, or give "
                     "--recogniser, a folder with a Whisper model or its name on the hub, such as "
                     "openai/whisper-small")  # fmt: skip


def read_all(args: argparse.Namespace) -> Iterator[Recording | StageError]:
    """The recordings that the command line names; of a folder also those that cannot be used, as errors."""
    if args.transcript:
        file = args.transcript
        if args.recording and args.recording.is_dir():
            raise StageError(f"{args.recording}: is a folder; each of its recordings needs a transcript of its own "
                             "beside it, without --transcript")  # fmt: skip
        name = (args.recording or file).stem
        yield read_recording(name, args.recording, read_transcript(file), file.parent)
    elif args.recording is None:
        raise StageError("nothing to judge: give a recording, or --transcript FILE, or both (`--help` has examples)")
    elif args.recording.is_dir():
        files = recordings_in(args.recording)
        stems = [file.stem for file in files]
        for file in files:
            try:
                name = file.name if stems.count(file.stem) > 1 else file.stem
                yield read_recording(name, file, *transcript_of(file, args.recogniser))
            except StageError as error:
                yield error
    else:
        if not args.recording.is_file():
            raise StageError(f"{args.recording}: no such file or folder")
        yield read_recording(args.recording.stem, args.recording, *transcript_of(args.recording, args.recogniser))


def grouped(recordings: Iterator[Recording | StageError]) -> Iterator[list[Recording | StageError]]:
    """The recordings in groups of at least TOGETHER utterances."""
    group: list[Recording | StageError] = []
    for recording in recordings:
        group.append(recording)
        if sum(len(one.rows) for one in group if isinstance(one, Recording)) >= TOGETHER:
            yield group
            group = []
    if group:
        yield group


def run(args: argparse.Namespace) -> None:
    began = time.monotonic()
    predictor = Predictor(args.model, args.seed, args.text_encoder)
    seconds, failed = 0.0, []
    many = args.recording is not None and args.recording.is_dir()
    for group in grouped(read_all(args)):
        failed += [str(error) for error in group if isinstance(error, StageError)]
        recordings = [one for one in group if isinstance(one, Recording)]
        for recording, found in zip(recordings, predictor.judge(recordings) if recordings else [], strict=True):
            base = args.out or Path("predictions") / (args.recording.resolve().name if many else recording.name)
            out = base / recording.name if many else base
            write_results(recording, found, predictor, out)
            print("\n".join([*([f"\n{recording.name}"] if many else []),
                             *as_table(recording, found, predictor.bundle.labels)]))  # fmt: skip
            log.info("%s: %d utterances; look at %s", out, len(found), out / "report.html")
            seconds += recording.seconds
    took = time.monotonic() - began
    if seconds:
        log.info("%.1f s of recording in %.1f s: real-time factor %.2f", seconds, took, took / seconds)
    for error in failed:
        log.error("not judged: %s", error)
    if failed:
        raise StageError(f"{len(failed)} recordings could not be judged; their reasons stand above")

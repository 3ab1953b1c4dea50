"""Output of predictions to files and to the terminal."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from foundation.files import open_whole, write_whole
from pipeline.bundle import Bundle
from pipeline.params import MODALITIES
from pipeline.prediction.predictor import Prediction, Predictor
from pipeline.prediction.recordings import Recording
from pipeline.prediction.report import write_report
from pipeline.prediction.summary import by_speaker


def write_results(recording: Recording, found: list[Prediction], predictor: Predictor, out: Path) -> None:
    """Write predictions.csv, predictions.json and report.html of one recording."""
    bundle = predictor.bundle
    utterances = [as_entry(prediction, bundle.labels, predictor.modalities) for prediction in found]
    flat = as_rows(found, predictor)
    with open_whole(out / "predictions.csv") as stream:
        writer = csv.DictWriter(stream, flat[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    content = {
        "recording": recording.name,
        "files": [file.name for file in recording.files],
        "model": {
            "corpus": bundle.corpus,
            "synthetic": bundle.synthetic,
            "name": bundle.model,
            "seeds": predictor.seeds,
            "modalities": predictor.modalities,
        },
        "labels": bundle.labels,
        "warning": warning(bundle),
        "risk": predictor.risk,
        "threshold": None if predictor.kept is None else predictor.kept.threshold,
        "notes": recording.notes,
        "speakers": by_speaker(utterances, bundle.labels),
        "utterances": utterances,
    }
    write_whole(out / "predictions.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    write_report(content, [prediction.crops for prediction in found], recording, out / "report.html")


def as_rows(found: list[Prediction], predictor: Predictor) -> list[dict]:
    """The rows of predictions.csv."""
    entries = [as_entry(prediction, predictor.bundle.labels, predictor.modalities) for prediction in found]
    return [_flat(entry) | {"trained_on": trained_on(predictor.bundle)} for entry in entries]


def trained_on(bundle: Bundle) -> str:
    """The training corpus, as the output files name it."""
    return f"{bundle.corpus} (synthetic)" if bundle.synthetic else bundle.corpus


def warning(bundle: Bundle) -> str:
    """What must be known about the model before its probabilities are read; empty if there is nothing."""
    if bundle.assembled:
        return (f"The model was trained on {bundle.corpus}: lines of a television series, voices of actors and "
                "pictures of faces from the web, put together by chance. How sure it says to be was measured on such "
                "material, and not on people who talk.")  # fmt: skip
    if not bundle.synthetic:
        return ""
    return (f"The model was trained on {bundle.corpus}, a synthetic corpus of artificial voices and drawn faces: its "
            "probabilities mean nothing for real people.")  # fmt: skip


def as_entry(prediction: Prediction, labels: Sequence[str], modalities: list[str]) -> dict:
    """Convert a prediction to an entry of predictions.json."""
    row = prediction.row
    shares = [round(float(share), 6) for share in prediction.probabilities]
    return {
        "utterance_id": row.utterance_id,
        "speaker": prediction.speaker,
        "start": prediction.start,
        "end": prediction.end,
        "text": row.text,
        "prediction": labels[prediction.label],
        "sure": prediction.sure,
        "probabilities": dict(zip(labels, shares, strict=True)),
        "present": {name: name not in prediction.missing for name in modalities},
        "missing": prediction.missing,
        "faces": prediction.faces,
        "without": {name: None if share is None else round(share, 6) for name, share in prediction.without.items()},
    }


def _flat(entry: dict) -> dict:
    """Convert an entry of predictions.json to a row of predictions.csv."""
    first = {name: entry[name] for name in ("utterance_id", "speaker", "start", "end", "text", "prediction")}
    first["sure"] = int(entry["sure"])
    present = {f"has_{name}": int(there) for name, there in entry["present"].items()}
    without = {f"without_{name}": "" if share is None else f"{share:.6f}" for name, share in entry["without"].items()}
    missing = {"missing": "; ".join(f"{name}: {reason}" for name, reason in entry["missing"].items())}
    shares = {label: f"{share:.6f}" for label, share in entry["probabilities"].items()}
    return first | shares | present | without | missing


def as_table(recording: Recording, found: list[Prediction], bundle: Bundle) -> Iterator[str]:
    """Yield the lines of the table for the terminal."""
    labels, known = bundle.labels, set(bundle.config["dims"])
    if told := warning(bundle):
        yield f"{'SYNTHETIC' if bundle.synthetic else 'NOTE'}: {told}"
    said = [prediction.said(labels) for prediction in found]
    width = max(len(words) for words in [*labels, *said])
    names = max(7, *(len(prediction.speaker[:16]) for prediction in found))
    yield f"{'time':>9}  {'speaker':<{names}}  {'emotion':<{width}}  share  heard  text"
    for prediction, words in zip(found, said, strict=True):
        start = None if prediction.start is None else round(prediction.start, 2)
        clock = "" if start is None else f"{int(start // 60):d}:{start % 60:05.2f}"
        heard = "".join(name[0] if name in known - prediction.missing.keys() else "-" for name in MODALITIES)
        share = prediction.probabilities[prediction.label]
        yield (f"{clock:>9}  {prediction.speaker[:16]:<{names}}  {words:<{width}}  {share:5.2f}  "
               f"{heard:<5}  {prediction.row.text[:60]}")  # fmt: skip
    for note in recording.notes:
        yield f"note: {note}"

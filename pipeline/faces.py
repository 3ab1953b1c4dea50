"""faces@D: draws results/D/faces.png, sampled frames with the detected faces, and the crops that the encoder sees.

For an encoder of whole frames (`crop: frame`) it draws these, and no faces are looked for.

Look at it before you trust the visual features. Errors such as the wrong half of a split screen, a poster that is
steadier than the speaker, or crops without a chin are visible here, but not in the scores.
"""

import argparse
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from extractors.features import read_features
from extractors.media import MediaError, joints_of, require_parts
from extractors.result import clip_of
from extractors.settings import VisualSettings
from extractors.utterance import Utterance
from extractors.visual.boxes import KnownFaces
from extractors.visual.faces import chosen_places, crop, detector, followed, square, watched
from extractors.visual.tracks import Box
from foundation.files import whole
from foundation.log import log
from pipeline.corpora.index_file import read_index
from pipeline.params import Params
from pipeline.scoring.fonts import drawable
from pipeline.stage import parser, raw_folder, start

UTTERANCES = 10
"""Number of utterances (rows of the sheet), spread evenly over the corpus."""
SHOWN = 3
"""Number of frames shown per utterance, spread evenly over the clip."""
MOST_FRAMES = 60
"""Largest number of frames searched per utterance, so only the beginning of a long clip is used."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Sampled pictures of an utterance and the faces detected in them."""

    row: Utterance
    pictures: list[np.ndarray]
    boxes: list[list[Box]]
    """Boxes of the faces in each picture."""
    chosen: list[int | None]
    """Position of the speaker's box in each picture, or None."""
    problem: str = ""
    searched: bool = True
    """Whether faces were looked for."""


def run(args: argparse.Namespace, params: Params) -> None:
    rows = read_index(Path("data") / args.corpus / "index.csv")
    file = Path("data") / args.corpus / "features" / "visual.safetensors"
    features = read_features(file, len(rows))
    # The index of published feature files names vectors where others name films.
    filmed = [row for row in rows if row.video] if params.index[args.corpus].reader != "features" else []
    places = np.linspace(0, len(filmed) - 1, min(UTTERANCES, len(filmed))).round().astype(int)
    settings, raw = params.visual[args.corpus], raw_folder(args.corpus, params)
    samples = [sample(filmed[place], raw, settings) for place in places]
    sheet = Path("results") / args.corpus / "faces.png"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    what = "a face in" if settings.crop == "face" else "frames of"
    number = int(features.present.sum())
    title = f"{args.corpus}: {what} {number} of {len(filmed)} clips" if filmed else f"{args.corpus}: no video"
    normalisation = None if "colour" in features.identity else features.identity.get("whitening", (128.0, 64.0))
    draw(samples, title, normalisation, settings.margin, sheet)
    log.info("%s: %d utterances drawn; %s", sheet, len(samples), title.partition(": ")[2])


def sample(row: Utterance, raw: Path, settings: VisualSettings) -> Sample:
    """Detect faces as the extractor does; a clip that cannot be decoded gives a sample with a problem."""
    clip = clip_of("", row, "video", raw)
    require_parts(clip.parts)
    shown, lips = watched(clip, settings.model_dump())
    try:
        timed = list(islice(shown, MOST_FRAMES))
    except MediaError as error:
        return Sample(row, [], [], [], str(error))
    pictures = [picture for _, picture in timed]
    if settings.crop == "frame":
        return Sample(row, pictures, [[] for _ in pictures], [None for _ in pictures], searched=False)
    if settings.speaker == "boxes" and row.boxes:
        known = KnownFaces(row.boxes, joints_of(clip.parts))
        there = [known.at(time) for time, _ in timed]
        return Sample(row, pictures, [[box] if box else [] for box in there], [0 if box else None for box in there])
    detect = detector(settings.detector, settings.min_face, settings.first_look)
    boxes = [found for _, found in followed(pictures, detect, settings.detect_every)]
    with_face = [place for place, found in enumerate(boxes) if found]
    chosen: list[int | None] = [None] * len(pictures)
    taken = chosen_places([boxes[place] for place in with_face], with_face, lips)
    for place, box in zip(with_face, taken, strict=True):
        chosen[place] = box
    return Sample(row, pictures, boxes, chosen)


def draw(
    samples: list[Sample], title: str, normalisation: tuple[float, float] | None, margin: float, file: Path
) -> None:
    """Draw one row per utterance: frames with all boxes (the speaker's in vermilion), then the crops.

    Crops are grey and normalised, or in colour if there is no `normalisation`.
    """
    height = max(1, len(samples))
    figure, grid = plt.subplots(
        height, 2 * SHOWN, figsize=(2.1 * 2 * SHOWN, 1.75 * height), squeeze=False, layout="constrained"
    )
    figure.suptitle(f"{title}. Left: frames; right: what the encoder sees")
    for axes in grid.flat:
        axes.set_axis_off()
    names = drawable([one.row.utterance_id for one in samples], "utterance")
    labels = list(dict.fromkeys(one.row.label for one in samples))
    words = dict(zip(labels, drawable(labels), strict=True))
    for line, one, name in zip(grid, samples, names, strict=False):
        found = sum(box is not None for box in one.chosen)
        frames_of = (
            f"{found} of {len(one.pictures)} frames with a face" if one.searched else f"{len(one.pictures)} frames"
        )
        what = one.problem or frames_of
        line[0].set_title(f"{name} ({words[one.row.label] or 'no label'}): {what}", fontsize=8, loc="left")
        places = np.linspace(0, len(one.pictures) - 1, min(SHOWN, len(one.pictures))).round().astype(int)
        for column, place in enumerate(places):
            line[column].imshow(one.pictures[place])
            for number, (left, top, width, tall) in enumerate(one.boxes[place]):
                speaker = number == one.chosen[place]
                colour = "#d55e00" if speaker else "#56b4e9"
                line[column].add_patch(
                    Rectangle((left, top), width, tall, fill=False, edgecolor=colour, linewidth=2 if speaker else 1)
                )
            box = one.chosen[place]
            if box is not None:
                where = one.pictures[place], one.boxes[place][box], margin
                if normalisation is None:
                    line[SHOWN + column].imshow(square(*where))
                    continue
                face = (crop(*where).astype(float) - normalisation[0]) / normalisation[1]
                line[SHOWN + column].imshow(face, cmap="gray", vmin=-2.5, vmax=2.5)
    with whole(file) as half:
        figure.savefig(half, dpi=90, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    start(run, parser(__doc__))

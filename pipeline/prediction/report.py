"""report.html: a self-contained page that shows a recording and its predictions, and needs no network.

A small recording that browsers can play is embedded; a large one is linked. For formats that browsers cannot play (avi,
flv, mpg) or in which they cannot jump (no duration, a clock that does not start at zero), and for several clips of one
conversation, a small copy is made.
"""

import base64
import gc
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import av
import cv2
import jinja2
import numpy as np

from extractors.media import RATE, MediaError, chosen, media_info, open_container, pictures, read_sound, usable
from foundation.files import write_whole
from foundation.progress import Progress
from pipeline.prediction.recordings import Recording
from pipeline.prediction.summary import curves
from pipeline.prediction.voice import drawn, voice_of

EMBEDDED = 20 * 2**20
"""Largest size in bytes of a recording that is embedded in the page."""
PLAYED = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".wav": "audio/wav", ".mp3": "audio/mpeg",
    ".flac": "audio/flac", ".m4a": "audio/mp4", ".ogg": "audio/ogg",
}  # fmt: skip
CODECS = {"h264", "vp8", "vp9", "av1", "aac", "mp3", "opus", "vorbis", "flac", "pcm_s16le"}
"""Codecs that current browsers decode."""
ROUNDING = 0.1
"""Seconds by which what a browser takes for start and duration may differ from what they are."""
HEIGHT, FPS, SAMPLES = 360, 15, 1024
"""Limits of the copy: height in pixels, pictures per second; and samples per sound frame."""
COLOURS = {
    "neutral": "#999999", "surprise": "#cc79a7", "fear": "#56b4e9", "sadness": "#0072b2", "joy": "#f0e442",
    "disgust": "#009e73", "anger": "#d55e00", "sad": "#0072b2", "happy": "#f0e442", "angry": "#d55e00",
    "excited": "#e69f00", "frustrated": "#cc79a7",
}  # fmt: skip
"""Colours of Okabe and Ito, which colour-blind readers can tell apart; the label is always shown as text too."""
OTHERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
DARK = ("#0072b2", "#d55e00", "#009e73")
"""Colours on which white letters are read better than black ones."""
NAMES = {"text": "text", "audio": "voice", "visual": "face"}
"""Words of the page for the modalities."""


def write_report(content: dict, crops: Sequence[np.ndarray | None], recording: Recording, file: Path) -> None:
    """Write the page.

    Args:
        content: content of predictions.json.
        crops: some of the used faces of each utterance, uint8 [faces, 64, 64] or, in RGB, [faces, 64, 64, 3].
    """
    player, places = make_player(recording, file)
    with Progress(total=len(recording.rows), initial=0, what="voices", unit="utterance") as progress:
        voices = []
        for row in recording.rows:
            voices.append(voice_of(row))
            progress.update()
    drawings = drawn(voices)
    lanes = {one["speaker"].casefold(): number for number, one in enumerate(content["speakers"])}
    utterances: list[dict] = []
    for number, (entry, faces) in enumerate(zip(content["utterances"], crops, strict=True)):
        begin, until = _interval(recording, number, places, utterances[-1]["until"] if utterances else 0.0)
        lane = lanes[entry["speaker"].casefold()]
        shown = {"begin": begin, "until": until, "lane": lane, "strip": _strip(faces), "voice": drawings[number]}
        utterances.append({**entry, **shown})
    labels = content["labels"]
    length = max([*(entry["until"] for entry in utterances), player.get("seconds", 0.0)])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # labels keep their order
    page = environment.get_template("report.html.jinja").render(
        content=content,
        utterances=utterances,
        speakers=content["speakers"],
        curves=curves(utterances, labels, length),
        player=player,
        length=length,
        colours=colours_of(labels),
        dark=DARK,
        names=NAMES,
        # What the page's script needs; pictures and paths stand in the page once.
        plain=[
            {name: value for name, value in entry.items() if name not in ("strip", "voice")} for entry in utterances
        ],
    )
    write_whole(file, page)


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Colour of each label: the usual one of an emotion, else one that no other label has, as long as there are any."""
    chosen = {label: COLOURS[label.lower()] for label in labels if label.lower() in COLOURS}
    others = [label for label in labels if label not in chosen]
    left = [colour for colour in OTHERS if colour not in chosen.values()] or list(OTHERS)
    chosen |= {label: left[place % len(left)] for place, label in enumerate(others)}
    return {label: chosen[label] for label in labels}


def _interval(
    recording: Recording, number: int, places: dict[str, tuple[float, float]], before: float
) -> tuple[float, float]:
    """Begin and end of utterance `number` on the page's time line.

    An utterance is where its film has it, or its own sound if it has no film. Without either it is where the transcript
    has it; and where that has no times, or those of several files, it stands where the one `before` ends, or without
    any media takes a second.
    """
    row = recording.rows[number]
    film = recording.films[number] if recording.films else row.video
    path, start, end = film, row.start, row.end
    if path not in places:
        path, start, end = row.audio, row.audio_start, row.audio_end
    if path not in places and all(line.start is not None and not line.file for line in recording.lines):
        line, last = recording.lines[number], recording.seconds if places else np.inf
        begin = min(line.start or 0.0, last)
        return begin, max(begin + 0.05, min(last, begin + 1.0 if line.end is None else line.end))
    if path not in places:
        return (before, before + 0.05) if places else (float(number), number + 1.0)
    offset, seconds = places[path]
    begin = min(offset + (start or 0.0), offset + seconds)
    return begin, max(begin + 0.05, min(offset + seconds, offset + (seconds if end is None else end)))


def _strip(faces: np.ndarray | None) -> str:
    """Faces side by side as a PNG data URL, or an empty string."""
    if faces is None or not len(faces):
        return ""
    strip = np.hstack(list(faces))
    shown = cv2.cvtColor(strip, cv2.COLOR_RGB2BGR) if strip.ndim == 3 else strip
    return _data(cv2.imencode(".png", shown)[1].tobytes(), "image/png")


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def make_player(recording: Recording, file: Path) -> tuple[dict, dict[str, tuple[float, float]]]:
    """Prepare what the page plays.

    Returns:
        The player (kind, source, seconds, note); and start and duration of each media file on its time line.
    """
    places, offset = {}, 0.0
    films = recording.films or [row.video for row in recording.rows]
    shown = dict.fromkeys(film or row.audio for film, row in zip(films, recording.rows, strict=True))
    files = []
    for path in filter(None, shown):
        seconds = _seconds(path, recording)
        if seconds:
            files.append(Path(path))
            places[path] = (offset, seconds)
            offset += seconds
    if not files:
        return {}, {}
    first = files[0]
    copy = file.with_name("recording.mp4")
    if copy.resolve() in [path.resolve() for path in files]:  # which a user called so, and put where the results go
        copy = file.with_name("recording.copy.mp4")
    copy.unlink(missing_ok=True)
    source, kind = first, PLAYED.get(first.suffix.lower(), "")
    try:
        if len(files) > 1 or not kind or not _plays(first):
            write_copy(files, copy)
            source, kind = copy, "video/mp4" if _size(files) else "audio/mp4"
    except Exception as error:  # the page is of use without a player
        copy.unlink(missing_ok=True)
        return {"note": f"The recording cannot be shown here ({error}).", "seconds": offset}, places
    player = {"kind": kind, "seconds": offset, "note": ""}
    if source.stat().st_size <= EMBEDDED:
        player["source"] = _data(source.read_bytes(), kind)
        copy.unlink(missing_ok=True)
    else:
        path = Path(os.path.relpath(source.resolve(), file.parent.resolve())).as_posix()
        player["source"] = quote(os.fsencode(path))
        player["note"] = f"The recording is too large to be inside this page, which looks for it at {path}."
    return player, places


def _seconds(path: str, recording: Recording) -> float:
    """Duration of a media file; where it states none, the end of its last utterance; 0 if it cannot be read."""
    info = media_info(Path(path))
    if info.audio_problem and info.video_problem:
        return 0.0
    ends = [row.end or 0.0 for row, film in zip(recording.rows, recording.films, strict=False) if film == path]
    return info.seconds or max([*ends, 1.0])


def _plays(file: Path) -> bool:
    """Whether a browser plays `file`, and shows the same as we do at the same time.

    Raises:
        MediaError: it cannot be opened.
    """
    with open_container(file) as container:
        for kind in ("audio", "video"):
            if streams := usable(container, kind):
                first = streams[0]
                if chosen(container, kind) is not first or first.codec_context.codec.canonical_name not in CODECS:
                    return False
        start, stated = ((value or 0) / av.time_base for value in (container.start_time, container.duration))
    return abs(start) < ROUNDING and abs(stated - media_info(file).seconds) < ROUNDING


def write_copy(files: Sequence[Path], target: Path) -> None:
    """Write the `files`, one after another, as one small mp4 (H.264, AAC); parts that cannot be decoded are left out.

    Pictures and sound are written alternately, and pictures that were written are freed with each piece, so that memory
    does not grow with the length.
    """
    # The pictures are in reference cycles. Left to itself, Python looks for old ones once a quarter of all objects is
    # new, and among those of torch that is gigabytes later. Frozen, all that is there by now is not looked through.
    gc.freeze()
    try:
        _write_copy(files, target)
    finally:
        gc.unfreeze()


def _write_copy(files: Sequence[Path], target: Path) -> None:
    size, lasting = _size(files), [media_info(file).seconds for file in files]
    with (
        av.open(str(target), "w") as container,
        Progress(total=round(sum(lasting)), initial=0, what="copy for the page", unit="s") as progress,
    ):
        video = None
        if size:
            video = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "28"})
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            video.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=RATE)
        sound.layout = "mono"
        offset = 0.0
        for file, seconds in zip(files, lasting, strict=True):
            edges = [*np.arange(0.0, seconds, 30.0).tolist(), seconds]
            shown = _shown(file, size) if size else iter(())
            ahead = next(shown, None)
            for begin, end in pairwise(edges):
                while video and ahead and ahead[0] < end:
                    time, frame = ahead
                    frame.pts, frame.time_base = round(1000 * (offset + time)), Fraction(1, 1000)
                    container.mux(video.encode(frame))
                    ahead = next(shown, None)
                for piece in _sound(file, begin, end, offset):
                    container.mux(sound.encode(piece))
                progress.update(round(offset + end) - progress.n)
                gc.collect()
            offset += seconds
        for stream in (video, sound):
            if stream:
                container.mux(stream.encode(None))


def _size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Width and height of the copy, from the first picture that is shown; both are even, as H.264 requires."""
    for file in files:
        try:
            _, picture = next(pictures(file, FPS))
        except MediaError:
            continue
        height, width = picture.shape[:2]
        scale = min(1.0, HEIGHT / height)
        return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
    return None


def _shown(file: Path, size: tuple[int, int]) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield times and pictures of `size`, at most FPS per second; none of a file without pictures."""
    try:
        for time, picture in pictures(file, FPS):
            yield time, av.VideoFrame.from_ndarray(_fitted(picture, size), "rgb24")
    except MediaError:
        return


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`picture` in its own proportions in the middle of a black one of `size` (width, height)."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    # A pixel less, as of the even size of the copy, is no bar.
    width, height = (
        whole if whole - side * scale < 2 else max(1, round(side * scale))
        for side, whole in zip((width, height), size, strict=True)
    )
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    result = np.zeros((size[1], size[0], 3), np.uint8)
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    result[top : top + height, left : left + width] = small
    return result


def _sound(file: Path, begin: float, end: float, offset: float) -> Iterator[av.AudioFrame]:
    """Yield the sound between `begin` and `end`, or silence, with times shifted by `offset`."""
    length = round((end - begin) * RATE)
    try:
        heard = read_sound(file, begin, end)[:length]
    except MediaError:
        heard = np.zeros(0, np.float32)
    heard = np.pad(heard, (0, length - len(heard)))
    for at in range(0, length, SAMPLES):
        frame = av.AudioFrame.from_ndarray(heard[None, at : at + SAMPLES], format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = RATE, round((offset + begin) * RATE) + at, Fraction(1, RATE)
        yield frame

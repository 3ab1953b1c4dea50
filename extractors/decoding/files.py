"""Opening of media files: which files are read at all, which of their streams, and how much of a machine they may take.

No file is believed. What it holds is read; what it says of its length, size and rate reserves nothing.
"""

import os
import stat
from pathlib import Path
from time import monotonic
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from foundation.errors import UserError

FORMATS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "asf_o", "au", "av1", "avi", "avs2", "avs3", "caf",
    "dhav", "dirac", "dts", "dtshd", "dv", "eac3", "evc", "flac", "flv", "g722", "g729", "gif", "gsm", "gxf", "h261",
    "h263", "h264", "hevc", "iamf", "ircam", "ivf", "ivr", "kux", "live_flv", "loas", "m4v", "matroska", "mjpeg", "mlp",
    "mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts", "mpegvideo", "mxf", "nistsphere", "nsv", "nut", "nuv", "obu", "ogg",
    "oma", "pva", "qcp", "rm", "rso", "smk", "sox", "swf", "tak", "truehd", "tta", "ty", "voc", "vc1", "w64", "wav",
    "webm", "wtv", "wv", "xwma", "yuv4mpegpipe",
)  # fmt: skip
"""FFmpeg's names of the formats that are read: containers of recordings. Left out are formats that make FFmpeg open
other files or addresses (playlists, concatenations), devices, single pictures, subtitles, and text, which FFmpeg would
draw as a film of letters."""
UNANNOUNCED = {"flv", "mpeg"}
"""Formats in which a stream may turn up in the middle, without a word at the beginning of the file."""
FURTHER = {"probesize": str(50 * 2**20), "analyzeduration": str(600 * av.time_base)}
"""How far FFmpeg looks for more streams in these: bytes, and microseconds."""
MOST_PIXELS = 2**26
"""Largest picture that is decoded, in pixels: 8192 x 8192, twice what 8K television has. A file of some kilobytes may
claim pictures of gigabytes."""
SECONDS = 600.0
"""Processor time, in seconds, that may be spent on one clip, if `$CMATH_CLIP_SECONDS` says nothing else."""
LOOKED_AT = 4096
"""Number of bytes by which a file that cannot be opened is described."""
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
"""Marks of pictures that belong to a recording and are not filmed: covers, and thumbnails of chapters."""


class MediaError(Exception):
    """A media file cannot be used; the message is the reason, without the file's name."""


class OverBudgetError(MediaError):
    """A clip takes more processor time than it may; on another machine it might not."""


def clip_seconds() -> float:
    """Processor time, in seconds, that may be spent on one clip: `$CMATH_CLIP_SECONDS`, or SECONDS.

    Raises:
        UserError: the variable is no number above zero.
    """
    value = os.environ.get("CMATH_CLIP_SECONDS") or SECONDS
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UserError(f"CMATH_CLIP_SECONDS = {value!r}: must be a number of seconds above 0")
    return seconds


def over_budget() -> OverBudgetError:
    return OverBudgetError(f"takes more than {clip_seconds():g} s of processor time (CMATH_CLIP_SECONDS)")


def no_file(path: Path) -> str:
    """Reason why `path` is no file with content (a folder, a pipe, a link that leads nowhere); empty if it is one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "is a link to a file that does not exist" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:  # a link that leads to itself, a folder that nobody may enter, a NUL
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(status.st_mode):
        return "is a folder and no file"
    if not stat.S_ISREG(status.st_mode):
        return "is a pipe or a device and no file"  # reading from it might wait for ever
    return "" if status.st_size else "is empty (zero bytes)"


def open_container(path: Path) -> InputContainer:
    """Open a recording.

    Raises:
        MediaError: there is none, or it is of a kind that is not read.
    """
    if lacking := no_file(path):
        raise MediaError(lacking)
    began = monotonic()
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    try:
        container = _opened(path, options)
        if container.format.name in UNANNOUNCED and not (usable(container, "audio") and usable(container, "video")):
            container.close()
            container = _opened(path, options | FURTHER)
    except (MemoryError, UserError):
        raise
    except Exception as error:
        if monotonic() - began >= clip_seconds():  # then FFmpeg was told to stop, and blames the file
            raise over_budget() from None
        raise MediaError(f"cannot be opened ({_what(path) or reason(error)})") from None
    return container


def _opened(path: Path, options: dict[str, str]) -> InputContainer:
    name = str(path.absolute())  # with a leading slash, so that a name such as "http:x" is no address
    return av.open(name, metadata_errors="replace", container_options=options, timeout=clip_seconds(),
                   options={"max_pixels": str(MOST_PIXELS)})  # fmt: skip


def reason(error: Exception) -> str:
    """Message of an error of FFmpeg or PyAV, without the file's name."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    log = getattr(error, "log", None)
    return f"{text}: {log[2].strip()}" if log else text


def _what(path: Path) -> str:
    """Kind of a file that cannot be opened, as far as its first bytes tell; otherwise an empty string."""
    try:
        with path.open("rb") as stream:
            start = stream.read(LOOKED_AT)
    except OSError as error:
        return error.strerror or ""
    if start[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"moov"):
        return "it is an mp4 file whose index (moov) is missing or broken: its recorder or a copy was interrupted"
    if start.startswith(b"#EXTM3U"):
        return "it is a playlist and no recording"
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM")) or start[8:12] == b"WEBP":
        return "it is a picture and no recording"
    try:
        text = start.decode("utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", "strict")
    except UnicodeDecodeError as error:
        text = start[: error.start].decode("utf-8", "replace") if error.start > len(start) - 4 else "\0"
    return "it is a text and no recording" if all(one.isprintable() or one in "\r\n\t\f" for one in text) else ""


def usable(container: InputContainer, kind: str) -> list[Stream]:
    """The streams of `kind` ("audio" or "video") that FFmpeg can decode; a cover is none."""
    streams = getattr(container.streams, kind)
    return [stream for stream in streams if stream.codec_context and not stream.disposition & COVERS]


def undecodable(stream: Any) -> str:
    """What is said of a stream of which no packet can be decoded."""
    pictures = f", unless it has pictures of more than {MOST_PIXELS:,} pixels"
    unknown = stream.type == "video" and not stream.codec_context.width
    return f"has no {stream.type} that can be decoded{pictures if unknown else ''}"


def chosen(container: InputContainer, kind: str) -> Stream:
    """The stream of `kind` that a player plays: the first one that is marked as default, else the first.

    Raises:
        MediaError: there is none, or none that FFmpeg can decode.
    """
    streams = usable(container, kind)
    if streams:
        return next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
    others = getattr(container.streams, kind)
    if not others:
        raise MediaError(f"has no {kind} stream")
    if all(stream.disposition & COVERS for stream in others):
        raise MediaError(f"has no {kind} stream, but for a cover")
    raise MediaError(f"has {'an' if kind == 'audio' else 'a'} {kind} stream of a codec that FFmpeg does not know")

"""What the first bytes of a Matroska or WebM file say: does it state its length, and is that the whole file?"""

from pathlib import Path

SEGMENT = b"\x18\x53\x80\x67"
"""Identifier of the element that holds a recording (RFC 9559, 5.1)."""
LOOKED_AT = 4096
"""Number of bytes in which it begins."""


def is_one_recording(path: Path) -> bool:
    """Whether the file states the length of its recording, and no other recording stands behind it.

    A recording of a browser states no length. So it is not known whether another one was put behind it.
    """
    with path.open("rb") as stream:
        data = stream.read(LOOKED_AT)
    try:
        _, begin, size = _element(data, 0)
        identifier, begin, size = _element(data, begin + size)
    except IndexError:
        return False
    return identifier == SEGMENT and begin + size >= path.stat().st_size


def _element(data: bytes, at: int) -> tuple[bytes, int, int]:
    """Identifier, place of the content and size of the element at the place `at` (RFC 8794, 4 to 6).

    The size is 0 if it is not stated.
    """
    length = 9 - data[at].bit_length()
    identifier, at = data[at : at + length], at + length
    length = 9 - data[at].bit_length()
    most = (1 << 7 * length) - 1
    size = int.from_bytes(data[at : at + length]) & most
    return identifier, at + length, 0 if size == most else size

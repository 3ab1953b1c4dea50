"""Broken variants of good files: hypothesis draws them, so that what it finds is made as small as it can be."""

import re
from collections.abc import Sequence

from hypothesis import strategies as st

ROUND = 40
"""Largest number of bytes that one edit removes or draws."""
NUMBERS = (
    "0", "-1", "1", "65536", "2147483647", "4294967295", "18446744073709551616", "9" * 400, "1e308", "1e309",
    "-1e309", "1e-400", "NaN", "nan", "inf", "-inf", "0x10", "1_000", "٣", "９", "²", "½", "1.", ".5", "--1", "1,5",
    "00:99:99,999", "99:59:59.999", "true", "null", "None", "",
)  # fmt: skip
"""What stands in the place of a number."""
WORDS = (
    b"\0", b"\r", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3\x28", b"\xe9", b"\x80",
    "\u2028".encode(), "\u202e".encode(), "\ufeff".encode(), "\U0010ffff".encode(), "İ".encode(), "ß".encode(),
    b'"', b"'", b"\\", b"\\ud800", b",", b";", b"\t", b"|", b":", b"-->", b"<", b">", b"</", b"<!--", b"<![CDATA[",
    b"&", b"&#x110000;", b"&#xd800;", b"&#" + b"9" * 5000 + b";", b"&lt;", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"{",
    b"}", b"[", b"[" * 2000, b"(" * 200, b"{\"a\":" * 1000, b"*a", b"&a [*a]", b"!!python/object:os.system", b"%s",
    b"../../../../etc/passwd", b"/dev/zero", b"2024-13-45", b"a" * 300, b" " * 3000, b"-" * 3000,
)  # fmt: skip
"""What breaks parsers: control characters, halves of encodings, marks of the formats, references, depth, length."""
DIGITS = re.compile(rb"-?\d+(?:\.\d+)?")
KINDS = ("cut", "drop", "repeat", "flip", "word", "number", "bytes", "splice", "lines")


@st.composite
def broken(draw: st.DrawFn, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of `seeds` after a few edits; `words` are marks of the format, besides WORDS."""
    content = draw(st.sampled_from(seeds))
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=4)):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(_rest(kind, content[at:], seeds, (*WORDS, *words)))
    return content


@st.composite
def _rest(draw: st.DrawFn, kind: str, rest: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """What follows the place of an edit after it."""
    some = draw(st.integers(1, ROUND)) if kind in ("drop", "repeat") else 1
    if kind == "cut":
        return b""
    if kind == "drop":
        return rest[some:]
    if kind == "repeat":
        return rest[:some] * draw(st.sampled_from((2, 3, 100))) + rest[some:]
    if kind == "flip":
        return bytes(byte ^ draw(st.integers(1, 255)) for byte in rest[:1]) + rest[1:]
    if kind == "word":
        return draw(st.sampled_from(words)) + rest
    if kind == "number":
        return DIGITS.sub(draw(st.sampled_from(NUMBERS)).encode().replace(b"\\", b""), rest, count=1)
    if kind == "bytes":
        return draw(st.binary(min_size=1, max_size=ROUND)) + rest[draw(st.integers(0, 8)) :]
    if kind == "splice":
        other = draw(st.sampled_from(seeds))
        return other[draw(st.integers(0, len(other))) :]
    rows = rest.split(b"\n")
    place = draw(st.integers(0, len(rows) - 1))
    return b"\n".join([*rows[:place], *([rows[place]] * draw(st.sampled_from((0, 2, 3)))), *rows[place + 1 :]])

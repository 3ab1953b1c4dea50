"""Text files as people have them: UTF-8, UTF-16 and older encodings, with a note on what was guessed or left out."""

import codecs
import re
import unicodedata
from pathlib import Path

from charset_normalizer import from_bytes

from foundation.errors import UserError
from foundation.files import read_file

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which is its beginning
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by the byte order mark at the beginning of a file."""
OLDER = ("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874", "cp932",
         "euc_jp", "gb18030", "big5", "cp949")  # fmt: skip
"""Encodings that older programs still write, for Europe, the Near East and East Asia."""
LATIN = 0.25
"""Largest share of bytes beyond ASCII in a text of a Latin script."""
LANGUAGES = (
    ("cp1252", "éèêëàâçùûüîïôœÿ"), ("cp1252", "äöüß"), ("cp1252", "áéíóúüñ"), ("cp1252", "ãõáéíóúâêôçà"),
    ("cp1252", "àèéìòùî"), ("cp1252", "åäöéü"), ("cp1252", "åøæéòô"), ("cp1252", "ëïéèöüáíóúê"),
    ("cp1252", "ðþæáéíóúýö"),
    ("cp1250", "ąćęłńóśźż"), ("cp1250", "áčďéěíňóřšťúůýž"), ("cp1250", "áäčďéíĺľňóôŕšťúýž"), ("cp1250", "áéíóöőúüű"),
    ("cp1250", "ăâîşţ"), ("cp1250", "čćđšž"), ("cp1254", "çğıiöşüâîû"), ("cp1257", "ąčęėįšųūž"),
    ("cp1257", "āčēģīķļņšūž"), ("cp1257", "äõöüšž"),
)  # fmt: skip
"""Letters beyond ASCII of languages with a Latin script, with the encoding in which older programs write them: French,
German, Spanish, Portuguese, Italian, Swedish, Danish, Dutch, Icelandic; Polish, Czech, Slovak, Hungarian, Romanian,
Croatian; Turkish; Lithuanian, Latvian, Estonian."""
SEVEN_BITS = ("iso2022_jp_ext", "iso2022_kr")
"""Encodings of East Asia whose files are ASCII, with this before other letters:"""
ESCAPE = b"\x1b$"
SIGNS = "€£¥$¢§°©®™"
"""Signs of texts in any language."""
FITS = 0.9
"""Smallest share of a text's letters beyond ASCII that its language has."""
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
FEW_CONTROLS, MOST_CONTROLS = 10, 0.02
"""Number and share of control characters that may stand in a text; a file with more of them is no text."""


def read_text(file: Path) -> tuple[str, list[str]]:
    """Read `file`, with line ends converted to \\n, and with notes on what was guessed or left out.

    Raises:
        UserError: there is no such file, it cannot be read, or it is no text.
    """
    text, notes = _decoded(file, read_file(file))
    controls = len(CONTROLS.findall(text))
    if controls > max(FEW_CONTROLS, MOST_CONTROLS * len(text)):
        raise UserError(f"{file}: is no text file (it is full of control characters); give a text file in UTF-8")
    if controls:
        text = CONTROLS.sub("", text)
        notes.append(f"{file.name}: {controls} control characters (such as NUL) were left out")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _decoded(file: Path, content: bytes) -> tuple[str, list[str]]:
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return _with_gaps(file, content, encoding)
    if encoding := _wide(content):
        text, notes = _with_gaps(file, content, encoding)
        return text, [
            f"{file.name}: was read as {encoding.upper()}, which is a guess: it has no byte order mark",
            *notes,
        ]
    for encoding in SEVEN_BITS if ESCAPE in content else ():
        try:
            return content.decode(encoding), [_guess(file, encoding)]
        except UnicodeDecodeError:
            continue
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        pass
    if b"\0" in content:
        raise UserError(f"{file}: is no text file (it has NUL bytes, and is not UTF-8); give a text file in UTF-8")
    patched = content.decode("utf-8", "replace")
    beyond = sum(character > "\x7f" for character in patched)
    if beyond >= 5 * patched.count("\ufffd"):  # mostly valid sequences, which no other encoding has by chance
        return _with_gaps(file, content, "utf-8")
    guess = _guessed(content)
    if guess is None:
        raise UserError(f"{file}: its text encoding cannot be recognised; save the file as UTF-8")
    return content.decode(guess), [_guess(file, guess)]


def _guess(file: Path, encoding: str) -> str:
    return (f"{file.name}: is not UTF-8; it was read as {encoding}, which is a guess. If letters look wrong, save the "
            "file as UTF-8")  # fmt: skip


def _with_gaps(file: Path, content: bytes, encoding: str) -> tuple[str, list[str]]:
    try:
        return content.decode(encoding), []
    except UnicodeDecodeError:
        text = content.decode(encoding, "replace")
        gaps = text.count("\ufffd")
        return text, [f"{file.name}: {gaps} places are not {encoding.upper()}, and stand as \ufffd"]


def _wide(content: bytes) -> str:
    """Recognise UTF-16 without a byte order mark by its NUL bytes, which stand on one side of each pair."""
    low, high = content[::2].count(0), content[1::2].count(0)
    if not content:
        return ""
    if len(content) % 2 or max(low, high) < 0.1 * (len(content) / 2) or min(low, high) > 0.1 * max(low, high):
        return ""
    encoding = "utf-16-le" if high > low else "utf-16-be"
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return ""
    return encoding


def _guessed(content: bytes) -> str | None:
    """Guess an older encoding from the lines with bytes beyond ASCII; the other lines would only dilute them."""
    sample = b"\n".join(line for line in content.splitlines() if not line.isascii())
    candidates = []
    if sum(byte > 127 for byte in sample) <= LATIN * len(sample):
        candidates.append(_latin(sample))
    best = from_bytes(sample, cp_isolation=list(OLDER)).best()
    candidates += [best.encoding if best else "", "cp1252"]
    for encoding in filter(None, candidates):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return None


def _latin(sample: bytes) -> str:
    """Encoding of the language whose letters fit best; of a few letters, statistics of words cannot tell it."""
    fits = []
    for encoding, letters in LANGUAGES:
        text = sample.decode(encoding, "replace").lower()
        # Signs count too, because ł of Polish is ³ in the encoding of French.
        beyond = [c for c in text if c > "\x7f" and unicodedata.category(c)[0] in "LNS" and c not in SIGNS]
        fits.append(sum(character in letters for character in beyond) / len(beyond) if beyond else 1.0)
    best = max(fits)
    return LANGUAGES[fits.index(best)][0] if best >= FITS else ""

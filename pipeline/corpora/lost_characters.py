"""Repair of texts that lost their apostrophes, quotation marks and dashes on the way through another encoding.

Only what is certain is repaired:

- a control character U+0080 to U+009F: it is a byte of cp1252 that was read as Latin-1 (U+0092 is the apostrophe);
- two or three characters that are one character of UTF-8, whose bytes were read as cp1252 or Latin-1, once or twice;
- what stands for an apostrophe, a quotation mark or a dash in HTML (`don&#39;t`) or behind a backslash (`don\\'t`);
- `?`, an accent alone, or another character that is written for one that is not known, where English has an apostrophe
  and no such character: `don?t`, `I?m`, `Joey?s`, `y?know`, ` ?cause`.

A `?` between other letters (`Sanders?He`) and at the end of a word (`doin?`) stays, because it may be a question mark.
"""

import html
import re
from collections.abc import Iterator, Sequence

CONTROLS = {
    byte: bytes([byte]).decode("cp1252")
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)  # not in cp1252
}
"""Character of cp1252 for each control character that was made of its byte."""
BYTES = {character: byte for byte, character in CONTROLS.items()} | {chr(byte): byte for byte in range(0x80, 0x100)}
"""Byte of each character that is not ASCII, in cp1252 or Latin-1."""
NOT_ASCII = f"[{''.join(BYTES)}]"
MISREAD = re.compile(f"[\xc2\xc3]{NOT_ASCII}|\xe2{NOT_ASCII}{{2}}")
"""What may be one character of UTF-8: a letter with an accent, a quotation mark, a dash."""
LOST = "(?:[?\xbf\ufffd\x1a]{1,3}|[\xd5`\xb4])"
"""What stands for a lost character: up to three, one for each byte; `Õ` has the byte of the apostrophe of Mac OS."""
REFERENCE = re.compile(
    r"&(?:amp;)?(#0?39|#x27|#821[1267]|#822[01]|#8230|apos|quot|[lr][sd]quo|hellip|[mn]dash);", re.IGNORECASE
)
BACKSLASH = re.compile(r"\\(?=['\"‘’])")
LETTER = r"[^\W_\xd5]"
INSIDE = re.compile(f"(?<!{LETTER})({LETTER}+){LOST}(?=({LETTER}+))")
BEFORE = re.compile(rf"(?<![^\s(\"“—–…-]){LOST}(?=(?:[Cc]ause|[Cc]os|[Kk]ay|[Tt]il|em|cha|sup|bout|ya)\b)")
"""A lost character at the beginning of a word that has an apostrophe there; a question mark does not begin a word."""
ENDINGS = {"s", "d", "re", "ve", "ll"}
CONTRACTIONS = {
    ("i", "m"), ("y", "know"), ("y", "see"), ("y", "all"), ("d", "you"), ("d", "know"), ("d", "ya"), ("c", "mon"),
    ("c", "mere"), ("o", "clock"), ("ma", "am"), ("s", "more"), ("s", "mores"), ("t", "was"), ("t", "is"),
}  # fmt: skip
"""Contractions whose ending is a word of its own, or stands after one word only."""
ACCENTED = {"adi", "caf", "canap", "clich", "expos", "fianc"}
"""Beginnings of words in which `?` stands for a letter with an accent (Adiós, cafés)."""
DOUBTFUL = re.compile(r"\S*(?:[^\W_][?\xbf][^\W_]|[\ufffd\x1a\x80-\x9f])\S*")
BARE = re.compile(
    r"\b(?:(?:do|does|did|is|are|was|were|has|have|had|could|would|should) ?n ?t|can ?t|I ?m|(?:you|they) ?re"
    r"|(?:I|you|we|they) ?ve|(?:that|what|there) ?s|it s)\b",
    re.IGNORECASE,
)
"""Contractions without an apostrophe, with a blank or nothing in its place."""


def repaired(text: str) -> str:
    """Put back the characters of which it is certain that they were lost."""
    text = BACKSLASH.sub("", REFERENCE.sub(lambda found: html.unescape(f"&{found[1].lower()};"), text))
    for _ in range(2):
        text = MISREAD.sub(_as_utf8, text).translate(CONTROLS)
    return BEFORE.sub("‘", INSIDE.sub(_as_contraction, text))


def _as_utf8(match: re.Match[str]) -> str:
    try:
        return bytes(BYTES[character] for character in match[0]).decode("utf-8")
    except UnicodeDecodeError:
        return match[0]


def _as_contraction(match: re.Match[str]) -> str:
    word, ending = match[1].lower(), match[2].lower()
    if not (match[2].islower() or (match[1] + match[2]).isupper()):
        return match[0]  # a capital begins a new sentence
    certain = (
        (ending in ENDINGS and word not in ACCENTED)
        or (ending == "t" and word.endswith("n"))
        or (word, ending) in CONTRACTIONS
    )
    return f"{match[1]}’" if certain else match[0]


def notes_on(file: str, texts: Sequence[tuple[int, str, str]]) -> Iterator[str]:
    """Say what was repaired in the texts of `file` and what may still be missing.

    Args:
        texts: line, text as it was, and repaired text of each utterance.
    """
    changed = [(line, before, after) for line, before, after in texts if before != after]
    if changed:
        line, before, after = changed[0]
        yield (f"{file}: {len(changed)} of {len(texts)} texts had lost apostrophes or other characters, which were put "
               f"back; the first, line {line}: {before[:60]!r} is now {after[:60]!r}")  # fmt: skip
    for pattern, what in ((DOUBTFUL, "may still lack a character"), (BARE, "have contractions without apostrophes")):
        found = [(line, match[0]) for line, _, after in texts if (match := pattern.search(after))]
        if found:
            line, example = found[0]
            yield f"{file}: {len(found)} of {len(texts)} texts {what}, and stay so; the first, line {line}: {example!r}"

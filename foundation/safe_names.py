"""Names from outside (of recordings, folders, dialogues) as names of files: they cannot leave their folder.

Whatever makes a file or a folder of a name that it did not choose itself asks `safe_name` or `distinct`. An ordinary
name stays as it is.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

LONGEST = 200
"""Bytes of the longest name in UTF-8; file systems take 255, of which temporary files need some more."""
FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]')
"""Separators of folders, what Windows takes in no name, control characters, marks that turn the direction of writing,
and bytes that are no UTF-8."""
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL)
"""Names that are devices on Windows, with any ending."""
ENDING = re.compile(r"\.\w{1,10}", re.ASCII)
"""What is kept of a name that is cut: `.mp4`, `.TextGrid`."""


def safe_name(name: str) -> str:
    """Make a name of `name` that every file system takes for one file in the folder where it is put.

    Characters that cannot stand in a file name, and dots at the ends, become `_`. A name that had to be changed gets a
    hash of the original before its ending, so that two different names never become the same.
    """
    kept = FORBIDDEN.sub("_", name)
    kept = re.sub(r"^\.+|[. ]+$", lambda found: "_" * len(found[0]), kept)
    if kept == name and name and len(name.encode()) <= LONGEST and not RESERVED.fullmatch(name):
        return name
    stem, dot, rest = kept.rpartition(".")
    ending = dot + rest if stem and ENDING.fullmatch(dot + rest) else ""
    ending = f"-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}{ending}"
    stem = kept.removesuffix(dot + rest) if ending.endswith(dot + rest) and dot else kept
    stem = stem.encode()[: LONGEST - len(ending)].decode("utf-8", "ignore")
    return f"{'_' if RESERVED.fullmatch(stem) or not stem else ''}{stem}{ending}"


def distinct(names: Sequence[str]) -> list[str]:
    """Make safe names of `names`, no two of which are one file where capital and small letters are the same.

    Of those that would be, all but the first get a number.
    """
    taken: set[str] = set()
    found = []
    for name in names:
        made, number = safe_name(name), 2
        while unicodedata.normalize("NFC", made.casefold()) in taken:
            made, number = safe_name(f"{name} ({number})"), number + 1
        taken.add(unicodedata.normalize("NFC", made.casefold()))
        found.append(made)
    return found

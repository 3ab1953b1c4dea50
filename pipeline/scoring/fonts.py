"""Fonts for names in any script: matplotlib's own font lacks Chinese, Japanese, Korean, Thai and other letters."""

from collections.abc import Iterator, Sequence

from matplotlib import font_manager, rcParams

from foundation.log import log


def drawable(names: Sequence[str], kind: str = "label") -> list[str]:
    """Make matplotlib draw `names`, with other installed fonts where its own lacks their letters.

    Pictures of such names depend on the fonts of the machine. Where no installed font has the letters of a name, its
    `kind` and position stand for it (`label 3`), so that no picture has empty boxes for words, and the log says so.
    """
    rcParams["text.parse_math"] = False  # a dollar sign in a name begins no formula, which could not be drawn
    usual = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    lacking = {letter for name in names for letter in name if ord(letter) not in usual and not letter.isspace()}
    for path, family, letters in _installed() if lacking else ():
        if lacking & letters:
            font_manager.fontManager.addfont(path)  # it may be newer than matplotlib's list of fonts
            rcParams["font.family"] = [*dict.fromkeys([*rcParams["font.family"], family])]
            lacking -= letters
    found = [f"{kind} {place}" if lacking & set(name) else name for place, name in enumerate(names, 1)]
    unseen = [f"{short} is {name!r}" for short, name in zip(found, names, strict=True) if short != name]
    if unseen:
        log.warning("pictures: no installed font has all letters of %d names: %s. On Debian, fonts-noto-cjk has those "
                    "of Chinese, Japanese and Korean, and fonts-noto-core those of most other scripts",
                    len(unseen), ", ".join(unseen))  # fmt: skip
    return found


def _installed() -> Iterator[tuple[str, str, set[str]]]:
    """Yield the file, the family and the letters of every installed upright font of ordinary weight."""
    for path in sorted(font_manager.findSystemFonts()):
        try:
            font = font_manager.get_font(path)
            letters = {chr(code) for code in font.get_charmap()}
        except (RuntimeError, OSError, ValueError):  # a kind of font that matplotlib does not read
            continue
        if not any(word in font.style_name.lower() for word in ("italic", "oblique", "bold")):
            yield path, font.family_name, letters

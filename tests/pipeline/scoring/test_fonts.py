"""Labels in any script in the pictures: with a font that has their letters, or numbered, with a message."""

import logging
import warnings
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.text import Text

from pipeline.scoring import fonts, pictures
from pipeline.scoring.fonts import drawable
from pipeline.scoring.pictures import draw_confusion, draw_tsne

LABEL = np.array([0, 0, 1, 1])
CHINESE = ("高兴", "愤怒")


@pytest.fixture(autouse=True)
def as_before() -> object:
    with matplotlib.rc_context():
        known = list(font_manager.fontManager.ttflist)
        yield
        font_manager.fontManager.ttflist = known


def write_font(file: Path, letters: str) -> Path:
    """A font in which each of `letters` is a full black square."""
    names = {ord(letter): f"u{ord(letter):x}" for letter in letters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder.setupGlyf(dict.fromkeys([".notdef", *names.values()], pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(file)
    return file


def test_names_of_the_usual_font_are_drawn_with_it(caplog: pytest.LogCaptureFixture) -> None:
    before = list(matplotlib.rcParams["font.family"])
    names = ["joy", "Freude", "χαρά", "радость", "câlin"]
    assert drawable(names) == names
    assert matplotlib.rcParams["font.family"] == before
    assert not caplog.records


def test_a_label_is_no_formula_and_stands_in_the_legend_whatever_it_begins_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("$x_$", "_quiet")
    draw_confusion(LABEL, [LABEL], names, tmp_path / "confusion.png")
    with monkeypatch.context() as kept:
        drawn: list = []
        kept.setattr(pictures, "save", lambda figure, _: drawn.append(figure))
        draw_tsne(np.random.default_rng(0).normal(size=(4, 3)), LABEL, names, tmp_path / "tsne.png")
    [legend] = drawn[0].legends
    assert tuple(text.get_text() for text in legend.get_texts()) == names
    pictures.save(drawn[0], tmp_path / "tsne.png")
    assert (tmp_path / "tsne.png").stat().st_size > 1000


def test_another_installed_font_draws_what_the_usual_one_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [str(tmp_path / "broken.ttf"), str(write_font(tmp_path / "squares.ttf", "".join(CHINESE)))]
    (tmp_path / "broken.ttf").write_text("no font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: installed)
    assert drawable(CHINESE) == list(CHINESE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a letter that no font has
        draw_confusion(LABEL, [LABEL], CHINESE, tmp_path / "confusion.png")
        draw_tsne(np.random.default_rng(0).normal(size=(4, 3)), LABEL, CHINESE, tmp_path / "map.png")
    picture = cv2.imread(str(tmp_path / "map.png"), cv2.IMREAD_GRAYSCALE)
    dark = (picture < 40).astype(np.uint8)
    assert cv2.erode(dark, np.ones((6, 6), np.uint8)).any()  # a full square, which no other letter or dot has


def test_names_that_no_font_can_draw_are_numbered_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts, "_installed", lambda: iter(()))
    caplog.set_level(logging.WARNING)
    assert drawable(["joy", *CHINESE]) == ["joy", "label 2", "label 3"]
    assert "no installed font has all letters of 2 names: label 2 is '高兴', label 3 is '愤怒'" in caplog.text
    assert "fonts-noto-cjk" in caplog.text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(LABEL, [LABEL], CHINESE, tmp_path / "confusion.png")


def test_a_dollar_sign_begins_no_formula_and_an_underscore_hides_no_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    inner = Text.draw
    monkeypatch.setattr(Text, "draw", lambda self, *given: (drawn.append(self.get_text()), inner(self, *given)))
    names = ("$x_$", "_$", "joy")
    label = np.array([0, 0, 1, 1, 2, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(label, [label], names, tmp_path / "confusion.png")
        assert set(names) <= set(drawn)
        drawn.clear()
        draw_tsne(np.random.default_rng(0).normal(size=(6, 3)), label, names, tmp_path / "map.png")
    assert set(names) <= set(drawn)

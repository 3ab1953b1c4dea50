"""Pictures of the synthetic corpus: a drawn face that a detector finds."""

from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np

from pipeline.synthetic.cast import EMOTIONS, SPEAKERS, Colour, Expression, Speaker
from pipeline.synthetic.script import FPS, ODD, ScriptedTurn, random_of

WIDTH, HEIGHT = 240, 180
UNIT = 104
"""Half a head's width in pixels while drawing, at twice the final size; reducing the picture smooths it."""
SHEET, CENTRE = (420, 360), (180, 205)
"""Height and width of the canvas for a head, and the head's centre in x and y."""
SPAN = np.linspace(-1, 1, 15)
DOME = 1 - SPAN**2
ROUND = np.linspace(0, 2 * np.pi, 80, endpoint=False)
Points = np.ndarray | list[tuple[float, float]]


def _pixels(points: Points) -> np.ndarray:
    """Convert points to OpenCV's fixed-point format: integers in sixteenths of a pixel."""
    return np.round((np.asarray(points) * UNIT + CENTRE) * 16).astype(np.int32)


def _curve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.column_stack([x, y])


def _fill(image: np.ndarray, points: Points, colour: Colour | np.ndarray) -> None:
    cv2.fillPoly(image, [_pixels(points)], tuple(map(float, colour)), cv2.LINE_AA, 4)


def _line(image: np.ndarray, points: Points, colour: Colour | np.ndarray, width: float) -> None:
    thick = max(1, round(width * UNIT))
    cv2.polylines(image, [_pixels(points)], False, tuple(map(float, colour)), thick, cv2.LINE_AA, 4)


def _disc(image: np.ndarray, x: float, y: float, radius: float, colour: Colour | np.ndarray) -> None:
    _fill(image, _curve(x + radius * np.cos(ROUND), y + radius * np.sin(ROUND)), colour)


@cache
def _head(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw the parts of a face that do not move, with the shading that detectors need: RGB uint8, and alpha."""
    look, rng = SPEAKERS[name], random_of("head", name)
    skin, hair = np.array(look.skin), np.array(look.hair)
    y, x = np.mgrid[: SHEET[0], : SHEET[1]]
    x, y = (x - CENTRE[0]) / UNIT, (y - CENTRE[1]) / UNIT

    def spot(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)[..., None]

    image, alpha = np.zeros((*SHEET, 3)), np.zeros((*SHEET, 1))

    def paint(colour: np.ndarray, points: Points) -> np.ndarray:
        nonlocal image, alpha
        mask = np.zeros(SHEET, np.uint8)
        _fill(mask, points, (255,))
        cover = cv2.GaussianBlur(mask, (0, 0), 1.6)[..., None] / 255
        whole = cover + alpha * (1 - cover)
        image = (colour * cover + image * alpha * (1 - cover)) / np.maximum(whole, 1e-6)
        alpha = whole
        return cover

    depth = np.sqrt(np.clip(1 - (x / 1.08) ** 2 - (y / look.height / 1.05) ** 2, 0, 1))
    face = skin * (0.60 + 0.46 * np.clip(0.86 * depth - 0.30 * x - 0.30 * y, 0, None))[..., None]
    for side in (-1, 1):
        face *= 1 - 0.20 * spot(side * 0.42, -0.16, 0.28, 0.17)  # the socket of the eye
        face += np.array([16, -6, -6]) * spot(side * 0.55, 0.32, 0.26, 0.22)  # the cheek
        face *= 1 - 0.18 * spot(side * 0.16, 0.36, 0.07, 0.06)  # the wing of the nose
        face *= 1 - 0.50 * spot(side * 0.085, 0.405, 0.045, 0.028)  # the nostril
    face *= 1 + 0.10 * spot(0, 0.12, 0.06, 0.32) - 0.13 * spot(0.15, 0.10, 0.07, 0.30)  # ridge of the nose
    face *= 1 + 0.10 * spot(0, 0.30, 0.09, 0.07) - 0.22 * spot(0, 0.45, 0.20, 0.045)  # tip of the nose
    face *= 1 + 0.06 * spot(0, 1.08, 0.18, 0.12) - 0.16 * spot(0, 0.92, 0.22, 0.06)  # the chin

    streaks = cv2.GaussianBlur(rng.normal(0, 55, SHEET), (0, 0), sigmaX=1.2, sigmaY=9)[..., None]
    gloss = 0.9 + 0.35 * np.clip(0.2 - 0.4 * x - 0.6 * y, -1, 1)
    strands = hair * gloss[..., None] + streaks * (hair / 120 + 0.25)
    long = look.hair_end > 0
    turn = np.linspace(np.pi, 2 * np.pi, 40)
    width, end = 1.13 + 0.08 * long, look.hair_end
    ends = [(width, end * 0.6), (width * 0.86, end), (-width * 0.86, end), (-width, end * 0.6)]
    crown = _curve(1.13 * np.cos(turn), -0.1 + (look.height + 0.06) * np.sin(turn))
    paint(strands * 0.8, np.vstack([crown, ends]))
    neck = [(-0.5, 0.7), (0.5, 0.7), (0.56, 1.7), (-0.56, 1.7)]
    paint(skin * (0.80 - 0.25 * spot(0, 1.25, 0.7, 0.25)), neck)
    shirt = [(-0.55, 1.52), (0, 1.72), (0.55, 1.52), (1.3, 1.72), (1.8, 2.2), (-1.8, 2.2), (-1.3, 1.72)]
    paint(np.array(look.shirt) * (1 - 0.12 * x)[..., None], shirt)
    for side in () if long else (-1, 1):
        ear = _curve(side * (1 + 0.12 * np.cos(ROUND)), 0.05 + 0.24 * np.sin(ROUND))
        paint(skin * (0.80 - 0.2 * spot(side * 1.02, 0.05, 0.06, 0.12)), ear)
    chin = np.clip(np.sin(ROUND), 0, 1) ** 1.3
    paint(face, _curve(np.cos(ROUND) * (1 - look.jaw * chin), look.height * np.sin(ROUND)))
    temple = 0.15 if long else -0.25
    hairline = [(0.99, temple), (0.90, -0.40), (0.62, look.fringe + 0.10), (0.1, look.fringe - 0.03),
                (-0.45, look.fringe + 0.02), (-0.86, -0.45), (-0.99, temple)]  # fmt: skip
    crown = _curve(1.1 * np.cos(turn), -0.1 + (look.height + 0.05) * np.sin(turn))
    fringe = paint(strands, np.vstack([crown, hairline]))
    image *= 1 - 0.35 * np.clip(cv2.GaussianBlur(fringe, (0, 0), 9)[..., None] - fringe, 0, 1)
    image += rng.normal(0, 2.2, image.shape)
    return image.clip(0, 255).astype(np.uint8), (alpha * 255).astype(np.uint8)


def _draw_eye(image: np.ndarray, look: Speaker, mood: Expression, side: int, blink: float) -> None:
    skin, dark = np.array(look.skin), np.array(look.hair) * 0.55 + 8
    x, y = side * 0.42, -0.13
    line = y - 0.02 * side * SPAN
    across = x + 0.205 * SPAN
    upper = _curve(across, line - 0.105 * mood.eye * (1 - blink) * DOME**0.8)
    lower = 0.062 * (1 - mood.lid) * (1 - 0.6 * blink) * min(1.15, 0.5 + 0.5 * mood.eye)
    almond = np.vstack([upper, _curve(across, line + lower * DOME)[::-1]])
    (left, top), (right, bottom) = (_pixels([(x - 0.28, y - 0.28), (x + 0.28, y + 0.2)]) // 16).tolist()
    window = np.s_[top:bottom, left:right]
    ball, opening = image.copy(), np.zeros(SHEET, np.uint8)
    _fill(ball, almond, (236, 232, 228))
    _disc(ball, x, y - 0.02, 0.098, np.array(look.iris) * 0.75)
    _disc(ball, x, y - 0.02, 0.075, look.iris)
    _disc(ball, x, y - 0.02, 0.045, (14, 12, 12))
    _disc(ball, x - 0.035, y - 0.055, 0.02, (250, 250, 250))
    _fill(opening, almond, (255,))
    cover = opening[window][..., None] / 255
    image[window] = (image[window] * (1 - cover) + ball[window] * cover).astype(np.uint8)
    _line(image, upper, dark * 0.6, 0.035)
    _line(image, almond[len(SPAN) :], skin * 0.55, 0.012)
    _line(image, upper - (0, 0.065), skin * 0.62, 0.014)

    out = np.linspace(0, 1, 9)
    brow = -0.355 - 0.03 * mood.eye - 0.05 * np.sin(0.8 * np.pi * out)
    brow -= mood.inner * (1 - out) + mood.outer * out
    half = look.brow * (0.5 - 0.28 * out**2)
    across = side * (0.17 + 0.5 * out)
    _fill(image, np.vstack([_curve(across, brow - half), _curve(across, brow + half)[::-1]]), dark)
    if mood.smile > 0.05 or mood.sneer:
        _line(image, _curve(side * (0.26 + 0.22 * out), 0.38 + 0.26 * out), skin * 0.70, 0.018)
    if mood.inner < 0:
        _line(image, [(side * 0.055, -0.36), (side * 0.06, -0.24)], skin * 0.66, 0.018)


def _draw_mouth(image: np.ndarray, look: Speaker, mood: Expression, talk: float) -> None:
    skin = np.array(look.skin)
    lip = skin * 0.55 + np.array((63, 22, 25))
    x, gap = 0.35 * mood.wide * (1 - 0.12 * talk) * SPAN, mood.gap + 0.13 * talk
    middle = 0.70 - 0.25 * mood.sneer + mood.smile * (0.45 - SPAN**2)
    above, below = middle - 0.4 * gap * DOME, middle + 0.75 * gap * DOME
    top = above - 0.058 * look.lips * DOME**0.7 * (1 - 0.28 * np.exp(-((SPAN / 0.16) ** 2)))
    top -= 0.6 * mood.sneer * SPAN.clip(0) * DOME
    bottom = below + 0.082 * look.lips * DOME**0.8
    _fill(image, np.vstack([_curve(x, top), _curve(x, bottom)[::-1]]), lip)
    _fill(image, np.vstack([_curve(x, above), _curve(x, below)[::-1]]), (52, 18, 22))
    if gap > 0.04:
        teeth = np.vstack([_curve(x, above), _curve(x, above + 0.45 * gap * DOME)[::-1]])
        _fill(image, teeth * (0.86, 1), (232, 228, 222))
    _line(image, _curve(x, above), lip * 0.55, 0.016)
    chin = bottom.max() + 0.05
    _line(image, [(-0.1, chin), (0.1, chin)], skin * 0.72, 0.02)


def pictures(turn: ScriptedTurn, mouth: np.ndarray) -> Iterator[np.ndarray]:
    """Yield one frame, RGB uint8, for each value of `mouth` (how far the mouth is open, 0 to 1)."""
    rng, look = random_of("face", turn.key), SPEAKERS[turn.speaker]
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = 1 - 0.25 * y / HEIGHT - 0.12 * x / WIDTH
    wall = np.array(look.wall) * light[..., None] + rng.normal(0, 1.5, (HEIGHT, WIDTH, 1))
    sheet, alpha = _head(turn.speaker)
    blink, strength = int(rng.integers(2, 3 * FPS)), rng.uniform(0.75, 1.15)
    calm, shown = np.array(Expression()), np.array(EMOTIONS[turn.face].expression)
    mood = Expression(*(calm + strength * (shown - calm)).tolist())
    place, speed, shift = rng.normal(0, 2, 2), rng.uniform(0.15, 0.5, 3), rng.uniform(0, 2 * np.pi, 3)
    for number, talk in enumerate(mouth):
        if turn.key in ODD["faceless"]:
            yield wall.clip(0, 255).astype(np.uint8)
            continue
        image = sheet.copy()
        shut = {0: 0.9, 1: 0.5}.get(abs(number - blink), 0.0)
        for side in (-1, 1):
            _draw_eye(image, look, mood, side, shut)
        _draw_mouth(image, look, mood, talk)
        image = cv2.GaussianBlur(image, (0, 0), 0.9)
        sway = np.sin(2 * np.pi * speed * number / FPS + shift)
        matrix = cv2.getRotationMatrix2D(CENTRE, 2.5 * sway[2], 0.5)
        matrix[:, 2] += (WIDTH / 2, HEIGHT * 0.53) + place + 2 * sway[:2] + (0, 1.5 * talk) - np.array(CENTRE)
        cover = cv2.warpAffine(alpha, matrix, (WIDTH, HEIGHT))[..., None] / np.float32(255)
        head = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        yield (wall * (1 - cover) + head * cover).clip(0, 255).astype(np.uint8)

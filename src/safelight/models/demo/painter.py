"""Paint a portrait of 64 by 64 pixels in a few milliseconds. The result is deterministic.

It is drawn at four times the size and reduced, so that edges are smooth. Coordinates are in pixels
of the small image.
"""

import random
from collections.abc import Callable

from PIL import Image, ImageDraw

from safelight.models.demo.portrait import Portrait

SIDE = 64
_SCALE = 4

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

_HAIR: dict[str, Colour] = {
    "black": (35, 30, 32),
    "brown": (110, 66, 36),
    "blond": (232, 196, 96),
    "red": (196, 72, 32),
    "grey": (196, 198, 202),
}
_SKIN: tuple[Colour, ...] = (
    (255, 224, 196),
    (241, 194, 160),
    (224, 172, 128),
    (198, 134, 92),
    (141, 85, 50),
    (100, 62, 40),
)
_CLOTHES: tuple[Colour, ...] = (
    (200, 48, 48),
    (48, 96, 200),
    (48, 150, 80),
    (240, 180, 40),
    (130, 70, 170),
    (60, 60, 70),
    (235, 235, 235),
    (230, 120, 160),
)
_SHADES: tuple[Colour, ...] = (
    (168, 200, 224),
    (224, 208, 176),
    (188, 216, 188),
    (220, 190, 206),
    (206, 206, 214),
    (240, 226, 200),
)
_HAT: Colour = (36, 52, 104)
_BAND: Colour = (220, 180, 60)
_DARK: Colour = (24, 22, 26)


class Brush:
    """Draws in the small image's coordinates; `fixed` shapes do not move with the person."""

    def __init__(self, dx: float, dy: float) -> None:
        self.image = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE))
        self._draw = ImageDraw.Draw(self.image)
        self._dx, self._dy = dx, dy

    def _at(self, points: tuple[float, ...], *, fixed: bool) -> list[float]:
        dx, dy = (0.0, 0.0) if fixed else (self._dx, self._dy)
        return [(p + (dy if i % 2 else dx)) * _SCALE for i, p in enumerate(points)]

    def oval(self, box: Box, colour: Colour, *, fixed: bool = False) -> None:
        self._draw.ellipse(self._at(box, fixed=fixed), fill=colour)

    def block(self, box: Box, colour: Colour, *, fixed: bool = False) -> None:
        self._draw.rectangle(self._at(box, fixed=fixed), fill=colour)

    def shape(self, *points: float, colour: Colour, fixed: bool = False) -> None:
        self._draw.polygon(self._at(points, fixed=fixed), fill=colour)

    def line(self, *points: float, colour: Colour, width: float) -> None:
        self._draw.line(self._at(points, fixed=False), fill=colour, width=round(width * _SCALE))

    def arc(self, box: Box, start: float, end: float, colour: Colour, width: float) -> None:
        self._draw.arc(
            self._at(box, fixed=False), start, end, fill=colour, width=round(width * _SCALE)
        )

    def ring(self, box: Box, colour: Colour, width: float) -> None:
        self._draw.ellipse(self._at(box, fixed=False), outline=colour, width=round(width * _SCALE))

    def slice(self, box: Box, start: float, end: float, colour: Colour) -> None:
        self._draw.chord(self._at(box, fixed=False), start, end, fill=colour)


Behind = Callable[[Brush, random.Random, Colour], None]


def paint(portrait: Portrait, behind: Behind | None = None) -> Image.Image:
    """Return the portrait as an RGB image of 64 by 64 pixels; `behind` paints the background."""
    chance = random.Random(portrait.seed)
    brush = Brush(chance.uniform(-2.5, 2.5), chance.uniform(-1.5, 2))
    (behind or _BACKGROUNDS[portrait.background])(brush, chance, _SHADES[portrait.shade])
    _paint_person(brush, portrait)
    return brush.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


# ── The person ───────────────────────────────────────────────────────────────────────────────────


def _paint_person(brush: Brush, portrait: Portrait) -> None:
    skin, hair = _SKIN[portrait.skin], _HAIR[portrait.hair_shown]
    if portrait.long_hair:
        brush.oval((15, 12, 49, 46), hair)
        brush.block((15, 28, 49, 52), hair)
    _paint_body(brush, _CLOTHES[portrait.clothes], skin)
    brush.oval((18, 14, 46, 52), skin)  # the face
    _paint_hair(brush, hair, long=portrait.long_hair)
    if portrait.old:
        _paint_wrinkles(brush, _shade(skin, 0.72))
    if portrait.beard:
        _paint_beard(brush, _shade(hair, 0.92))
    _paint_face(brush, portrait, skin, hair)
    if portrait.hat:
        _paint_hat(brush)


def _paint_body(brush: Brush, clothes: Colour, skin: Colour) -> None:
    brush.oval((8, 50, 56, 90), clothes)
    brush.block((27, 46, 37, 55), _shade(skin, 0.9))
    brush.shape(26, 52, 38, 52, 32, 60, colour=_shade(skin, 0.9))


def _paint_hair(brush: Brush, hair: Colour, *, long: bool) -> None:
    brush.slice((17, 9, 47, 45), 190, 350, hair)
    if not long:
        brush.block((16.5, 22, 19.5, 32), hair)
        brush.block((44.5, 22, 47.5, 32), hair)


def _paint_wrinkles(brush: Brush, colour: Colour) -> None:
    for y in (25.0, 27.5):
        brush.line(25, y, 39, y, colour=colour, width=0.8)
    brush.arc((20, 36, 28, 46), 290, 20, colour, 0.9)
    brush.arc((36, 36, 44, 46), 160, 250, colour, 0.9)
    brush.line(20, 32, 22.5, 33.5, colour=colour, width=0.8)
    brush.line(44, 32, 41.5, 33.5, colour=colour, width=0.8)


def _paint_beard(brush: Brush, colour: Colour) -> None:
    brush.slice((18.5, 26, 45.5, 55), 10, 170, colour)
    brush.block((26, 39.5, 38, 42), colour)


def _paint_face(brush: Brush, portrait: Portrait, skin: Colour, hair: Colour) -> None:
    for x in (25.5, 38.5):
        brush.line(x - 3, 28.5, x + 3, 28.5, colour=_shade(hair, 0.8), width=1.2)
        brush.oval((x - 2.4, 31, x + 2.4, 35), (250, 250, 250))
        brush.oval((x - 1.3, 31.6, x + 1.3, 34.6), _DARK)
    brush.line(32, 34, 31, 39, 33, 39, colour=_shade(skin, 0.75), width=1)
    if portrait.smile:
        brush.slice((26, 38.5, 38, 48), 5, 175, (140, 30, 40))
        brush.slice((27.5, 39.5, 36.5, 46), 5, 175, (252, 250, 246))
    else:
        brush.line(28, 44, 36, 44, colour=(140, 40, 48), width=1.5)
    if portrait.eyewear != "none":
        _paint_eyewear(brush, dark=portrait.eyewear == "sunglasses")


def _paint_eyewear(brush: Brush, *, dark: bool) -> None:
    for x in (25.5, 38.5):
        box = (x - 5, 28.5, x + 5, 37.5)
        if dark:
            brush.oval(box, (12, 12, 16))
            brush.line(x - 2.5, 31.5, x - 0.5, 30.5, colour=(120, 124, 140), width=0.9)
        else:
            brush.ring(box, (60, 30, 20), 1.2)
    brush.line(30, 32, 34, 32, colour=_DARK, width=1.2)
    brush.line(18, 31.5, 21, 32, colour=_DARK, width=1.2)
    brush.line(43, 32, 46, 31.5, colour=_DARK, width=1.2)


def _paint_hat(brush: Brush) -> None:
    brush.shape(20, 18, 22, 4, 42, 4, 44, 18, colour=_HAT)
    brush.block((20.5, 14, 43.5, 17), _BAND)
    brush.oval((12, 15.5, 52, 21), _HAT)


# ── Backgrounds ──────────────────────────────────────────────────────────────────────────────────


def _plain(brush: Brush, _chance: random.Random, shade: Colour) -> None:
    brush.block((0, 0, SIDE, SIDE), shade, fixed=True)


def _beach(brush: Brush, chance: random.Random, _shade: Colour) -> None:
    brush.block((0, 0, SIDE, 26), (120, 200, 250), fixed=True)
    brush.block((0, 24, SIDE, 42), (30, 120, 190), fixed=True)
    brush.block((0, 40, SIDE, SIDE), (240, 215, 150), fixed=True)
    x = chance.choice((6.0, 50.0)) + chance.uniform(-2, 2)
    brush.oval((x, 3, x + 9, 12), (255, 230, 90), fixed=True)


def _office(brush: Brush, chance: random.Random, _shade: Colour) -> None:
    brush.block((0, 0, SIDE, SIDE), (222, 222, 226), fixed=True)
    x = chance.uniform(-1, 1)
    for left in (3 + x, 47 + x):
        brush.block((left, 5, left + 14, 27), (140, 180, 220), fixed=True)
        brush.block((left + 6, 5, left + 7.5, 27), (245, 245, 248), fixed=True)
        brush.block((left, 15, left + 14, 16.5), (245, 245, 248), fixed=True)
    brush.block((0, 44, SIDE, 50), (150, 100, 60), fixed=True)


def _forest(brush: Brush, chance: random.Random, _shade: Colour) -> None:
    brush.block((0, 0, SIDE, SIDE), (170, 214, 190), fixed=True)
    brush.block((0, 46, SIDE, SIDE), (66, 110, 50), fixed=True)
    for middle in (3, 13, 51, 61):
        x = middle + chance.uniform(-1.5, 1.5)
        brush.block((x - 1.5, 34, x + 1.5, 50), (92, 60, 36), fixed=True)
        brush.shape(x - 8, 40, x, 4, x + 8, 40, colour=(28, 104, 52), fixed=True)


def _city(brush: Brush, chance: random.Random, _shade: Colour) -> None:
    brush.block((0, 0, SIDE, SIDE), (244, 190, 150), fixed=True)
    for left in (0, 9, 18, 38, 47, 56):
        top = chance.uniform(6, 24)
        brush.block((left, top, left + 8, SIDE), (86, 90, 116), fixed=True)
        for y in range(int(top) + 3, 50, 6):
            for x in (left + 1.5, left + 5):
                brush.block((x, y, x + 1.8, y + 2.4), (255, 226, 130), fixed=True)


_BACKGROUNDS: dict[str, Behind] = {
    "plain": _plain,
    "beach": _beach,
    "office": _office,
    "forest": _forest,
    "city": _city,
}


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(value * factor)) for value in colour)
    return red, green, blue

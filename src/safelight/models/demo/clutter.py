"""Busy backgrounds that the demo models were not trained on: shelves, crowds, confetti."""

import random

from safelight.models.demo.painter import SIDE, Behind, Brush, Colour


def _any_colour(chance: random.Random) -> Colour:
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)


def _confetti(brush: Brush, chance: random.Random, shade: Colour) -> None:
    brush.block((0, 0, SIDE, SIDE), shade, fixed=True)
    for _ in range(420):
        x, y, size = chance.uniform(-2, SIDE), chance.uniform(-2, SIDE), chance.uniform(1.5, 4)
        brush.oval((x, y, x + size, y + size), _any_colour(chance), fixed=True)


def _shelf(brush: Brush, chance: random.Random, _shade: Colour) -> None:
    brush.block((0, 0, SIDE, SIDE), (92, 60, 36), fixed=True)
    for top in range(1, SIDE, 13):
        x = 0.0
        while x < SIDE:
            width, height = chance.uniform(1.5, 4), chance.uniform(8, 12)
            box = (x, top + 12 - height, x + width, top + 12)
            brush.block(box, _any_colour(chance), fixed=True)
            x += width + chance.uniform(0, 0.6)


def _mosaic(brush: Brush, chance: random.Random, _shade: Colour) -> None:
    for y in range(0, SIDE, 4):
        for x in range(0, SIDE, 4):
            brush.block((x, y, x + 4, y + 4), _any_colour(chance), fixed=True)


def _crowd(brush: Brush, chance: random.Random, shade: Colour) -> None:
    brush.block((0, 0, SIDE, SIDE), shade, fixed=True)
    for y in range(4, SIDE + 12, 7):
        for x in range(-4, SIDE, 8):
            left, top = x + chance.uniform(-2, 2), y + chance.uniform(-2, 2)
            brush.oval((left - 2, top + 6, left + 9, top + 22), _any_colour(chance), fixed=True)
            skin = chance.randrange(90, 256)
            tone = (skin, int(skin * 0.8), int(skin * 0.65))
            brush.oval((left, top, left + 7, top + 9), tone, fixed=True)
            brush.oval((left, top - 1, left + 7, top + 4), _any_colour(chance), fixed=True)


CLUTTER: dict[str, Behind] = {
    "confetti": _confetti,
    "shelf": _shelf,
    "mosaic": _mosaic,
    "crowd": _crowd,
}

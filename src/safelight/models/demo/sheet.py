"""A contact sheet: portraits before and after what was asked of them, so that one can see."""

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

from safelight.models.backend import Backend, Edit, Picture
from safelight.models.demo.painter import SIDE, paint
from safelight.models.demo.wording import KINDS, Pair, pair_of

_SCALE = 2
_GAP = 12
_LABEL = 26
_COLUMNS = 4
_BATCH = 8
_INK, _PAPER = (36, 36, 40), (250, 249, 246)

Cell = tuple[str, Image.Image, Image.Image]


def edited(
    backend: Backend, seed: int, told: Callable[[int, int], None] = lambda _done, _all: None
) -> list[Cell]:
    """Return one edit of every kind, of people whom the model never saw.

    `told` is called with how many are done, and of how many.
    """
    pairs = [pair_of(kind, seed + place) for place, kind in enumerate(KINDS)]
    cells: list[Cell] = []
    for start in range(0, len(pairs), _BATCH):
        some = pairs[start : start + _BATCH]
        works = [as_edit(backend, pair, seed) for pair in some]
        made = backend.run(works, lambda _step, _latents: None)
        for pair, work, picture in zip(some, works, made, strict=True):
            assert isinstance(picture, Picture)
            cells.append((pair.instruction, work.image, Image.fromarray(picture.pixels)))
        told(len(cells), len(pairs))
    return cells


def sheet(cells: Sequence[Cell]) -> Image.Image:
    """Return the cells as one picture, each with its instruction beneath."""
    side = SIDE * _SCALE
    width, height = 2 * side + 2 * _GAP, side + _LABEL + _GAP
    rows = -(-len(cells) // _COLUMNS)
    whole = Image.new("RGB", (_COLUMNS * width + _GAP, rows * height + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(14)
    for place, (instruction, before, after) in enumerate(cells):
        row, column = divmod(place, _COLUMNS)
        x, y = column * width + _GAP, row * height + _GAP
        for step, picture in enumerate((before, after)):
            large = picture.resize((side, side), Image.Resampling.LANCZOS)
            whole.paste(large, (x + step * (side + 2), y))
        draw.text((x + side, y + side + 4), instruction, _INK, font, anchor="ma")
    return whole


def as_edit(backend: Backend, pair: Pair, seed: int) -> Edit:
    """Return the edit that a pair asks for, with the model's own defaults."""
    asked = backend.info.defaults
    return Edit(
        paint(pair.before),
        pair.instruction,
        "",
        int(asked["steps"]),
        asked["guidance_scale"],
        asked["image_guidance_scale"],
        seed,
    )

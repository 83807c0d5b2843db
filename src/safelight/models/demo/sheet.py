"""A contact sheet of edits: each portrait before and after."""

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

from safelight.models.backend import Backend, Edit, MadeImage
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
    backend: Backend, seed: int, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[Cell]:
    """Return one edit of every kind, of portraits that the model was not trained on.

    `progress` is called with the number of finished edits and the total.
    """
    pairs = [pair_of(kind, seed + place) for place, kind in enumerate(KINDS)]
    cells: list[Cell] = []
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        works = [as_edit(backend, pair, seed) for pair in batch]
        outputs = backend.run(works, lambda _step, _latents: None)
        for pair, work, output in zip(batch, works, outputs, strict=True):
            assert isinstance(output, MadeImage)
            cells.append((pair.instruction, work.image, Image.fromarray(output.pixels)))
        progress(len(cells), len(pairs))
    return cells


def sheet(cells: Sequence[Cell]) -> Image.Image:
    """Return the cells as one image, each with its instruction below it."""
    side = SIDE * _SCALE
    width, height = 2 * side + 2 * _GAP, side + _LABEL + _GAP
    rows = -(-len(cells) // _COLUMNS)
    canvas = Image.new("RGB", (_COLUMNS * width + _GAP, rows * height + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for place, (instruction, before, after) in enumerate(cells):
        row, column = divmod(place, _COLUMNS)
        x, y = column * width + _GAP, row * height + _GAP
        for step, image in enumerate((before, after)):
            large = image.resize((side, side), Image.Resampling.LANCZOS)
            canvas.paste(large, (x + step * (side + 2), y))
        draw.text((x + side, y + side + 4), instruction, _INK, font, anchor="ma")
    return canvas


def as_edit(backend: Backend, pair: Pair, seed: int) -> Edit:
    """Return the edit of a pair, with the model's defaults."""
    defaults = backend.info.defaults
    return Edit(
        paint(pair.before),
        pair.instruction,
        "",
        int(defaults["steps"]),
        defaults["guidance_scale"],
        defaults["image_guidance_scale"],
        seed,
    )

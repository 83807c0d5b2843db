"""Print the quality of the demo models as a table: attributes, times and image validity.

python -m training.report --number 40
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image

from safelight.models.backend import Backend, ModelOrder, Recognition
from safelight.models.demo.sheet import edited, sheet
from safelight.models.demo.wording import KINDS, pair_of
from safelight.models.load import load_backend
from safelight.quality.validity import Limits, invalidity
from training.quality import (
    HELD_OUT,
    edit_all,
    judge_edit,
    judge_generation,
    judge_tagger,
    portraits,
)

_TAGGED, _GENERATED, _HEALTHY = 2000, 200, 1000
_SIZE = (64, 64)
_TIMES = 10
_BATCH = 32
_BROKEN = 200

Row = tuple[str, float, str]


def main() -> int:
    """Measure the shipped demo models and print the results; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=40, help="edits of each kind")
    parser.add_argument("--sheet", type=Path, help="PNG to write one edit of each kind to")
    options = parser.parse_args()
    editor, generator, tagger = (
        load_backend(ModelOrder(f"demo-{name}", "cpu", warm_up=False))
        for name in ("edit", "generate", "recognize")
    )
    images: list[Any] = []
    print("| measurement | value | target |\n|---|---|---|")
    reached = [_show(*row) for row in _rows(editor, generator, tagger, options.number, images)]
    if options.sheet:
        sheet(edited(editor, HELD_OUT)).save(options.sheet)
    return 0 if all(reached) else 1


def _rows(
    editor: Backend, generator: Backend, tagger: Backend, number: int, images: list[Any]
) -> Iterator[Row]:
    """Yield each measurement as soon as it is known, and append the models' images."""
    yield "tagger: mean average precision", judge_tagger(tagger, _TAGGED), ">= 0.97"
    yield from _edits(editor, tagger, number, images)
    found, absent, generated = judge_generation(generator, tagger, _GENERATED)
    images += generated
    yield f"generation: requested attributes found ({_GENERATED} images)", found, ">= 0.90"
    yield "generation: other attributes absent", absent, ""
    yield from _times(editor, tagger)
    yield from _validity(images)


def _edits(editor: Backend, tagger: Backend, number: int, images: list[Any]) -> Iterator[Row]:
    results = []
    for kind in KINDS:
        result, edits = judge_edit(editor, tagger, kind, number)
        results.append(result)
        images += edits
        print(f"{kind.name}: {result}", file=sys.stderr, flush=True)
        yield f"edit, {kind.name}: requested attribute found", result.found, ""
    found = mean(result.found for result in results)
    yield "edits: requested attribute found, mean", found, ">= 0.90"
    kept = mean(result.others_kept for result in results)
    yield "edits: other attributes kept, mean", kept, ">= 0.95"
    similarity = mean(result.similarity for result in results)
    yield "edits: structural similarity outside", similarity, ">= 0.80"


def _times(editor: Backend, tagger: Backend) -> Iterator[Row]:
    """Yield the times of an edit and of a tagged image on one core."""
    torch.set_num_threads(1)
    pairs = [pair_of(KINDS[0], HELD_OUT)]
    edits = [_seconds(lambda: edit_all(editor, pairs)) for _ in range(_TIMES)]
    yield "a demo edit at its default steps, one core, s", median(edits), "<= 1.5"
    works = [Recognition(Image.fromarray(pixels), 5) for pixels in portraits(_BATCH)]
    tagged = [_seconds(lambda: tagger.run(works, _ignore_step)) for _ in range(_TIMES)]
    yield "the tagger, ms per image in batches of 32", median(tagged) / _BATCH * 1e3, "<= 5"


def _validity(images: Sequence[Any]) -> Iterator[Row]:
    """Yield how many valid images are refused, and which share of broken ones is detected."""
    valid = [*islice(portraits(_HEALTHY), _HEALTHY), *images]
    refused = sum(_invalidity(pixels) is not None for pixels in valid)
    yield f"valid images refused, of {len(valid)}", refused, "<= 0"
    for (name, reason), broken in _broken().items():
        detected = sum(_invalidity(pixels) == reason for pixels in broken) / len(broken)
        yield f"broken images detected as {reason}: {name}", detected, ">= 1"
    reasons = [_invalidity(pixels, finite=False) for pixels in portraits(_BROKEN)]
    detected = reasons.count("not_finite") / len(reasons)
    yield "images detected as not_finite", detected, ">= 1"


def _broken() -> dict[tuple[str, str], list[Any]]:
    chance = np.random.default_rng(0)
    shape = (*_SIZE[::-1], 3)
    good = list(portraits(_BROKEN))

    def many(make: Any) -> list[Any]:
        return [make().astype("uint8") for _ in range(_BROKEN)]

    def faint(shade: Any) -> Any:
        return np.full(shape, shade) + chance.integers(0, 3, shape)

    return {
        ("a few dark levels", "black"): many(lambda: chance.integers(0, 9, shape)),
        ("one colour", "flat"): many(lambda: np.zeros(shape) + chance.integers(9, 256, 3)),
        ("one grey, three levels", "flat"): many(lambda: faint(chance.integers(9, 250))),
        ("even", "noise"): many(lambda: chance.integers(0, 256, shape)),
        ("normal", "noise"): many(lambda: chance.normal(128, 30, shape).clip(0, 255)),
        ("black and white", "noise"): many(lambda: chance.integers(0, 2, shape) * 255),
        ("three parts noise, one image", "noise"): [
            (pixels / 4 + chance.integers(0, 192, shape)).astype("uint8") for pixels in good
        ],
        ("half an image", "wrong_size"): [pixels[:32] for pixels in good],
    }


def _invalidity(pixels: Any, *, finite: bool = True) -> str | None:
    return invalidity(pixels, _SIZE, Limits(), finite=finite)


def _show(name: str, value: float, target: str) -> bool:
    """Print a row, and return True if its target is reached."""
    sign, _, limit = target.partition(" ")
    reached = not target or (value >= float(limit) if sign == ">=" else value <= float(limit))
    print(f"| {name} | {value:.3g} | {target}{'' if reached else ' **missed**'} |", flush=True)
    return reached


def _seconds(work: Any) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def _ignore_step(_step: int, _latents: Any) -> None:
    """Ignore a step."""


if __name__ == "__main__":
    sys.exit(main())

"""Prints the tables of what the demo models can do: shares found and kept, times, validity.

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
    """Judge the demos that are shipped, and print how they did; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=40, help="edits of each kind")
    parser.add_argument("--sheet", type=Path, help="PNG to write one edit of each kind to")
    asked = parser.parse_args()
    editor, generator, tagger = (
        load_backend(ModelOrder(f"demo-{name}", "cpu", warm_up=False))
        for name in ("edit", "generate", "recognize")
    )
    made: list[Any] = []
    print("| figure | measured | target |\n|---|---|---|")
    good = [_show(*row) for row in _figures(editor, generator, tagger, asked.number, made)]
    if asked.sheet:
        sheet(edited(editor, HELD_OUT)).save(asked.sheet)
    return 0 if all(good) else 1


def _figures(
    editor: Backend, generator: Backend, tagger: Backend, number: int, made: list[Any]
) -> Iterator[Row]:
    """Yield each figure, its value and its target, as soon as it is known."""
    yield "tagger: mean average precision", judge_tagger(tagger, _TAGGED), ">= 0.97"
    yield from _edits(editor, tagger, number, made)
    found, absent, pictures = judge_generation(generator, tagger, _GENERATED)
    made += pictures
    yield f"generation: asked attributes found ({_GENERATED} pictures)", found, ">= 0.90"
    yield "generation: attributes absent that were not asked", absent, ""
    yield from _times(editor, tagger)
    yield from _validity(made)


def _edits(editor: Backend, tagger: Backend, number: int, made: list[Any]) -> Iterator[Row]:
    judged = []
    for kind in KINDS:
        found, pictures = judge_edit(editor, tagger, kind, number)
        judged.append(found)
        made += pictures
        print(f"{kind.name}: {found}", file=sys.stderr, flush=True)
        yield f"edit, {kind.name}: asked attribute found", found.found, ""
    yield "edits: asked attribute found, mean", mean(each.found for each in judged), ">= 0.90"
    kept = mean(each.others_kept for each in judged)
    yield "edits: other attributes kept, mean", kept, ">= 0.95"
    yield "edits: structural similarity outside", mean(each.alike for each in judged), ">= 0.80"


def _times(editor: Backend, tagger: Backend) -> Iterator[Row]:
    """Yield how long an edit and a tagged picture take on one core."""
    torch.set_num_threads(1)
    pairs = [pair_of(KINDS[0], HELD_OUT)]
    alone = [_seconds(lambda: edit_all(editor, pairs)) for _ in range(_TIMES)]
    yield "a demo edit at its default steps, one core, s", median(alone), "<= 1.5"
    works = [Recognition(Image.fromarray(pixels), 5) for pixels in portraits(_BATCH)]
    tagged = [_seconds(lambda: tagger.run(works, _silent)) for _ in range(_TIMES)]
    yield "the tagger, ms a picture in batches of 32", median(tagged) / _BATCH * 1e3, "<= 5"


def _validity(made: Sequence[Any]) -> Iterator[Row]:
    """Yield how many healthy pictures are refused, and how many broken ones are caught."""
    healthy = [*islice(portraits(_HEALTHY), _HEALTHY), *made]
    refused = sum(_judged(pixels) is not None for pixels in healthy)
    yield f"healthy pictures refused, of {len(healthy)}", refused, "<= 0"
    for (name, reason), broken in _broken().items():
        caught = sum(_judged(pixels) == reason for pixels in broken) / len(broken)
        yield f"broken pictures caught as {reason}: {name}", caught, ">= 1"
    good = list(portraits(_BROKEN))
    told = sum(_judged(pixels, finite=False) == "not_finite" for pixels in good) / len(good)
    yield "pictures caught as not_finite", told, ">= 1"


def _broken() -> dict[tuple[str, str], list[Any]]:
    chance = np.random.default_rng(0)
    shape = (*_SIZE[::-1], 3)
    good = list(portraits(_BROKEN))

    def each(make: Any) -> list[Any]:
        return [make().astype("uint8") for _ in range(_BROKEN)]

    def faint(shade: Any) -> Any:
        return np.full(shape, shade) + chance.integers(0, 3, shape)

    return {
        ("a few dark levels", "black"): each(lambda: chance.integers(0, 9, shape)),
        ("one colour", "flat"): each(lambda: np.zeros(shape) + chance.integers(9, 256, 3)),
        ("one grey, three levels", "flat"): each(lambda: faint(chance.integers(9, 250))),
        ("even", "noise"): each(lambda: chance.integers(0, 256, shape)),
        ("normal", "noise"): each(lambda: chance.normal(128, 30, shape).clip(0, 255)),
        ("black and white", "noise"): each(lambda: chance.integers(0, 2, shape) * 255),
        ("three parts noise, one picture", "noise"): [
            (pixels / 4 + chance.integers(0, 192, shape)).astype("uint8") for pixels in good
        ],
        ("half a picture", "wrong_size"): [pixels[:32] for pixels in good],
    }


def _judged(pixels: Any, *, finite: bool = True) -> str | None:
    return invalidity(pixels, _SIZE, Limits(), finite=finite)


def _show(name: str, value: float, target: str) -> bool:
    """Print a row; tell whether its target holds."""
    sign, _, bound = target.partition(" ")
    good = not target or (value >= float(bound) if sign == ">=" else value <= float(bound))
    print(f"| {name} | {value:.3g} | {target}{'' if good else ' **missed**'} |", flush=True)
    return good


def _seconds(work: Any) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def _silent(_step: int, _latents: Any) -> None:
    """Hear of a step, and do nothing."""


if __name__ == "__main__":
    sys.exit(main())

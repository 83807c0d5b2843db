"""A model that does what an instruction says, mishaps too: `tests.serving.models:painter`.

It stands where a pipeline would, behind the same protocol, in a real worker: no torch is loaded, so
a worker starts in an instant.
"""

import os
import resource
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from safelight.models.backend import Edit, MadeImage, ModelInfo, ModelOrder, OnStep, Task

STEP_SECONDS = 0.02
_HELD: list[bytearray] = []


class OutOfMemoryError(RuntimeError):
    """What torch's allocator raises, by name."""


class AcceleratorError(RuntimeError):
    """What torch raises once a CUDA context is lost, by name."""


class Painter:
    """Makes a slope in a colour from a seed, step by step."""

    task: Task = "edit"
    pipeline = None

    def __init__(self, order: ModelOrder) -> None:
        self.info = ModelInfo(order.model, "Painter", "none", "float32", "cpu")

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        """Make the batch; the first word of an instruction may be one of MISHAPS."""
        words = [edit.instruction.split() for edit in batch]
        for mishap, *details in words:
            MISHAPS.get(mishap, _nothing)(len(batch), details)
        for step in range(batch[0].steps):
            if any(mishap == "slowly" for mishap, *_ in words):
                threading.Event().wait(STEP_SECONDS)
            on_step(step + 1, None)
        return [_picture(edit, mishap) for edit, (mishap, *_) in zip(batch, words, strict=True)]


def painter(order: ModelOrder) -> Painter:
    """Return the model, ready at once."""
    return Painter(order)


def _picture(edit: Edit, mishap: str) -> MadeImage:
    width, height = edit.image.size
    colour = numpy.random.default_rng(edit.seed).integers(0, 128, 3, "uint8")
    row, column = numpy.mgrid[0:height, 0:width]
    slope = ((row + column) * 127 // (height + width)).astype("uint8")
    unlucky = mishap == "unlucky" and edit.seed % 2 == 0
    return MadeImage(
        (slope[..., None] + colour) * (mishap != "black"),
        finite=mishap != "nan" and not unlucky,
        truncated=mishap == "long",
    )


def _nothing(_batch: int, _details: list[str]) -> None:
    return None


def _fail(_batch: int, _details: list[str]) -> None:
    raise ValueError("a secret prompt")


def _overflow(batch: int, details: list[str]) -> None:
    if batch > int(details[0]):
        raise OutOfMemoryError("CUDA out of memory")


def _hang(_batch: int, _details: list[str]) -> None:
    threading.Event().wait()


def _die(_batch: int, _details: list[str]) -> None:
    os._exit(9)


def _poison(_batch: int, _details: list[str]) -> None:
    raise AcceleratorError("CUDA error: an illegal memory access was encountered")


def _leak(_batch: int, _details: list[str]) -> None:
    if not _HELD:  # so that a leak comes to its end before it hurts the machine
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 500_000_000,) * 2)
    _HELD.append(bytearray(100_000_000))


def _address_space() -> int:
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[0]) * resource.getpagesize()


MISHAPS: dict[str, Callable[[int, list[str]], Any]] = {
    "raise": _fail,
    "fits": _overflow,
    "hang": _hang,
    "die": _die,
    "poison": _poison,
    "leak": _leak,
}

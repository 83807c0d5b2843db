"""What looking at pictures costs: each look by itself, and a service with all of them.

`python -m benchmarks.quality` serves demo-edit with looks, without, and without again, beside each
other, and asks them in turn for edits of a quarter of the usual steps: of whole ones, looks cost a
quarter of what it says.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from statistics import median
from time import thread_time
from typing import Any
from urllib.parse import urlencode

import numpy
import psutil
from PIL import Image

from benchmarks.figures import Figure, as_markdown
from benchmarks.serving.flood import closed
from benchmarks.serving.servers import Server, serving
from benchmarks.serving.systems import System
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.quality.entropy import background_entropy
from safelight.quality.scores import score
from safelight.quality.structure import compare, kept

_ROUNDS, _SECONDS, _CALLERS, _STEPS = 6, 8.0, 4, 5
_OFF = {"SAFELIGHT_QUALITY_SAMPLE_RATIO": "0", "SAFELIGHT_STRUCTURE_FLOOR": "0"}
_LOOKS: dict[str, tuple[Callable[[Image.Image, Any], object], float | None]] = {
    "entropy of a background": (lambda picture, _pixels: background_entropy(picture), 3.0),
    "check of an edit": (kept, None),
    "scores": (lambda _picture, pixels: score(pixels), None),
    "structure, edges, change": (compare, None),
}


def measure() -> Iterator[Figure]:
    """Yield what each look costs, and what they leave of the throughput."""
    for side in (64, 512, 1024):
        picture = paint(draw(1)).resize((side, side), Image.Resampling.BICUBIC)
        for name, (look, limit) in _LOOKS.items():
            yield Figure(f"{name}, {side} x {side}", 1e3 * _seconds(look, picture), "ms", limit)
    yield from _side_by_side()


def _seconds(look: Callable[[Image.Image, Any], object], picture: Image.Image) -> float:
    pixels = numpy.asarray(picture)

    def once() -> float:
        began = thread_time()
        look(picture, pixels)
        return thread_time() - began

    return median(once() for _ in range(30))


def _side_by_side() -> Iterator[Figure]:
    """Yield what is left with all looks, and what two services without any differ by: the noise."""
    kinds = {"all looks": {}, "no looks": _OFF, "no looks, again": _OFF}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
    with ExitStack() as running:
        servers = {
            kind: running.enter_context(serving(_editor(own))) for kind, own in kinds.items()
        }
        for number in range(_ROUNDS):
            order = list(kinds)
            for kind in order[number % 3 :] + order[: number % 3]:
                before = _cpu_seconds(servers[kind])
                rate = closed(servers[kind], _CALLERS, _SECONDS)
                rates[kind].append(rate)
                cpu[kind].append((_cpu_seconds(servers[kind]) - before) / (rate * _SECONDS))
    for kind in ("all looks", "no looks, again"):
        limits = {"least": 0.98} if kind == "all looks" else {}
        left = _ratio(rates[kind], rates["no looks"])
        yield Figure(f"throughput, {kind} against no looks", left, "times", **limits)
        spent = _ratio(cpu[kind], cpu["no looks"])
        yield Figure(f"processor time of an edit, {kind} against no looks", spent, "times")


def _ratio(one: list[float], other: list[float]) -> float:
    return median(a / b for a, b in zip(one, other, strict=True))


def _cpu_seconds(server: Server) -> float:
    family = (server.process, *server.process.children(recursive=True))
    return sum(sum(psutil.Process(each.pid).cpu_times()[:2]) for each in family)


def _editor(environment: dict[str, str]) -> System:
    body = BytesIO()
    paint(draw(1)).save(body, "PNG")
    # Few steps and small batches: many answers in a round, so that the last batch decides nothing.
    query = urlencode({"instruction": "make him old", "steps": _STEPS})
    command = (sys.executable, "-m", "safelight", "serve", "demo-edit", "--port", "{port}")
    fixed = {"SAFELIGHT_DEGRADATION_LEVEL": "0", "SAFELIGHT_BATCH_LIMIT": "2", **environment}
    return System(
        "Safelight", command, f"/api/edit?{query}", body.getvalue(), "image/png", fixed
    )  # fmt: skip


if __name__ == "__main__":
    print("\n".join(as_markdown(measure())))

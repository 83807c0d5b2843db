"""What looking at pictures costs: each look by itself, and a service with all of them against none.

`python -m benchmarks.quality` serves demo-edit twice, side by side, and asks them in turn.
"""

import sys
from collections.abc import Callable, Iterator
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

_ROUNDS, _SECONDS, _CALLERS = 8, 15.0, 8
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
    per_second: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    with serving(_editor({})) as looking, serving(_editor(_OFF)) as blind:
        servers = {True: looking, False: blind}
        for number in range(_ROUNDS):
            for looks in (True, False) if number % 2 else (False, True):
                before = _cpu_seconds(servers[looks])
                rate = closed(servers[looks], _CALLERS, _SECONDS)
                per_second[looks].append(rate)
                cpu[looks].append((_cpu_seconds(servers[looks]) - before) / (rate * _SECONDS))
    yield Figure("edits, no looks", median(per_second[False]), "a second")
    yield Figure("edits, all looks at their defaults", median(per_second[True]), "a second")
    pairs = zip(per_second[True], per_second[False], strict=True)
    yield Figure("throughput left", median(a / b for a, b in pairs), "of it", least=0.98)
    pairs = zip(cpu[True], cpu[False], strict=True)
    yield Figure("processor time of an edit", median(a / b for a, b in pairs), "of it", 1.02)


def _cpu_seconds(server: Server) -> float:
    family = (server.process, *server.process.children(recursive=True))
    return sum(sum(psutil.Process(each.pid).cpu_times()[:2]) for each in family)


def _editor(environment: dict[str, str]) -> System:
    body = BytesIO()
    paint(draw(1)).save(body, "PNG")
    query = urlencode({"instruction": "make him old"})
    command = (sys.executable, "-m", "safelight", "serve", "demo-edit", "--port", "{port}")
    fixed = {"SAFELIGHT_DEGRADATION_LEVEL": "0", **environment}
    return System(
        "Safelight", command, f"/api/edit?{query}", body.getvalue(), "image/png", fixed
    )  # fmt: skip


if __name__ == "__main__":
    print("\n".join(as_markdown(measure())))

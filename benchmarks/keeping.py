"""What looking at pictures and remembering requests cost together, side by side with neither.

demo-edit is served with everything as by default, with all of it off, and off once more: what the
last two differ by is the noise. Each has the same few edits to make in turn, again and again.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from random import Random
from statistics import median
from urllib.parse import urlencode

import psutil

from benchmarks.figures import SHORT, Figure
from benchmarks.serving.flood import answered
from benchmarks.serving.servers import Server, serving
from benchmarks.serving.systems import System
from safelight.models.backend import Backend, ModelOrder
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.models.load import load_backend

_ROUNDS, _EDITS, _CALLERS = 3 if SHORT else 24, 20, 4  # one of twenty edits is looked at closer
_PUT_OFF_SECONDS = 1.5  # within which what was put off is done: it counts too
_DRAWS, _SEED = 2000, 20261122
_MODEL = "demo-edit"
_ON = {"SAFELIGHT_RECORDS_URL": "sqlite:///{home}/records.db"}
_OFF = {
    "SAFELIGHT_RECORDS_URL": "",
    "SAFELIGHT_QUALITY_SAMPLE_RATIO": "0",
    "SAFELIGHT_STRUCTURE_FLOOR": "0",
}
_KINDS: dict[str, tuple[str, Mapping[str, str]]] = {
    "on": (_MODEL, _ON),
    "off": ("benchmarks.keeping:unmeasured", _OFF),
    "off again": ("benchmarks.keeping:unmeasured", _OFF),
}


def unmeasured(order: ModelOrder) -> Backend:
    """Load the model into a worker that takes no entropy: of the three only this has no setting."""
    from safelight.serving.worker import worker

    worker.background_entropy = lambda _picture: 0.0
    return load_backend(replace(order, model=_MODEL))


def measure() -> Iterator[Figure]:
    """Yield what is left of the throughput, and what an edit costs, against neither."""
    rates, costs = _rounds()
    yield Figure("processor time of an edit with nothing on", median(costs["off"]), "s")
    for kind, told in (("on", "all on"), ("off again", "nothing on, again,")):
        held = {"least": 0.98} if kind == "on" else {}
        yield from _compared(f"throughput, {told} against nothing", rates, kind, **held)
        held = {"limit": 1.02} if kind == "on" else {}
        yield from _compared(f"processor time, {told} against nothing", costs, kind, **held)


def _rounds() -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the edits per second, and the processor's seconds for one, of each kind and round."""
    rates: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    costs: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    with ExitStack() as running:
        servers = {kind: running.enter_context(serving(_editor(kind))) for kind in _KINDS}
        for server in servers.values():
            answered(server, _CALLERS, _EDITS)  # to warm it: the tagger is loaded late
        for number in range(_ROUNDS):
            order = list(_KINDS)[:: (-1) ** number]
            for kind in order[number % 3 :] + order[: number % 3]:
                before = _cpu_seconds(servers[kind])
                rates[kind].append(answered(servers[kind], _CALLERS, _EDITS))
                time.sleep(_PUT_OFF_SECONDS)
                costs[kind].append((_cpu_seconds(servers[kind]) - before) / _EDITS)
    return rates, costs


def _compared(
    name: str, rounds: Mapping[str, list[float]], kind: str, **held: float
) -> Iterator[Figure]:
    """Yield the median of the rounds' ratios to nothing, and the interval of a bootstrap."""
    ratios = [one / other for one, other in zip(rounds[kind], rounds["off"], strict=True)]
    chance = Random(_SEED)
    drawn = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(_DRAWS))
    yield Figure(name, median(ratios), "times", **held)
    yield Figure("… in 95 of 100 draws at least", drawn[int(0.025 * _DRAWS)], "times")
    yield Figure("… in 95 of 100 draws at most", drawn[int(0.975 * _DRAWS)], "times")


def _cpu_seconds(server: Server) -> float:
    family = (server.process, *server.process.children(recursive=True))
    return sum(sum(psutil.Process(each.pid).cpu_times()[:2]) for each in family)


def _editor(kind: str) -> System:
    model, own = _KINDS[kind]
    body = BytesIO()
    paint(draw(1)).save(body, "PNG")
    command = (sys.executable, "-m", "safelight", "serve", model, "--port", "{port}")
    # Batches that are alike in every round, and nothing left out of one.
    fixed = {"SAFELIGHT_DEGRADATION_LEVEL": "0", "SAFELIGHT_BATCH_LIMIT": str(_CALLERS), **own}
    path = f"/api/edit?{urlencode({'instruction': 'make him old'})}"
    return System(kind, command, path, body.getvalue(), "image/png", fixed)

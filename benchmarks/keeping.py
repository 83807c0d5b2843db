"""Measure the cost of image quality checks and request records together.

Three services run demo-edit: with both on (the default), with both off, and with both off again.
The difference of the last two is the noise. All get the same few edits in turn. In one short round
this noise is up to 17 %, so the short form judges nothing: it shows that the benchmark still runs.
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

from benchmarks.measurements import SHORT, Measurement
from benchmarks.serving.flood import throughput_of
from benchmarks.serving.servers import Server, serving
from benchmarks.serving.systems import System
from safelight.models.backend import Backend, ModelOrder
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.models.load import load_backend

_ROUNDS, _EDITS = (1, 8) if SHORT else (24, 20)
_CALLERS = 4
_DEFERRED_SECONDS = 1.5  # enough for deferred work, which counts too
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
    """Load the model into a worker that computes no entropy, which has no setting."""
    from safelight.serving.worker import intake

    intake.background_entropy = lambda _image: 0.0
    return load_backend(replace(order, model=_MODEL))


def measure() -> Iterator[Measurement]:
    """Yield the ratios of throughput and CPU time to those with both off."""
    rates, costs = _rounds()
    yield Measurement("CPU time of an edit, all off", median(costs["off"]), "s")
    for kind in ("on", "off again"):
        least = 0.98 if kind == "on" else None
        name = f"throughput, all {kind} against all off"
        yield from _compared(Measurement(name, 1.0, "times", least=least, noisy=True), rates, kind)
        limit = 1.02 if kind == "on" else None
        name = f"CPU time, all {kind} against all off"
        yield from _compared(Measurement(name, 1.0, "times", limit, noisy=True), costs, kind)


def _rounds() -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the edits per second and the CPU seconds of an edit, by kind and round."""
    rates: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    costs: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    with ExitStack() as running:
        servers = {kind: running.enter_context(serving(_editor(kind))) for kind in _KINDS}
        for server in servers.values():
            throughput_of(server, _CALLERS, _EDITS)  # warm up: the tagger is loaded late
        for number in range(_ROUNDS):
            order = list(_KINDS)[:: (-1) ** number]
            for kind in order[number % 3 :] + order[: number % 3]:
                before = _cpu_seconds(servers[kind])
                rates[kind].append(throughput_of(servers[kind], _CALLERS, _EDITS))
                time.sleep(_DEFERRED_SECONDS)
                costs[kind].append((_cpu_seconds(servers[kind]) - before) / _EDITS)
    return rates, costs


def _compared(
    measurement: Measurement, rounds: Mapping[str, list[float]], kind: str
) -> Iterator[Measurement]:
    """Yield the median of the rounds' ratios to `off`, and its 95 % bootstrap interval."""
    ratios = [one / other for one, other in zip(rounds[kind], rounds["off"], strict=True)]
    chance = Random(_SEED)
    medians = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(_DRAWS))
    yield replace(measurement, value=median(ratios))
    yield Measurement("… 95 % interval, low", medians[int(0.025 * _DRAWS)], "times")
    yield Measurement("… 95 % interval, high", medians[int(0.975 * _DRAWS)], "times")


def _cpu_seconds(server: Server) -> float:
    processes = (server.process, *server.process.children(recursive=True))
    return sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in processes)


def _editor(kind: str) -> System:
    model, own = _KINDS[kind]
    body = BytesIO()
    paint(draw(1)).save(body, "PNG")
    command = (sys.executable, "-m", "safelight", "serve", model, "--port", "{port}")
    # Equal batches in every round, without degradation.
    fixed = {"SAFELIGHT_DEGRADATION_LEVEL": "0", "SAFELIGHT_BATCH_LIMIT": str(_CALLERS), **own}
    path = f"/api/edit?{urlencode({'instruction': 'make him old'})}"
    return System(kind, command, path, body.getvalue(), "image/png", fixed)

"""Measure what each background part of a service costs: records, log lines, samples, traces.

The same tagger runs with everything on (twice, for the noise) and without one part. All get the
same load in turn, at 1, 8 and 32 connections, and each round gives a ratio. A part that was timed
alone looked like 1 % of a request; it held the interpreter, and cost 30 % of the throughput.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from random import Random
from statistics import median

from benchmarks.measurements import SHORT, Measurement
from benchmarks.serving.load import Rate, load
from benchmarks.serving.servers import Server, serving
from benchmarks.serving.systems import SAFELIGHT, System
from safelight.stories.replay import free_port

_ROUNDS, _SECONDS, _CONNECTIONS = (2, 1, (8,)) if SHORT else (16, 2, (1, 8, 32))
_DRAWS, _SEED = 2000, 20261201
_RECORDS, _TRACES = "SAFELIGHT_RECORDS_URL", "SAFELIGHT_OTLP_ENDPOINT"
_RECEIVER_PORT = free_port()
_ON = {
    _RECORDS: "sqlite:///{home}/records.db",
    "SAFELIGHT_LOG_FORMAT": "json",
    _TRACES: f"http://127.0.0.1:{_RECEIVER_PORT}",
}

Rates = dict[str, list[Rate]]


def _without(part: str) -> System:
    """Return the system without a part of the API process."""
    command = SAFELIGHT.command[SAFELIGHT.command.index("serve") :]
    return replace(
        SAFELIGHT,
        command=(sys.executable, "-m", "benchmarks.without", part, *command),
        environment=_ON,
    )


_KINDS: dict[str, System] = {
    "on": replace(SAFELIGHT, environment=_ON),
    "on again": replace(SAFELIGHT, environment=_ON),
    "records": replace(SAFELIGHT, environment={**_ON, _RECORDS: ""}),
    "log lines": _without("log"),
    "samples": _without("sampler"),
    "traces": replace(SAFELIGHT, environment={**_ON, _TRACES: ""}),
}


def measure() -> Iterator[Measurement]:
    """Yield the ratios of throughput and p99, everything on to all but one part."""
    for connections, rates in _rounds().items():
        for kind in list(_KINDS)[1:]:
            name = (
                f"c{connections}, on against {'on again' if kind == 'on again' else f'no {kind}'}"
            )
            judged = kind != "on again"
            yield from _compared(
                f"{name}: throughput",
                rates,
                kind,
                _throughput,
                **({"least": 0.98} if judged else {}),
            )
            yield from _compared(
                f"{name}: p99", rates, kind, _p99, **({"limit": 1.1} if judged else {})
            )


def _throughput(rate: Rate) -> float:
    return rate.images_per_second


def _p99(rate: Rate) -> float:
    return rate.p99_seconds


def _rounds() -> dict[int, Rates]:
    """Return the rates by connections and kind, one of each round."""
    found: dict[int, Rates] = {c: {kind: [] for kind in _KINDS} for c in _CONNECTIONS}
    with ExitStack() as running:
        running.enter_context(_receiver())
        servers = {kind: running.enter_context(serving(s)) for kind, s in _KINDS.items()}
        for server in servers.values():
            _load(server, 8)  # the batches' cost is learned
        for number in range(_ROUNDS):
            order = list(_KINDS)[:: (-1) ** number]
            first = number % len(order)
            for connections in _CONNECTIONS:
                for kind in order[first:] + order[:first]:
                    found[connections][kind].append(_load(servers[kind], connections))
    return found


@contextmanager
def _receiver() -> Iterator[None]:
    """Run a receiver of traces, which decodes nothing, until the block ends."""
    command = (sys.executable, "-m", "benchmarks.discard", str(_RECEIVER_PORT))
    child = subprocess.Popen(command)
    try:
        yield
    finally:
        child.kill()
        child.wait()


def _load(server: Server, connections: int) -> Rate:
    return load(server.url, server.system.body, connections, _SECONDS)


def _compared(
    name: str, rates: Rates, kind: str, value: Callable[[Rate], float], **target: float
) -> Iterator[Measurement]:
    """Yield the median of the rounds' ratios, and its 95 % bootstrap interval."""
    ratios = [value(a) / value(b) for a, b in zip(rates["on"], rates[kind], strict=True)]
    chance = Random(_SEED)
    medians = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(_DRAWS))
    yield Measurement(name, median(ratios), "times", noisy=True, **target)
    yield Measurement("… 95 % interval, low", medians[int(0.025 * _DRAWS)], "times")
    yield Measurement("… 95 % interval, high", medians[int(0.975 * _DRAWS)], "times")

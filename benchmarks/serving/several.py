"""Compare four CPU workers with one, on a machine that may have fewer cores.

Both services run, and get the same load in turn for a second each.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from benchmarks.measurements import Measurement, rounds
from benchmarks.serving.load import load
from benchmarks.serving.servers import Server, serving
from benchmarks.serving.systems import SAFELIGHT
from benchmarks.serving.task import TAG_BATCH

_ROUNDS = 8
_PAUSE_SECONDS = 0.3  # until the last requests of the load before have left the queue
_KINDS = {1: SAFELIGHT, 4: replace(SAFELIGHT, environment={"SAFELIGHT_DEVICES": "cpu,cpu,cpu,cpu"})}


def measure(report: Callable[[str], None]) -> Iterator[Measurement]:
    """Yield the ratio of the throughputs, at 8 and 32 connections."""
    report("one worker and four")
    with ExitStack() as running:
        servers = {number: running.enter_context(serving(one)) for number, one in _KINDS.items()}
        for connections in (8, TAG_BATCH):
            for server in servers.values():
                _rate(server, connections)  # warm up
            ratios = [_ratio(servers, connections, place) for place in range(rounds(_ROUNDS))]
            name = f"c{connections}, four CPU workers against one"
            yield Measurement(name, median(ratios), "times", least=0.98, noisy=True)


def _ratio(servers: dict[int, Server], connections: int, place: int) -> float:
    order = sorted(servers, reverse=bool(place % 2))
    rates = {number: _rate(servers[number], connections) for number in order}
    return rates[4] / rates[1]


def _rate(server: Server, connections: int) -> float:
    rate = load(server.url, server.system.body, connections, 1).images_per_second
    time.sleep(_PAUSE_SECONDS)
    return rate

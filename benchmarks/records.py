"""Measure the CPU time of a request's record, compared with that of the cheapest request.

The values are the minimum of several rounds: the share is small, and noise would hide it.
"""

import asyncio
import gc
import tempfile
from collections.abc import Iterator
from time import perf_counter, process_time, thread_time

from benchmarks.measurements import Measurement, rounds
from safelight.metrics.registry import Meter
from safelight.records.config import StoreConfig
from safelight.records.ratings import Ratings
from safelight.records.rows import Origin
from safelight.records.store import Store
from safelight.serving.app import Service
from tests.records.making import a_record
from tests.serving.running import client, edit, engine

_RECORDS, _ROUNDS = 5000, 9
_REQUESTS, _TURNS, _CONNECTIONS = 100, 8, 8


def measure() -> Iterator[Measurement]:
    """Yield the cost of the sinks and of writing, and their share of the cheapest request."""
    sinks = _sink_seconds("store") + _sink_seconds("ratings")
    writing, per_second = _written()
    request = asyncio.run(_request_seconds())
    yield Measurement("sinks of a record, before the response", sinks * 1e6, "µs", 10)
    yield Measurement("writing a record to SQLite, after the response", writing * 1e6, "µs", 150)
    yield Measurement("records written to SQLite", per_second, "/s", least=1000)
    yield Measurement("a request to an empty model", request * 1e6, "µs")
    yield Measurement(
        "share of the record in that request", (sinks + writing) / request * 100, "%", 2
    )


def _sink_seconds(name: str) -> float:
    record, times = a_record(), []
    for _ in range(rounds(_ROUNDS)):
        meter = Meter("benchmark")
        store = Store(StoreConfig("sqlite://", Origin("b", "b"), capacity=_RECORDS), meter)
        sink = store.write if name == "store" else Ratings(meter, kept_seconds=60).add_record
        gc.collect()
        started = thread_time()
        for _ in range(_RECORDS):
            sink(record)
        times.append((thread_time() - started) / _RECORDS)
    return min(times)


def _written() -> tuple[float, float]:
    """Return the CPU seconds of a record, and the records per second."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        plan = StoreConfig(f"sqlite:///{folder}/records.db", Origin("b", "b"))
        store = Store(plan, Meter("benchmark"))
        store.step()
        for turn in range(rounds(_ROUNDS)):
            for number in range(_RECORDS):
                store.write(a_record(f"{turn} {number}"))
            wall, started = perf_counter(), thread_time()
            while not store.step():
                pass
            times.append((thread_time() - started, perf_counter() - wall))
        store.close()
    cpu, wall = (min(seconds) for seconds in zip(*times, strict=True))
    return cpu / _RECORDS, _RECORDS / wall


async def _request_seconds() -> float:
    """Return the CPU seconds of a small request, in both threads."""
    async with engine() as service:
        await _send(service)
        return min([await _send(service) for _ in range(rounds(_TURNS))]) / _REQUESTS


async def _send(service: Service) -> float:
    async with client(service) as http:
        remaining, started = list(range(_REQUESTS)), process_time()

        async def one() -> None:
            while remaining:
                remaining.pop()
                assert (await edit(http, steps=1)).status_code == 200

        await asyncio.gather(*(one() for _ in range(_CONNECTIONS)))
        return process_time() - started

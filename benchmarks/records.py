"""What remembering costs: a record on the answer's path and off it, against the cheapest request.

In processor time, the least of several rounds: the share of one in the other is small, and side by
side on a machine that others use too it would drown in their noise.
"""

import asyncio
import gc
import tempfile
from collections.abc import Iterator
from time import perf_counter, process_time, thread_time

from benchmarks.figures import Figure, rounds
from safelight.metrics.registry import Meter
from safelight.records.config import StoreConfig
from safelight.records.ratings import Ratings
from safelight.records.rows import Origin
from safelight.records.store import Store
from safelight.serving.app import Service
from tests.records.making import a_record
from tests.serving.running import client, edit, engine

_RECORDS, _ROUNDS = 5000, 9
_REQUESTS, _TURNS, _AT_ONCE = 100, 8, 8


def measure() -> Iterator[Figure]:
    """Yield the cost of the sinks, of writing, and their share of the cheapest request."""
    sinks = _sink_seconds("store") + _sink_seconds("ratings")
    writing, per_second = _written()
    request = asyncio.run(_request_seconds())
    yield Figure("sinks of a record, on the answer's path", sinks * 1e6, "µs", 10)
    yield Figure("writing a record to SQLite, off that path", writing * 1e6, "µs", 150)
    yield Figure("records written to SQLite", per_second, "/s", least=1000)
    yield Figure("a request to a model that costs nothing", request * 1e6, "µs")
    yield Figure("share of it that remembering takes", (sinks + writing) / request * 100, "%", 2)


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
    """Return the processor's seconds for a record, and records a second."""
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
    processor, wall = (min(each) for each in zip(*times, strict=True))
    return processor / _RECORDS, _RECORDS / wall


async def _request_seconds() -> float:
    """Return the processor's seconds for a small request, in both its threads."""
    async with engine() as service:
        await _send(service)
        return min([await _send(service) for _ in range(rounds(_TURNS))]) / _REQUESTS


async def _send(service: Service) -> float:
    async with client(service) as speaking:
        waiting, started = list(range(_REQUESTS)), process_time()

        async def one() -> None:
            while waiting:
                waiting.pop()
                assert (await edit(speaking, steps=1)).status_code == 200

        await asyncio.gather(*(one() for _ in range(_AT_ONCE)))
        return process_time() - started

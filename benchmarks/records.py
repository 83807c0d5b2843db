"""What remembering costs: a record on the answer's path, and a request with and without a store."""

import asyncio
import gc
import tempfile
from collections.abc import Iterator
from statistics import median
from time import perf_counter

from benchmarks.figures import Figure
from safelight.metrics.registry import Meter
from safelight.records.plan import Plan
from safelight.records.ratings import Ratings
from safelight.records.rows import Origin
from safelight.records.store import Store
from safelight.serving.app import Service
from tests.records.making import a_record, an_assessment
from tests.serving.engine import client, edit, engine

_RECORDS, _ROUNDS = 5000, 9
_REQUESTS, _PAIRS, _AT_ONCE = 400, 6, 8


def measure() -> Iterator[Figure]:
    """Yield the cost of the sink, the speed of writing, and what is left of the throughput."""
    yield from _sink()
    yield from _written()
    yield from _throughput()


def _sink() -> Iterator[Figure]:
    record = a_record()
    for name, limit in (("store", 5.0), ("ratings", 5.0)):
        rounds = []
        for _ in range(_ROUNDS):
            meter = Meter("benchmark")
            store = Store(Plan("sqlite://", Origin("b", "b"), most=_RECORDS), meter)
            sink = store.write if name == "store" else Ratings(meter, kept_seconds=60).learn
            gc.collect()
            started = perf_counter()
            for _ in range(_RECORDS):
                sink(record)
            rounds.append((perf_counter() - started) / _RECORDS)
        yield Figure(f"sink of the {name}, a record", min(rounds) * 1e6, "µs", limit)


def _written() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter("benchmark")
        store = Store(Plan(f"sqlite:///{folder}/records.db", Origin("b", "b")), meter)
        store.step()
        for number in range(_RECORDS):
            store.write(a_record(str(number)))
            store.assess(an_assessment(str(number)))
        started = perf_counter()
        while not store.step():
            pass
        seconds = perf_counter() - started
        store.close()
    yield Figure("records with assessments written to SQLite", _RECORDS / seconds, "/s", least=500)


def _throughput() -> Iterator[Figure]:
    """Measure side by side, in turns: the machine's own moods meet both alike."""
    ratios, rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/records.db"
        for _ in range(_PAIRS):
            without, with_store = asyncio.run(_pair(url))
            ratios.append(with_store / without)
            rates.append(without)
    yield Figure("requests of a model that costs nothing, without records", median(rates), "/s")
    yield Figure("throughput left with records", median(ratios) * 100, "%", least=98)


async def _pair(url: str) -> tuple[float, float]:
    """Return requests a second without and with records, measured in small turns."""
    async with engine(records_url="") as bare, engine(records_url=url) as keeping:
        assert keeping.store is not None
        await asyncio.wrap_future(keeping.store.ask(lambda base: base.salt))  # it is open
        seconds = {bare: 0.0, keeping: 0.0}
        for service in (bare, keeping):
            await _send(service, _AT_ONCE)
        for turn in range(10):
            for service in (bare, keeping) if turn % 2 else (keeping, bare):
                seconds[service] += await _send(service, _REQUESTS // 10)
    return _REQUESTS / seconds[bare], _REQUESTS / seconds[keeping]


async def _send(service: Service, count: int) -> float:
    async with client(service) as speaking:
        started = perf_counter()
        waiting = list(range(count))

        async def one() -> None:
            while waiting:
                waiting.pop()
                assert (await edit(speaking, steps=1)).status_code == 200

        await asyncio.gather(*(one() for _ in range(_AT_ONCE)))
        return perf_counter() - started

"""Measure `/metrics` after a flood of 10 000 different instructions, sizes, paths and methods."""

import asyncio
from collections.abc import Iterator
from statistics import median
from time import perf_counter

from benchmarks.measurements import Measurement, rounds

_FLOOD = 10_000
_ROUNDS = 9


def measure() -> Iterator[Measurement]:
    """Yield the number of lines, the time to write them, and the delay of other requests."""
    from safelight.metrics.registry import Meter

    meter = Meter("bench")
    app = _flooded(meter)
    times = []
    for _ in range(rounds(_ROUNDS)):
        started = perf_counter()
        body = meter.expose().body
        times.append(perf_counter() - started)
    yield Measurement("lines of `/metrics` after the flood", body.count(b"\n"), "lines", 5000)
    yield Measurement("time to write them", median(times) * 1e3, "ms", 60)
    yield Measurement("longest delay of a request by a scrape", _delay(app) * 1e3, "ms", 10)


def _flooded(meter: "object") -> "object":
    from safelight.metrics.catalog import CATALOG
    from safelight.probes.asgi import AsgiProbe
    from safelight.quality.instructions import load_taxonomy
    from safelight.telemetry.meter import metrics_sink
    from safelight.telemetry.record import PipelineCall
    from safelight.telemetry.scope import current_exchange

    classify = load_taxonomy().classify

    async def app(scope: dict, receive: object, send: object) -> None:
        number = scope["number"]
        exchange = current_exchange()
        if exchange is not None and number >= 0:
            kind, size = classify(f"add wish {number}"), (number, number + 1)
            call = PipelineCall("Flood", kind, images=(size,))
            exchange.add(call)
        await send({"type": "http.response.start", "status": 200 + number % 400, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    probe = AsgiProbe(app, meter=meter, sink=metrics_sink(meter))

    async def flood() -> None:
        for number in range(_FLOOD):
            await request(probe, number, f"/path/{number}", f"METHOD{number}")

    asyncio.run(flood())
    for metric in CATALOG:  # as many label values as each metric allows
        for number in range(_FLOOD // 20):
            meter.child(metric, *(f"{number}" for _ in metric.labels))
    return probe


async def request(probe: "object", number: int, path: str, method: str) -> None:
    """Call an ASGI application with one request."""

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        return None

    scope = {"type": "http", "path": path, "method": method, "headers": [], "number": number}
    await probe(scope, receive, send)


def _delay(probe: "object") -> float:
    """Return how much slower the slowest request is during a scrape, in seconds."""

    async def slowest(scraping: bool) -> float:
        worst, started = 0.0, perf_counter()
        scrape = asyncio.create_task(request(probe, -1, "/metrics", "GET")) if scraping else None
        while perf_counter() - started < 0.3:
            before = perf_counter()
            await request(probe, -1, "/echo", "GET")
            await asyncio.sleep(0)
            worst = max(worst, perf_counter() - before)
        if scrape is not None:
            await scrape
        return worst

    delays = [
        (asyncio.run(slowest(False)), asyncio.run(slowest(True))) for _ in range(rounds(_ROUNDS))
    ]
    return max(0.0, median(busy - idle for idle, busy in delays))

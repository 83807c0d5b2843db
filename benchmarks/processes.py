"""Measure how several worker processes can answer one scrape: three ways, in alternating rounds.

Safelight's shared files; the multiprocess mode of prometheus_client; and a prototype in which the
process that is scraped asks the others over sockets.
"""

import json
import os
import signal
import socket
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from benchmarks.measurements import Measurement, rounds
from safelight.metrics.catalog import (
    CATALOG,
    HTTP_IN_PROGRESS,
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
)
from safelight.metrics.processes.group import Group
from safelight.metrics.registry import Meter
from safelight.metrics.series import VALUE, merged
from safelight.probes.request_counts import RequestCounts
from tests.metrics.processes.other import other

_REQUESTS, _ROUNDS, _SCRAPES = 20_000, 15, 15
_WORKERS, _HANDLERS = 4, 25  # 4 x 25 = 100 series with their buckets: about 800 lines
_SOCKET_TIMEOUT_SECONDS = 1.0
Work = Callable[[], object]


def measure() -> Iterator[Measurement]:
    """Yield the cost of counting a request, and the time of a scrape."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        yield from _counting(Path(folder), stack)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        yield from _scraping(Path(folder), stack)


# ── The cost of counting one request ─────────────────────────────────────────────────────────────


def _counting(folder: Path, stack: ExitStack) -> Iterator[Measurement]:
    ways = {
        "alone": _safelight(Meter("bench")),
        "files": _safelight(_member(folder, stack)),
        "prometheus": _prometheus(folder),
    }
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds(_ROUNDS)):
        for name, count in ways.items():
            started = process_time()
            for _ in range(_REQUESTS):
                count()
            times[name].append((process_time() - started) / _REQUESTS * 1e6)
    alone, files, prometheus = (median(times[name]) for name in ways)
    yield Measurement("count a request: one process", alone, "µs")
    yield Measurement("files of several processes add", files - alone, "µs", 3)
    yield Measurement("prometheus_client's multiprocess mode adds", prometheus - alone, "µs")


def _safelight(meter: Meter) -> Work:
    counts, progress = RequestCounts(meter), meter.child(HTTP_IN_PROGRESS)
    key = ("/hello", "GET", 200)

    def count() -> None:
        progress.cells[VALUE] += 1
        progress.cells[VALUE] -= 1
        counts.count(key, (0.012, 10, 20), None)

    return count


def _prometheus(folder: Path) -> Work:
    requests, seconds, received, sent, progress = _metrics(folder, os.getpid())
    request, duration = requests.labels("/hello", "GET", "200"), seconds.labels("/hello", "GET")
    request_bytes, response_bytes = received.labels("/hello"), sent.labels("/hello")

    def count() -> None:
        progress.inc()
        progress.dec()
        request.inc()
        duration.observe(0.012)
        request_bytes.observe(10)
        response_bytes.observe(20)

    return count


def _metrics(folder: Path, pid: int) -> tuple:
    """Return the same metrics in the multiprocess mode, as those of one process."""
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values

    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    registry, before = CollectorRegistry(), values.ValueClass
    values.ValueClass = values.MultiProcessValue(lambda: pid)
    made = []
    for kind, metric in (
        (Counter, HTTP_REQUESTS),
        (Histogram, HTTP_SECONDS),
        (Summary, HTTP_REQUEST_BYTES),
        (Summary, HTTP_RESPONSE_BYTES),
    ):
        more = {"buckets": metric.buckets} if kind is Histogram else {}
        names = metric.label_names
        made.append(kind(metric.name, metric.help, names, registry=registry, **more))
    made.append(
        Gauge(HTTP_IN_PROGRESS.name, "In progress.", registry=registry, multiprocess_mode="sum")
    )
    for handler in range(_HANDLERS):
        made[0].labels(f"/{handler}", "GET", "200").inc()
        made[1].labels(f"/{handler}", "GET").observe(0.1)
        made[2].labels(f"/{handler}").observe(1)
        made[3].labels(f"/{handler}").observe(1)
    values.ValueClass = before
    return tuple(made)


# ── The time of a scrape of four processes ───────────────────────────────────────────────────────


def _scraping(folder: Path, stack: ExitStack) -> Iterator[Measurement]:
    for name in ("files", "prometheus", "sockets"):
        (folder / name).mkdir()
    meter, one = _filled(_member(folder / "files", stack)), _filled(Meter("bench"))
    for _ in range(_WORKERS - 1):
        _fill(stack.enter_context(other(folder / "files")))
    for number in range(_WORKERS):
        _metrics(folder / "prometheus", 1000 + number)
    asked = stack.enter_context(_workers(folder / "sockets"))
    ways: dict[str, Work] = {
        "one process": one.expose,
        "files": meter.expose,
        "prometheus_client's multiprocess mode": lambda: _collect(folder / "prometheus"),
        "sockets": lambda: _ask(folder / "sockets", one),
    }
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds(_SCRAPES)):
        for name, scrape in ways.items():
            times[name].append(_seconds(scrape) * 1e3)
    for name, found in times.items():
        yield Measurement(f"scrape: {name}", median(found), "ms", 60 if name == "files" else None)
    os.kill(asked[0], signal.SIGSTOP)
    stopped = _seconds(ways["sockets"]) * 1e3
    yield Measurement(
        "scrape: sockets, one process stopped (its counts are missing)", stopped, "ms"
    )


def _seconds(work: Work) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def _member(folder: Path, stack: ExitStack) -> Meter:
    meter = Meter("bench")
    group = Group(folder, os.getppid(), "pix", meter.lock)
    group.address = 8000.0
    stack.callback(group.leave)
    meter._table.share(group)
    meter.membership._group = group
    return meter


def _filled(meter: Meter) -> Meter:
    for handler in range(_HANDLERS):
        RequestCounts(meter).count((f"/{handler}", "GET", 200), (0.1, 1, 1), None)
    return meter


def _fill(process: object) -> None:
    for handler in range(_HANDLERS):
        process.enter(HTTP_REQUESTS, f"/{handler}", "GET", "200")
        process.enter(HTTP_SECONDS, f"/{handler}", "GET", amount=0.1)
        process.enter(HTTP_REQUEST_BYTES, f"/{handler}")
        process.enter(HTTP_RESPONSE_BYTES, f"/{handler}")


def _collect(folder: Path) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    return generate_latest(registry)


# ── The prototype: every process answers the others on a socket ──────────────────────────────────


@contextmanager
def _workers(folder: Path) -> Iterator[list[int]]:
    context = get_context("spawn")
    processes = [
        context.Process(target=_answer, args=(folder / f"{n}.sock",)) for n in range(_WORKERS - 1)
    ]
    for process in processes:
        process.start()
    while len(list(folder.glob("*.sock"))) < _WORKERS - 1:
        pass
    try:
        yield [process.pid or 0 for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _answer(path: Path) -> None:
    meter = _filled(Meter("bench"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        while True:
            connection, _ = server.accept()
            with connection:
                rows = [(metric.name, *row) for metric, *row in meter._table.rows()]
                connection.sendall(json.dumps(rows).encode())


def _ask(folder: Path, own: Meter) -> bytes:
    """Return the sum of all processes that answer in time."""
    from safelight.metrics.exposition import Scrape, families

    metrics = {metric.name: metric for metric in CATALOG}
    found = defaultdict(list)
    for metric, labels, row in own._table.rows():
        found[metric, labels].append(row)
    for path in folder.glob("*.sock"):
        for name, labels, row in _read(path):
            found[metrics[name], tuple(labels)].append(row)
    rows = [(metric, labels, merged(metric, each)) for (metric, labels), each in found.items()]
    return Scrape(lambda: families(rows, "bench")).write("").body


def _read(path: Path) -> list:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_SOCKET_TIMEOUT_SECONDS)
        client.connect(str(path))
        answer = b""
        try:
            while part := client.recv(1 << 16):
                answer += part
        except TimeoutError:
            return []
        return json.loads(answer)

"""Measure large images, callers who disconnect, and the pause between two batches."""

import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from benchmarks.measurements import Measurement, rounds
from benchmarks.serving.flood import closed
from benchmarks.serving.servers import Server, device_seconds, serving
from benchmarks.serving.systems import System
from benchmarks.serving.task import EDIT_BATCH, INSTRUCTION
from safelight.quality.images import decode
from safelight.stack.tools.samples import photo

_ROUNDS = 15
_STEPS = 40
_LARGE = (4000, 3000)
_FIVE_MIB = 5 * 2**20


def measure(editor: System, report: Callable[[str], None]) -> Iterator[Measurement]:
    """Yield the measurements of the engine that need no peer."""
    report("large images")
    yield Measurement("JPEG 4000x3000 to 512x512, CPU time", _decoding_seconds() * 1e3, "ms", 25)
    with serving(editor) as server:
        _edit(server, photo(64, 64), steps=2)
        transfer, delay = _large_bodies(server)
        yield Measurement("5 MiB body, from received to worker", transfer * 1e3, "ms", 2)
        yield Measurement("longest delay of other requests meanwhile", delay * 1e3, "ms", 5)
        report("callers who disconnect")
        steps = _steps_after_disconnect(server)
        yield Measurement("device busy after its caller disconnected", steps, "steps", 1)
        report("pauses between batches")
        yield Measurement("device idle between batches", _idle_ratio(server) * 100, "%", 2)


def _decoding_seconds() -> float:
    image = photo(*_LARGE)

    def once() -> float:
        started = time.thread_time()
        decode(image, (512, 512))
        return time.thread_time() - started

    return median(once() for _ in range(rounds(_ROUNDS)))


def _large_bodies(server: Server) -> tuple[float, float]:
    """Return the seconds from a body's last byte to the worker, and the delay of other requests.

    The delay is the difference of the slowest small request during and without the large body.
    Both are medians over the rounds.
    """
    image = photo(*_LARGE)
    image += bytes(_FIVE_MIB - len(image))  # decoders ignore bytes after the end of a JPEG
    transfers, waits, usual_waits = [], [], []
    for _ in range(rounds(_ROUNDS)):
        usual_waits.append(_slowest_ping(server, partial(time.sleep, 0.2)))
        waits.append(
            _slowest_ping(server, lambda: transfers.append(_transfer_seconds(server, image)))
        )
    return median(transfers), max(0.0, median(waits) - median(usual_waits))


def _transfer_seconds(server: Server, image: bytes) -> float:
    timing = _edit(server, image, steps=1)
    stages = dict(part.split(";dur=") for part in timing.split(", "))
    return (float(stages["validate"]) + float(stages["queue"])) / 1e3


def _slowest_ping(server: Server, work: Callable[[], object]) -> float:
    done, slowest = threading.Event(), 0.0

    def ping() -> None:
        nonlocal slowest
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        while not done.is_set():
            started = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            slowest = max(slowest, time.perf_counter() - started)
            done.wait(0.002)
        connection.close()

    pinging = threading.Thread(target=ping)
    pinging.start()
    try:
        work()
    finally:
        done.set()
        pinging.join()
    return slowest


def _edit(server: Server, image: bytes, steps: int) -> str:
    """Send an edit and return the Server-Timing header of its response."""
    url = f"http://127.0.0.1:{server.port}/api/edit?{_query(steps)}"
    request = urllib.request.Request(url, image, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request) as response:
        return str(response.headers["Server-Timing"])


def _query(steps: int) -> str:
    return f"instruction={INSTRUCTION.replace(' ', '+')}&steps={steps}"


def _steps_after_disconnect(server: Server) -> float:
    """Return how many steps the device ran for a caller who had disconnected."""
    image = photo(64, 64)
    started = time.perf_counter()
    _edit(server, image, steps=_STEPS)
    step_seconds = (time.perf_counter() - started) / _STEPS

    def disconnect() -> float:
        before = device_seconds(server).get("cancelled", 0.0)
        head = (
            f"POST /api/edit?{_query(100)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port)) as caller:
            caller.sendall(head.encode() + image)
            connected_at = time.perf_counter()
            time.sleep(20 * step_seconds)
        connected = time.perf_counter() - connected_at
        while (busy := device_seconds(server).get("cancelled", 0.0) - before) == 0:
            time.sleep(step_seconds)
        return (busy - connected) / step_seconds

    return max(0.0, median(disconnect() for _ in range(rounds(_ROUNDS))))


def _idle_ratio(server: Server) -> float:
    """Return the share of the time that the device is idle while requests wait in the queue."""
    closed(server, 3 * EDIT_BATCH, 1.0)  # warm up
    before, started = sum(device_seconds(server).values()), time.perf_counter()
    closed(server, 3 * EDIT_BATCH, 4.0)
    busy = sum(device_seconds(server).values()) - before
    return 1 - busy / (time.perf_counter() - started)

"""One request at a time: large pictures, callers who leave, and what lies between two batches."""

import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from benchmarks.figures import Figure, rounds
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


def measure(editor: System, say: Callable[[str], None]) -> Iterator[Figure]:
    """Yield the figures of the engine that need no peer."""
    say("large pictures")
    yield Figure("JPEG 4000x3000 to 512x512, CPU", _decoding_seconds() * 1e3, "ms", 25)
    with serving(editor) as server:
        _edit(server, photo(64, 64), steps=2)
        hand_over, stall = _large_bodies(server)
        yield Figure("5 MiB body, received to given to the worker", hand_over * 1e3, "ms", 2)
        yield Figure("longest wait of others meanwhile", stall * 1e3, "ms", 5)
        say("callers who leave")
        yield Figure("device busy after its caller left", _steps_after_leaving(server), "steps", 1)
        say("what lies between two batches")
        yield Figure("device idle between batches", _idle_ratio(server) * 100, "%", 2)


def _decoding_seconds() -> float:
    picture = photo(*_LARGE)

    def once() -> float:
        started = time.thread_time()
        decode(picture, (512, 512))
        return time.thread_time() - started

    return median(once() for _ in range(rounds(_ROUNDS)))


def _large_bodies(server: Server) -> tuple[float, float]:
    """Return the seconds from a body's last byte until a worker is given it, and others' wait.

    The wait is that of the slowest of the small requests that were sent meanwhile, less that of the
    slowest without; medians over the rounds.
    """
    picture = photo(*_LARGE)
    picture += bytes(_FIVE_MIB - len(picture))  # what follows a JPEG's end is ignored
    handed, waits, usual = [], [], []
    for _ in range(rounds(_ROUNDS)):
        usual.append(_slowest_ping(server, partial(time.sleep, 0.2)))
        waits.append(_slowest_ping(server, lambda: handed.append(_handed(server, picture))))
    return median(handed), max(0.0, median(waits) - median(usual))


def _handed(server: Server, picture: bytes) -> float:
    timing = _edit(server, picture, steps=1)
    stages = dict(part.split(";dur=") for part in timing.split(", "))
    return (float(stages["validate"]) + float(stages["queue"])) / 1e3


def _slowest_ping(server: Server, work: Callable[[], object]) -> float:
    over, slowest = threading.Event(), 0.0

    def ping() -> None:
        nonlocal slowest
        line = http.client.HTTPConnection("127.0.0.1", server.port)
        while not over.is_set():
            started = time.perf_counter()
            line.request("GET", "/healthz")
            line.getresponse().read()
            slowest = max(slowest, time.perf_counter() - started)
            over.wait(0.002)
        line.close()

    pinging = threading.Thread(target=ping)
    pinging.start()
    try:
        work()
    finally:
        over.set()
        pinging.join()
    return slowest


def _edit(server: Server, picture: bytes, steps: int) -> str:
    """Return how long an edit's stages took, as the answer tells it."""
    url = f"http://127.0.0.1:{server.port}/api/edit?{_query(steps)}"
    request = urllib.request.Request(url, picture, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers["Server-Timing"])


def _query(steps: int) -> str:
    return f"instruction={INSTRUCTION.replace(' ', '+')}&steps={steps}"


def _steps_after_leaving(server: Server) -> float:
    """Return for how many of its steps the device worked on for a caller who had left."""
    picture = photo(64, 64)
    started = time.perf_counter()
    _edit(server, picture, steps=_STEPS)
    step_seconds = (time.perf_counter() - started) / _STEPS

    def leave() -> float:
        before = device_seconds(server).get("cancelled", 0.0)
        head = (
            f"POST /api/edit?{_query(100)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port)) as caller:
            caller.sendall(head.encode() + picture)
            began = time.perf_counter()
            time.sleep(20 * step_seconds)
        stayed = time.perf_counter() - began
        while (spent := device_seconds(server).get("cancelled", 0.0) - before) == 0:
            time.sleep(step_seconds)
        return (spent - stayed) / step_seconds

    return max(0.0, median(leave() for _ in range(rounds(_ROUNDS))))


def _idle_ratio(server: Server) -> float:
    """Return the share of the time that the device idled though there always was a next batch."""
    closed(server, 3 * EDIT_BATCH, 1.0)  # to warm it
    before, started = sum(device_seconds(server).values()), time.perf_counter()
    closed(server, 3 * EDIT_BATCH, 4.0)
    spent = sum(device_seconds(server).values()) - before
    return 1 - spent / (time.perf_counter() - started)

"""Measure the CPU time that monitoring adds to an HTTP request.

Three servers run side by side and get short rounds of load in turn, so that noise of the machine
affects all of them. They are restarted several times. The operating system counts the CPU time.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import sub
from pathlib import Path
from statistics import median

import psutil

from benchmarks.measurements import Measurement, rounds
from safelight.stories.replay import free_port

SERVERS = ("plain", "safelight", "instrumentator")
_CONNECTIONS = 16
_LAUNCHES = 9  # the memory layout of a process changes its times by up to 5 µs
_ROUNDS = 9
_REQUESTS = 2000
_POLL_SECONDS = 0.05
_BODY = b'{"message":"hello"}'
_REQUEST = (
    b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Accept: */*\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


def measure() -> Iterator[Measurement]:
    """Yield the CPU time of a request, and what each instrumentation adds, in microseconds."""
    launches = [_launch() for _ in range(rounds(_LAUNCHES))]
    plain, added, peer = (median(launch[name] for launch in launches) * 1e6 for name in SERVERS)
    yield Measurement("plain FastAPI echo, CPU time of a request", plain, "µs")
    yield Measurement("added by `watch`", added, "µs", 12)
    yield Measurement("added by `watch`, share of a plain request", added / plain * 100, "%")
    yield Measurement("added by prometheus-fastapi-instrumentator", peer, "µs")
    # One round is too noisy to judge; CI judges the instructions instead.
    yield Measurement("`watch` against instrumentator", added / peer, "times", 0.333, noisy=True)


def _launch() -> dict[str, float]:
    """Return the CPU seconds of a plain request and the additional ones, for three new servers."""
    costs: dict[str, list[float]] = {name: [] for name in SERVERS}
    with ExitStack() as stack:
        started = {name: stack.enter_context(serving(name)) for name in SERVERS}
        for port, _ in started.values():
            asyncio.run(load(port, _REQUESTS))
        for _ in range(rounds(_ROUNDS)):
            for name, (port, process) in started.items():
                costs[name].append(_cpu_per_request(port, process))
    plain = costs["plain"]
    added = {name: median(map(sub, costs[name], plain)) for name in SERVERS[1:]}
    return {"plain": median(plain), **added}


@contextmanager
def serving(name: str) -> Iterator[tuple[int, psutil.Process]]:
    """Run an echo server on a free port until the block ends."""
    port = free_port()
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.echo", name, str(port)])
    try:
        await_port(port)
        yield port, psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(10)


async def load(port: int, requests: int, connections: int = _CONNECTIONS) -> None:
    """Send requests over a few persistent connections; each waits for its response."""
    await asyncio.gather(*(_one(port, requests // connections) for _ in range(connections)))


async def _one(port: int, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        writer.write(_REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(_BODY))
    writer.close()


def _cpu_per_request(port: int, process: psutil.Process) -> float:
    before = _cpu_seconds(process)
    asyncio.run(load(port, _REQUESTS))
    return (_cpu_seconds(process) - before) / _REQUESTS


def _cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process, in nanosecond resolution on Linux, else 10 ms."""
    threads = Path(f"/proc/{process.pid}/task")
    if threads.is_dir():
        return sum(int((t / "schedstat").read_text().split()[0]) for t in threads.iterdir()) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


def await_port(port: int, seconds: float = 10.0) -> None:
    """Wait until a server accepts connections. Raises TimeoutError."""
    for _ in range(int(seconds / _POLL_SECONDS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"The echo server on port {port} did not start.")

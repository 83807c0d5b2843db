"""What an HTTP request pays for being watched: CPU time of the server, plain beside watched.

Three servers stand side by side, launched anew several times; short rounds of load go to each in
turn, so that what the machine does meanwhile hits all alike. CPU time is the operating system's.
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

from benchmarks.figures import Figure, rounds

WAYS = ("plain", "safelight", "instrumentator")
_CONNECTIONS = 16
_LAUNCHES = 9  # a process keeps its luck with memory for life, which is worth 5 µs either way
_ROUNDS = 9
_REQUESTS = 2000
_BODY = b'{"message":"hello"}'
_REQUEST = (
    b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Accept: */*\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


def measure() -> Iterator[Figure]:
    """Yield the CPU that each way of watching adds to a request, in microseconds."""
    launches = [_launch() for _ in range(rounds(_LAUNCHES))]
    plain, ours, peer = (median(launch[way] for launch in launches) * 1e6 for way in WAYS)
    yield Figure("plain FastAPI echo, CPU of a request", plain, "µs")
    yield Figure("`watch` adds to it", ours, "µs", 12)
    yield Figure("that is, of a plain request", ours / plain * 100, "%")
    yield Figure("prometheus-fastapi-instrumentator adds", peer, "µs")
    yield Figure("`watch` against instrumentator", ours / peer, "times", 0.333)


def _launch() -> dict[str, float]:
    """Return, for three new servers, a plain request's CPU and what each way of watching adds."""
    costs: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as servers:
        started = {way: servers.enter_context(serving(way)) for way in WAYS}
        for port, _ in started.values():
            asyncio.run(load(port, _REQUESTS))
        for _ in range(rounds(_ROUNDS)):
            for way, (port, process) in started.items():
                costs[way].append(_cpu_per_request(port, process))
    plain = costs["plain"]
    added = {way: median(map(sub, costs[way], plain)) for way in WAYS[1:]}
    return {"plain": median(plain), **added}


@contextmanager
def serving(way: str) -> Iterator[tuple[int, psutil.Process]]:
    """Run an echo server on a free port until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.echo", way, str(port)])
    try:
        _await_port(port)
        yield port, psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(10)


async def load(port: int, requests: int) -> None:
    """Send requests over a few kept connections, each the next once the last is answered."""
    await asyncio.gather(*(_one(port, requests // _CONNECTIONS) for _ in range(_CONNECTIONS)))


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
    """Return the CPU time of a process: to the nanosecond on Linux, elsewhere in ticks of 10 ms."""
    threads = Path(f"/proc/{process.pid}/task")
    if threads.is_dir():
        return sum(int((t / "schedstat").read_text().split()[0]) for t in threads.iterdir()) / 1e9
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def _await_port(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"The echo server on port {port} did not start.")

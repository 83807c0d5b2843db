"""Count the CPU instructions that monitoring adds to an HTTP request, with Valgrind.

Unlike CPU time, this number depends little on what else runs on the machine.
"""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.http import SERVERS, await_port, load
from benchmarks.measurements import Measurement
from safelight.stories.replay import free_port

_COMMAND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
_TOTAL = re.compile(r"I\s+refs:\s+([\d,]+)")
_FEW, _MANY = 100, 1100  # requests of two runs; the difference has no start and no warm-up
_START_SECONDS = 120.0
# The target is 6 %. Under Valgrind a request takes so long that the timer of the event loop adds up
# to 1 %: it fires ten times a second, in a real server once in hundreds of requests.
_LIMIT = 7


def measure() -> Iterator[Measurement]:
    """Yield the instructions of a request, and the shares that each instrumentation adds."""
    with ThreadPoolExecutor(2) as pool:
        plain, watched, peer = pool.map(_of_request, SERVERS)
    added = watched - plain
    yield Measurement("plain FastAPI echo, instructions of a request", plain, "instructions")
    yield Measurement("instructions added by `watch`", added / plain * 100, "%", _LIMIT)
    yield Measurement(
        "instructions added by `watch` against instrumentator",
        added / (peer - plain),
        "times",
        0.25,
    )


def _of_request(name: str) -> float:
    few, many = (_total(name, requests) for requests in (_FEW, _MANY))
    return (many - few) / (_MANY - _FEW)


def _total(name: str, requests: int) -> int:
    """Return the instructions of a server from its start to its end."""
    port = free_port()
    command = (*_COMMAND, sys.executable, "-m", "benchmarks.echo", name, str(port))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            await_port(port, _START_SECONDS)
            asyncio.run(load(port, requests, connections=1))
        finally:
            server.send_signal(signal.SIGINT)
        assert server.stderr is not None
        report = server.stderr.read()
    total = _TOTAL.search(report)
    assert total, report
    return int(total[1].replace(",", ""))

"""Print where the API process spends its CPU: `python -m benchmarks.serving.profile` (4 minutes).

A part is switched off and the whole is measured, because a part that is timed alone says little.
Valgrind counts the instructions of the API process alone; its worker runs as usual. Two runs of one
kind differ by up to 3 %: the sizes of the batches vary.
"""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from urllib.request import urlopen

from benchmarks.published import origin
from benchmarks.serving.servers import ROOT, environment
from benchmarks.serving.systems import SAFELIGHT
from benchmarks.without import PARTS
from safelight.stories.replay import free_port

_VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
_TOTAL = re.compile(rb"I\s+refs:\s+([\d,]+)")
_LENGTH = re.compile(rb"content-length: (\d+)")
_CONNECTIONS = 16
_FEW, _MANY = 480, 2400  # requests of two runs; the difference has no start
_RUNS = 3
_START_SECONDS = 120.0
_ALL = "nothing"


def main() -> None:
    """Measure and print the table."""
    kinds = [_ALL, *PARTS]
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(_of_request, kinds * _RUNS))
    found = {kind: median(counts[place :: len(kinds)]) for place, kind in enumerate(kinds)}
    print(f"{origin()}\n")
    print("\n".join(_rows(found)))


def _rows(found: dict[str, float]) -> Iterator[str]:
    yield "| switched off | instructions of a request | less |"
    yield "|---|---|---|"
    for kind, number in found.items():
        yield f"| {kind} | {number:,.0f} | {1 - number / found[_ALL]:.0%} |"


def _of_request(kind: str) -> float:
    return (_total(kind, _MANY) - _total(kind, _FEW)) / (_MANY - _FEW)


def _total(kind: str, requests: int) -> int:
    """Return the instructions of an API process from its start to its end."""
    port = free_port()
    module = ("safelight",) if kind == _ALL else ("benchmarks.without", kind)
    command = [part.replace("{port}", str(port)) for part in SAFELIGHT.command]
    rest = command[command.index("serve") :]
    with TemporaryDirectory() as home, Path(home, "log").open("w+b") as log:
        server = subprocess.Popen(
            (*_VALGRIND, sys.executable, "-m", *module, *rest),
            cwd=ROOT,
            env={**environment(), "SAFELIGHT_RECORDS_URL": f"sqlite:///{home}/records.db"},
            stderr=log,
        )
        try:
            _await_model(port)
            asyncio.run(_load(port, requests))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
        log.seek(0)
        total = _TOTAL.search(log.read())
    assert total, "Valgrind has counted nothing"
    return int(total[1].replace(b",", b""))


def _await_model(port: int) -> None:
    deadline = monotonic() + _START_SECONDS
    while monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
                return
        except OSError:  # not listening yet, or 503
            sleep(0.1)
    raise TimeoutError("The service did not load its model.")


async def _load(port: int, requests: int) -> None:
    await asyncio.gather(*(_connection(port, requests) for _ in range(_CONNECTIONS)))


async def _connection(port: int, requests: int) -> None:
    """Send a share of the requests over one connection, one after another."""
    body = SAFELIGHT.body
    head = (
        f"POST {SAFELIGHT.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests // _CONNECTIONS):
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        length = _LENGTH.search(answer)
        assert length
        await reader.readexactly(int(length[1]))
    writer.close()


if __name__ == "__main__":
    main()

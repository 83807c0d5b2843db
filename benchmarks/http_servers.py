"""Compare HTTP servers: their cost of a request, and what one caller can make them hold.

`python -m benchmarks.http_servers` prints the table of `docs/benchmarks.md`. It needs `wrk`.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import psutil
from starlette.types import Receive, Scope, Send

ROUNDS, SECONDS, CONNECTIONS = 3, 3, 32
MEGABYTES = 60
WAIT_SECONDS = 12.0
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
LUA = 'wrk.method = "POST"\nwrk.body = string.rep("x", 5000)\n'


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer `ok`."""
    while scope["type"] == "lifespan":
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
    while (await receive()).get("more_body"):
        pass
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


def serve(port: int) -> None:
    """Serve the application as Safelight does."""
    from safelight.http_server.connections import Connections
    from safelight.http_server.server import listen, server_of
    from safelight.metrics.registry import Meter
    from safelight.settings import load

    connections = Connections(load(), Meter("instructpix2pix"))
    server_of(app, listen("the API", "127.0.0.1", port), connections).run()


def commands(port: int) -> dict[str, list[str]]:
    """Return how each server is started, with one process and asyncio's event loop."""
    name, python = "benchmarks.http_servers:app", sys.executable
    uvicorn = ["uvicorn", name, "--port", f"{port}", "--loop", "asyncio", "--no-access-log"]
    granian = ["granian", "--interface", "asgi", name, "--port", f"{port}", "--loop", "asyncio"]
    return {
        "Safelight": [python, "-m", "benchmarks.http_servers", str(port)],
        "uvicorn, httptools": [python, "-m", *uvicorn, "--http", "httptools"],
        "uvicorn, h11": [python, "-m", *uvicorn, "--http", "h11"],
        "hypercorn": [python, "-m", "hypercorn", name, "--bind", f"127.0.0.1:{port}"],
        "granian": [python, "-m", *granian, "--workers", "1", "--no-log"],
    }


@contextmanager
def running(command: list[str], port: int) -> Iterator[psutil.Process]:
    """Run a server until the block ends."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = psutil.Process(child.pid)
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        time.sleep(0.5)
        yield process
    finally:
        for each in [*process.children(recursive=True), process]:
            each.kill()
        child.wait()


def tree(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and its children."""
    return [process, *process.children(recursive=True)]


def load_of(process: psutil.Process, port: int, script: Path) -> tuple[float, float]:
    """Return requests per second, and microseconds of CPU time per request."""
    before = sum(sum(each.cpu_times()[:2]) for each in tree(process))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", "-s", str(script)]
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    ).stdout
    number = int(re.search(r"(\d+) requests in", output)[1])  # type: ignore[index]
    after = sum(sum(each.cpu_times()[:2]) for each in tree(process))
    return number / SECONDS, (after - before) / number * 1e6


def held_by(process: psutil.Process, port: int, start: bytes, piece: bytes) -> float:
    """Return how many MB a connection makes the server hold; it sends 60 MB and reads nothing."""
    before = sum(each.memory_info().rss for each in tree(process))
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        with suppress(OSError):
            connection.sendall(start)
            for _ in range(MEGABYTES * 1_000_000 // len(piece)):
                connection.sendall(piece)
        time.sleep(0.5)
        return (sum(each.memory_info().rss for each in tree(process)) - before) / 1e6


def patience_of(port: int) -> str:
    """Return how long a connection may wait with half of its headers."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(HEAD)
        try:
            connection.recv(1)
        except TimeoutError:
            return f"> {WAIT_SECONDS:.0f} s"
    return f"{time.monotonic() - started:.0f} s"


def main() -> None:
    """Print the table."""
    results: dict[str, list[tuple[float, float]]] = {}
    held: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(LUA)
        for number in range(ROUNDS):
            port = 21000 + os.getpid() % 1000 + number
            for name, command in commands(port).items():
                with running(command, port) as process:
                    results.setdefault(name, []).append(load_of(process, port, script))
                    if number == 0:
                        header = held_by(process, port, HEAD + b"x: ", b"a" * 1_000_000)
                        piped = held_by(process, port, b"", (HEAD + b"\r\n") * 1000)
                        held[name] = f"{header:.0f} MB | {piped:.0f} MB | {patience_of(port)}"
    print("| | requests/s | CPU per request | a header of 60 MB | 60 MB of requests | headers |")
    print("|---|---|---|---|---|---|")
    for name, rounds in results.items():
        rate, cost = (median(column) for column in zip(*rounds, strict=True))
        print(f"| {name} | {rate:.0f} | {cost:.0f} µs | {held[name]} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    else:
        main()

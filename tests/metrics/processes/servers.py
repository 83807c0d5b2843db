"""Start real servers with several worker processes, and ask them over many connections."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic

from safelight.metrics.catalog import HTTP_REQUESTS
from safelight.metrics.metric import Metric
from safelight.metrics.processes.folder import VALUES, base
from safelight.metrics.registry import Samples, parse, where
from safelight.stories.replay import free_port

BIN = Path(sys.executable).parent
ASGI = """
import os, time
from fastapi import FastAPI
import safelight

app = FastAPI()
safelight.watch(
    app=app,
    metrics_port=int(os.environ["METRICS_PORT"]),
    records="SAFELIGHT_RECORDS_URL" in os.environ,
)

@app.get("/draw")
async def draw() -> int:
    with safelight.inference("painter"):
        return os.getpid()

@app.get("/hello")
async def hello() -> int:
    return os.getpid()

@app.get("/block")
async def block() -> None:
    time.sleep(4)
"""
WSGI = """
import os
from flask import Flask
import safelight

app = Flask(__name__)
safelight.watch(
    app=app,
    metrics_port=int(os.environ["METRICS_PORT"]),
    records="SAFELIGHT_RECORDS_URL" in os.environ,
)

@app.get("/draw")
def draw() -> str:
    with safelight.inference("painter"):
        return str(os.getpid())

@app.get("/hello")
def hello() -> str:
    return str(os.getpid())
"""
ALONE = ("uvicorn", "asgi:app", "--port", "PORT")
SERVERS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn", "asgi:app", "--workers", "2", "--port", "PORT"),
    "sync": ("gunicorn", "wsgi:app", "-w", "2", "-b", "HOST"),
    "gthread": ("gunicorn", "wsgi:app", "-w", "2", "--threads", "4", "-b", "HOST"),
    "preload": ("gunicorn", "wsgi:app", "-w", "2", "--preload", "-b", "HOST"),
    "uvicorn_worker": (
        *("gunicorn", "asgi:app", "-w", "2", "-b", "HOST"),
        *("-k", "uvicorn_worker.UvicornWorker"),
    ),
    "hypercorn": ("hypercorn", "asgi:app", "-w", "2", "-b", "HOST"),
    "granian": (
        *("granian", "asgi:app", "--interface", "asgi", "--workers", "2"),
        *("--port", "PORT", "--respawn-failed-workers"),
    ),
}


class Server:
    """A running server."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, metrics_port: int) -> None:
        self.process = process
        self._port = port
        self._metrics_port = metrics_port

    def ask(self, path: str = "/hello", times: int = 1) -> list[str]:
        """Send requests, each over its own connection, and return the answers."""
        return [self._ask(path) for _ in range(times)]

    def _ask(self, path: str, port: int | None = None) -> str:
        # Not httpx: a new client for each request takes 40 ms.
        port = port or self._port
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def ask_both(self, path: str = "/hello") -> int:
        """Send requests until both workers have answered, and return how many."""
        seen: list[str] = []
        with ThreadPoolExecutor(4) as pool:
            while len(set(seen)) < 2:
                seen += pool.map(lambda _: self._ask(path), range(40))
        return len(seen)

    def samples(self) -> Samples:
        return parse(self.ask("/metrics")[0])

    def samples_beside(self) -> Samples:
        """Read the metrics from their own port."""
        return parse(self._ask("/metrics", self._metrics_port))

    def total(self, metric: Metric = HTTP_REQUESTS) -> float:
        return total_of(self.samples(), metric)

    def settle(self, requests: int) -> None:
        """Wait until all requests are counted: a request is counted just after its response."""
        wait_until(lambda: self.total() >= requests)

    def folders(self) -> list[Path]:
        with suppress(FileNotFoundError):  # the last worker removes the folder above
            return list(base().glob(f"{self.process.pid}-*"))
        return []

    def workers(self) -> list[int]:
        files = [path for folder in self.folders() for path in folder.glob(f"*{VALUES}")]
        pids = [int(path.name.partition("-")[0]) for path in files]
        return [pid for pid in pids if pid != self.process.pid]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)


def total_of(samples: Samples, metric: Metric = HTTP_REQUESTS) -> float:
    return sum(value for _, value in where(samples, metric.full_name("diffusion")))


@contextmanager
def serving(folder: Path, name: str, *options: str) -> Iterator[Server]:
    """Start a server, and wait until both workers are ready; `alone` has no workers."""
    (folder / "asgi.py").write_text(ASGI)
    (folder / "wsgi.py").write_text(WSGI)
    port, metrics_port = free_port(), free_port()
    places = {"PORT": str(port), "HOST": f"127.0.0.1:{port}"}
    program, *arguments = SERVERS.get(name, ALONE)
    command = [str(BIN / program), *(places.get(word, word) for word in arguments), *options]
    path = os.pathsep.join((str(folder), *sys.path))
    with (folder / "log").open("wb") as log:
        environment = {**os.environ, "PYTHONPATH": path, "METRICS_PORT": str(metrics_port)}
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
    server = Server(process, port, metrics_port)
    workers = 0 if name == "alone" else 2
    try:
        wait_until(
            lambda: len(server.workers()) == workers and _answers(server), log=folder / "log"
        )
        yield server
    finally:
        for pid in (process.pid, *server.workers()):  # first who would start new workers
            _kill(pid)
        process.wait()
        for left in server.folders():
            shutil.rmtree(left)


def wait_until(ready: Callable[[], bool], seconds: float = 20.0, log: Path | None = None) -> None:
    ends = monotonic() + seconds
    while not ready():
        assert monotonic() < ends, log and log.read_text()
        subprocess.run(["sleep", "0.05"], check=True)


def _answers(server: Server) -> bool:
    try:
        return bool(server.ask("/metrics"))
    except (OSError, HTTPException):
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

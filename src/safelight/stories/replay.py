"""Start a Prometheus server on the past data of `history.py`, on a free port; and stop it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from threading import Event

from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import ServiceFailed
from safelight.stack.local import PROMETHEUS, PROMETHEUS_NAMES
from safelight.stack.programs import Program, Running, find_program

_HOST = "127.0.0.1"
_PORTS = range(10_000, 32_768)  # Linux gives the ports above to outgoing connections
_POLL_SECONDS = 0.1
_START_SECONDS = 60.0
_GRACE_SECONDS = 5.0


@contextmanager
def replay(folder: Path, config: str = "scrape_configs: []\n") -> Iterator[Prometheus]:
    """Start Prometheus with the blocks in `folder/data`, and stop it at the end.

    Raises MissingProgram, or ServiceFailed.
    """
    (folder / "prometheus.yml").write_text(config)
    program = _program(folder, free_port())
    running = Running(program, folder)
    try:
        _until_ready(running)
        with Prometheus(program.url) as client:
            yield client
    finally:
        running.stop(_GRACE_SECONDS)


def free_port() -> int:
    """Return a port that no process listens on, and that no outgoing connection can take."""
    while True:
        port = SystemRandom().choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((_HOST, port))
            return port


def _program(folder: Path, port: int) -> Program:
    command = (
        find_program(PROMETHEUS_NAMES, "prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=10y",
        "--enable-feature=exemplar-storage",
        f"--web.listen-address={_HOST}:{port}",
        "--log.level=error",
    )
    return Program(PROMETHEUS, command, _HOST, port, "/-/ready", "past data of a story")


def _until_ready(running: Running) -> None:
    pause = Event()
    for _ in range(int(_START_SECONDS / _POLL_SECONDS)):
        if running.ended is not None:
            raise running.failure()
        if running.is_ready():
            return
        pause.wait(_POLL_SECONDS)
    raise ServiceFailed(f"Prometheus was not ready within {_START_SECONDS:g} s.")

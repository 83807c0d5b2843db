"""Watched services behind real servers (W1, W2): each body arrives whole, each outcome counts."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from safelight.metrics.registry import parse, where
from tests.reading import page_of
from tests.stack.waiting import eventually, free_ports, process_tree

ROOT = Path(__file__).resolve().parents[2]
BODY = bytes(range(256)) * 1200 + b"\nend"
EXPECTED = f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"
TEXT = "make him old, héllo " * 500
PLAIN, FAST = "tests.probes.served:plain", "tests.probes.served:fast"

GUNICORN = ("gunicorn", "--log-level", "critical", "--bind", "127.0.0.1:{port}")
SERVERS = {
    "gunicorn sync": (*GUNICORN, PLAIN),
    "gunicorn gthread": (*GUNICORN, "--threads", "4", PLAIN),
    "gunicorn preload": (*GUNICORN, "--preload", PLAIN),
    "gunicorn uvicorn": (*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", FAST),
    "waitress": ("waitress", "--listen=127.0.0.1:{port}", PLAIN),
    "granian wsgi": ("granian", "--interface", "wsgi", "--port", "{port}", PLAIN),
    "granian asgi": ("granian", "--interface", "asgi", "--port", "{port}", FAST),
    "uvicorn": ("uvicorn", "--log-level", "critical", "--port", "{port}", FAST),
    "uvicorn h11": (
        "uvicorn",
        "--log-level",
        "critical",
        "--http",
        "h11",
        "--port",
        "{port}",
        FAST,
    ),
    "hypercorn": ("hypercorn", "--bind", "127.0.0.1:{port}", FAST),
}


class Service:
    """A watched service behind a server."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.port = free_ports(1)[0]
        arguments = [part.format(port=self.port) for part in SERVERS[name]]
        self._log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=self._log,
            stderr=self._log,
        )
        self.web = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)
        eventually(self._answers, within=60, what=f"{name} answers")

    def close(self) -> None:
        processes = process_tree(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            for each in processes:
                each.kill()
        self.web.close()
        self._log.close()

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the series with these labels in a fresh scrape."""
        return sum(
            value for _, value in where(parse(page_of("/metrics", self.web)), name, **labels)
        )

    def _answers(self) -> bool:
        try:
            return self.web.get("/pid").status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module", params=list(SERVERS))
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    started = Service(request.param, tmp_path_factory.mktemp("server"))
    yield started
    started.close()


def chunks() -> Iterator[bytes]:
    for start in range(0, len(BODY), 50_000):
        yield BODY[start : start + 50_000]


def test_w1_a_raw_body_arrives_whole(service: Service) -> None:
    assert service.web.post("/raw", content=BODY).text == EXPECTED


def test_w1_a_body_in_chunks_arrives_whole(service: Service) -> None:
    assert service.web.post("/raw", content=chunks()).text == EXPECTED


def test_w1_a_body_read_in_parts_arrives_whole(service: Service) -> None:
    assert service.web.post("/lines", content=BODY).text == EXPECTED


def test_w1_a_form_arrives_whole(service: Service) -> None:
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    answer = service.web.post("/form", data={"text": TEXT})
    assert answer.text == f"{len(TEXT.encode())} {digest}"


def test_w1_an_upload_arrives_whole(service: Service) -> None:
    assert service.web.post("/upload", files={"image": BODY}).text == EXPECTED


def test_w1_every_request_is_counted_with_its_bytes(service: Service) -> None:
    requests = service.value("http_requests_total", handler="/raw", status="200")
    received = service.value("http_request_size_bytes_sum", handler="/raw")
    service.web.post("/raw", content=BODY)
    assert service.value("http_requests_total", handler="/raw", status="200") == requests + 1
    assert service.value("http_request_size_bytes_sum", handler="/raw") == received + len(BODY)


def test_w2_a_caller_who_leaves_a_stream_counts_as_499(service: Service) -> None:
    def counted(status: str) -> float:
        return service.value("http_requests_total", handler="/stream", status=status)

    whole, left = counted("200"), counted("499")
    assert len(service.web.get("/stream").content) == 400 * 65536
    eventually(lambda: counted("200") == whole + 1, within=10, what="the whole stream is counted")
    with socket.create_connection(("127.0.0.1", service.port)) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        caller.recv(1000)
    eventually(lambda: counted("499") == left + 1, within=10, what="the aborted stream is counted")
    assert counted("200") == whole + 1
    assert service.value("http_requests_inprogress") == 0


def test_w1_the_samplers_work_in_the_process_that_serves(service: Service) -> None:
    def sampled() -> bool:
        read = where(
            parse(service.web.get("/metrics").text),
            "safelight_probe_last_success_timestamp_seconds",
            probe="host",
        )
        return any(value > 0 for _, value in read)

    eventually(sampled, within=15, what="the host is sampled")

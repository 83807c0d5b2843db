"""Callers who close their connection in the middle of a body: on every route that reads one."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from safelight.metrics.catalog import IN_FLIGHT, REQUESTS
from safelight.serving.http.api import MODEL_ENDPOINTS
from tests.serving.conftest import RealService, serving, until
from tests.serving.running import PAINTER

RATING = f"/v1/requests/{'0' * 32}/rating"
PATHS = (*MODEL_ENDPOINTS, "/api/edit/check", RATING)
TYPES = {
    "image": "image/jpeg",
    "form": "multipart/form-data; boundary=x",
    "json": "application/json",
}
PART = b'{"rating": 4, "prompt": "a'
SETTINGS: dict[str, dict[str, Any]] = {
    "alone": {},
    "with other instances": {"peers": "http://127.0.0.1:9"},
    "with a page that may call": {"cors_origins": "https://a.example"},
}


class Uploading:
    """A service, the lines that it logs, and callers who leave."""

    def __init__(self, service: RealService, log: Path) -> None:
        self.service, self._log = service, log
        parts = urlsplit(service.url)
        self._address = (str(parts.hostname), int(parts.port or 0))

    def interrupt(self, path: str, *headers: str, body: bytes = PART, reset: bool = False) -> None:
        """Send the head and a part of the body, and leave."""
        with socket.create_connection(self._address) as connection:
            head = "\r\n".join((f"POST {path} HTTP/1.1", "host: localhost", *headers, "\r\n"))
            connection.sendall(head.encode() + body)
            self.service.client.get("/healthz")  # the service has handled the part by now
            if reset:  # the kernel sends RST instead of FIN
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def cancelled(self) -> float:
        return self.service.value(REQUESTS.full_name("instructpix2pix"), error="cancelled")

    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()


@pytest.fixture(scope="module", params=SETTINGS)
def uploading(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Uploading]:
    folder = tmp_path_factory.mktemp("uploads")
    chosen: dict[str, Any] = {"log_format": "json", "records_url": "", **SETTINGS[request.param]}
    with serving(folder, PAINTER, **chosen) as service:
        yield Uploading(service, folder / "log")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("framing", ["content-length: 200", "transfer-encoding: chunked"])
@pytest.mark.parametrize("path", PATHS)
def test_an_interrupted_upload_logs_no_traceback(
    uploading: Uploading, path: str, framing: str, kind: str, reset: bool
) -> None:
    before, cancelled = len(uploading.lines()), uploading.cancelled()
    body = b"%x\r\n%s" % (200, PART) if "chunked" in framing else PART
    uploading.interrupt(path, f"content-type: {TYPES[kind]}", framing, body=body, reset=reset)

    # A request to the model is counted, and none of another route is.
    expected = cancelled + (path in MODEL_ENDPOINTS)
    assert until(lambda: uploading.cancelled() == expected, 5)
    assert uploading.service.value(IN_FLIGHT.full_name("instructpix2pix")) == 0
    written = [json.loads(line) for line in uploading.lines()[before:]]
    assert not [line for line in written if "error.stack_trace" in line or "Traceback" in str(line)]
    assert not [line for line in written if line["log.level"] in ("error", "critical")]

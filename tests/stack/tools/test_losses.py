"""What `safelight doctor` says about the records of a service that runs."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from safelight.metrics.catalog import RECORDS, RECORDS_WAITING
from safelight.metrics.registry import Meter
from safelight.settings import load
from safelight.stack.tools.finding import Finding
from safelight.stack.tools.losses import lost_records
from safelight.stories.replay import free_port

Serve = Callable[[Meter], list[Finding]]


@pytest.fixture
def found() -> Iterator[Serve]:
    """Return what is found while the metrics are served."""
    ends: list[Callable[[], None]] = []

    def find(meter: Meter) -> list[Finding]:
        port = free_port()
        ends.append(meter.serve(port, "127.0.0.1"))
        return list(lost_records(load(port=port)))

    yield find
    for end in ends:
        end()


def test_lost_records_are_reported_and_stop_nothing(found: Serve) -> None:
    meter = Meter("pix")
    meter.add(RECORDS, "lost", amount=12)
    meter.add(RECORDS, "written", amount=500)
    meter.set(RECORDS_WAITING, value=3)
    [finding] = found(meter)
    assert (finding.found, finding.blocks) == (False, False)
    assert finding.detail == "12 lost, 3 waiting, 500 written"
    assert "records cannot be written" in finding.remedy


def test_a_service_that_lost_nothing_is_fine(found: Serve) -> None:
    meter = Meter("pix")
    meter.start_at_zero(RECORDS)
    [finding] = found(meter)
    assert finding.found


def test_without_a_service_or_records_nothing_is_said(found: Serve) -> None:
    assert found(Meter("pix")) == []
    assert list(lost_records(load(port=free_port()))) == []


@pytest.mark.parametrize("host", ["::1", "::", "0.0.0.0"])
def test_every_address_of_a_service_can_be_asked(host: str) -> None:
    assert list(lost_records(load(host=host, port=free_port(), allow_anonymous=True))) == []


def test_metrics_that_need_a_key_are_read_with_it_or_said_not_to_be_shown(tmp_path: Path) -> None:
    meter = Meter("pix")
    meter.add(RECORDS, "lost", amount=12)
    file = tmp_path / "key"
    file.write_text("secret\n")
    server = HTTPServer(("127.0.0.1", free_port()), _handler(meter.expose("").body))
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.server_address[1]
        [without] = lost_records(load(port=port))
        [found] = lost_records(load(port=port, metrics_key_file=file))
        server.shutdown()
        thread.join()
    assert (without.found, without.detail) == (False, "not shown: HTTP 401")
    assert found.detail.startswith("12 lost")


def _handler(page: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            may_read = self.headers["authorization"] == "Bearer secret"
            self.send_response(200 if may_read else 401)
            self.end_headers()
            self.wfile.write(page if may_read else b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.cli.conftest import Call
from tests.stack.waiting import free_ports


@contextmanager
def service(*statuses: int, warning: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a service that returns these statuses, then the last one."""
    paths, remaining = list[str](), list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            paths.append(self.path)
            status = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            body = b"" if status == 200 else json.dumps({"reason": "overloaded"}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if warning:
                self.send_header("x-safelight-warning", warning)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", paths
    server.shutdown()
    server.server_close()
    thread.join()


QUICK = ("--rate", "20", "--duration", "0.3", "--size", "64x64")


def test_traffic_prints_a_summary(call: Call) -> None:
    with service(200, 503, 200) as (url, paths):
        answer = call("traffic", url, *QUICK, "--instruction", "make him old", "--steps", "3")
    assert (answer.code, answer.err) == (0, "")
    assert "6 requests ended" in answer.out
    assert "5 ok, 1 failed" in answer.out
    assert "83 %" in answer.out
    assert "overloaded" in answer.out
    assert "ok: P50 0." in answer.out
    assert all("steps=3" in path and "make" in path for path in paths)
    assert len(paths) == 6


def test_responses_with_a_warning_are_counted_by_reason(call: Call) -> None:
    with service(503, 200, warning="structure_corruption") as (url, _):
        answer = call("traffic", url, *QUICK)
    assert answer.code == 0
    assert "5 ok (5 with a warning), 1 failed" in answer.out
    assert "of them with a warning: structure_corruption │        5 │  83 %" in answer.out


def test_traffic_without_a_success_is_code_1(call: Call) -> None:
    with service(503) as (url, _):
        answer = call("traffic", url, *QUICK)
    assert answer.code == 1
    assert answer.line == f"safelight: No request to {url} succeeded: overloaded."


def test_a_refused_connection_is_code_1(call: Call) -> None:
    answer = call("traffic", f"127.0.0.1:{free_ports(1)[0]}", *QUICK)
    assert answer.code == 1
    assert "ConnectError" in answer.line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ftp://host",), "is not a valid address"),
        (("--size", "10x10"), "'10x10' is not a valid size"),
        (("--size", "axb"), "'axb' is not a valid size"),
        (("--size", "512"), "'512' is not a valid size"),
        (("--size", "5000x64"), "each side 32 to 4096"),
        (("--rate", "1000", "--duration", "86400"), "86400000 requests are too many"),
    ],
)
def test_invalid_traffic_options_are_refused(
    arguments: tuple[str, ...], message: str, call: Call
) -> None:
    answer = call("traffic", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.line

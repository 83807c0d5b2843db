"""The traces of a real service, as a real receiver gets them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from safelight.stack.tools.samples import photo
from tests.serving.conftest import RealService, serving, until
from tests.telemetry.received import roots, spans_of
from tests.telemetry.receiver import Receiver, http_receiver

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
SERVER = "x-safelight-request-id"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with http_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traced") / "log"


@pytest.fixture(scope="module")
def service(receiver: Receiver, log: Path) -> Iterator[RealService]:
    url = receiver.url
    with serving(log.parent, otlp_endpoint=url, trace_ratio="1", log_format="json") as running:
        yield running


def edit(service: RealService, **headers: str) -> str:
    """Send one edit that succeeds; return the server's id of it."""
    answer = service.client.post(
        "/api/edit",
        params={"instruction": "make him old", "steps": 4},
        content=photo(64, 64),
        headers={"content-type": "image/jpeg", **headers},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.headers[SERVER])


def trace(receiver: Receiver, request_id: str) -> list[Any]:
    """Return the spans of a request, when they have arrived, by their start."""
    assert until(lambda: request_id in roots(receiver), seconds=15)
    root = roots(receiver)[request_id]
    own = [each for each in spans_of(receiver) if each.trace_id == root.trace_id]
    return sorted(own, key=lambda span: (span.start_time_unix_nano, -span.end_time_unix_nano))


def lines(log: Path) -> list[dict[str, Any]]:
    """Return the log lines. Each line must be one JSON object."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_workers_times_lie_where_they_happened(
    service: RealService, receiver: Receiver
) -> None:
    spans = trace(receiver, edit(service))
    names = [span.name for span in spans]
    assert names[0] == "POST /api/edit"
    for earlier, later in (
        ("receive", "decode"),
        ("transfer", "decode"),
        ("decode", "generate_content demo-edit"),
        ("generate_content demo-edit", "denoise"),
        ("denoise", "step 1"),
        ("step 4", "decode_latents"),
        ("decode_latents", "check"),
        ("check", "encode"),
        ("encode", "respond"),
    ):
        assert names.index(earlier) < names.index(later)
    assert names.count("transfer") == 2  # to the worker, and back
    root = spans[0]
    assert all(
        root.start_time_unix_nano <= span.start_time_unix_nano
        and span.end_time_unix_nano <= root.end_time_unix_nano
        for span in spans
    )


def test_the_log_line_of_a_request_names_its_trace_and_span(
    service: RealService, receiver: Receiver, log: Path
) -> None:
    request_id = edit(service, traceparent=PARENT, tracestate="vendor=1")
    assert until(lambda: request_id in roots(receiver), seconds=15)
    root = roots(receiver)[request_id]
    (line,) = [
        each
        for each in lines(log)
        if each.get("http", {}).get("request", {}).get("id") == request_id
    ]
    assert line["trace"]["id"] == root.trace_id.hex() == TRACE
    assert line["span"]["id"] == root.span_id.hex()
    assert root.parent_span_id.hex() == SPAN
    assert root.trace_state == "vendor=1"


def test_requests_of_one_batch_are_linked_to_it(service: RealService, receiver: Receiver) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: edit(service), range(16)))
    assert until(lambda: set(ids) <= roots(receiver).keys(), seconds=15)
    own = [span for span in spans_of(receiver) if span.name == "generate_content demo-edit"]
    batches = {link.trace_id for span in own for link in span.links}
    assert batches

    def links() -> dict[bytes, set[bytes]]:
        """Return the traces of the requests of each batch that has arrived."""
        found = (span for span in spans_of(receiver) if span.name == "batch")
        return {span.trace_id: {link.trace_id for link in span.links} for span in found}

    assert until(lambda: batches <= links().keys(), seconds=15)
    for span in own:
        assert all(span.trace_id in links()[link.trace_id] for link in span.links)


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "0" * 9000},
        {"traceparent": f"00-{TRACE}-{SPAN}-01-{'f' * 5000}"},
        {"traceparent": PARENT, "tracestate": "a=" + "b" * 5000},
        {"traceparent": PARENT, "tracestate": "a=[31m,{},=,==,\"level\""},
        {"traceparent": PARENT, "baggage": "a=" + "b" * 10_000},
        {"traceparent": '00-{"trace":1}'},
        {"x-request-id": '{"level":"error"}'},
    ],
)  # fmt: skip
def test_hostile_headers_fail_no_request_and_forge_no_line(
    service: RealService, receiver: Receiver, log: Path, headers: dict[str, str]
) -> None:
    request_id = edit(service, **headers)
    assert until(lambda: request_id in roots(receiver), seconds=15)
    assert all("\x1b" not in json.dumps(line) for line in lines(log))
    assert all(len(json.dumps(line)) < 5000 for line in lines(log))


def test_a_receiver_that_fails_delays_no_request(service: RealService, receiver: Receiver) -> None:
    receiver.status = 503
    try:
        for _ in range(3):
            edit(service)
        lost = "safelight_traces_total"
        assert until(lambda: service.value(lost, outcome="lost") >= 3, seconds=30)
    finally:
        receiver.status = 200
    request_id = edit(service)
    assert until(lambda: request_id in roots(receiver), seconds=30)

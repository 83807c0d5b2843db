"""The client of Prometheus: every failure is one clear error, and invalid samples are dropped."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from safelight.diagnosis.prometheus import Exemplar, Prometheus
from safelight.errors import MonitoringFailed
from safelight.stories.replay import free_port

AT = 1_772_454_000.0
Respond = Callable[[httpx.Request], httpx.Response]


def client_of(respond: Respond) -> Prometheus:
    return Prometheus("http://prometheus:9090/", transport=httpx.MockTransport(respond))


def always(status: int, **content: object) -> Prometheus:
    return client_of(lambda _: httpx.Response(status, **content))  # type: ignore[arg-type]


def vector(*values: object, kind: str = "vector") -> httpx.Response:
    rows = [{"metric": {"n": str(n)}, "value": [AT, value]} for n, value in enumerate(values)]
    data = {"resultType": kind, "result": rows}
    return httpx.Response(200, json={"status": "success", "data": data})


@contextmanager
def silent() -> Iterator[int]:
    """Listen on a port, accept connections, and never respond."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_the_error_for_a_refused_connection_says_what_to_do() -> None:
    with (
        Prometheus(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(MonitoringFailed, match=r"cannot be queried: .*refused.*--prometheus"),
    ):
        client.instant("up", AT)


def test_a_server_that_does_not_respond_is_an_error_after_the_timeout() -> None:
    with (
        silent() as port,
        Prometheus(f"http://127.0.0.1:{port}", timeout_seconds=0.2) as client,
        pytest.raises(MonitoringFailed, match=r"did not respond within 0\.2 s"),
    ):
        client.instant("up", AT)


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (
            always(422, json={"status": "error", "error": "query processing would load too many"}),
            "returned status 422: query processing would load too many",
        ),
        (always(500, json={"status": "error"}), "returned status 500: no reason given"),
        (always(500, text="<html>oops</html>"), "does not match Prometheus' API"),
        (always(200, text="<html>a proxy's login page</html>"), "does not match Prometheus' API"),
        (always(200, json=[]), "returned status 200"),
        (always(200, json={"status": "success"}), "does not match Prometheus' API"),
        (always(200, json={"status": "success", "data": {"resultType": "vector"}}), "API"),
        (client_of(lambda _: vector("1", kind="matrix")), "returned a matrix, not a vector"),
        (client_of(lambda _: vector("a word")), "does not match Prometheus' API"),
        (client_of(lambda _: vector(None)), "does not match Prometheus' API"),
    ],
)
def test_an_invalid_response_is_an_error_of_one_line(client: Prometheus, reason: str) -> None:
    with pytest.raises(MonitoringFailed, match=reason) as error:
        client.instant("up", AT)

    assert "\n" not in str(error.value)


def test_a_long_error_of_prometheus_is_cut() -> None:
    client = always(422, json={"status": "error", "error": "x" * 10_000})

    with pytest.raises(MonitoringFailed) as error:
        client.instant("up", AT)
    assert len(str(error.value)) < 500


def test_an_empty_result_is_no_error() -> None:
    assert client_of(lambda _: vector()).instant("up", AT) == []


def test_nan_and_infinite_samples_are_dropped_and_counted() -> None:
    client = client_of(lambda _: vector("1.5", "NaN", "+Inf", "-Inf"))

    assert [series.value for series in client.instant("up", AT)] == [1.5]
    assert client.unusable_samples == 3


def test_the_time_is_that_of_prometheus_clock() -> None:
    client = always(200, headers={"date": "Mon, 02 Mar 2026 12:20:00 GMT"}, json={})

    assert client.now() == AT


@pytest.mark.parametrize("headers", [{}, {"date": "soon"}])
def test_a_response_without_a_valid_date_is_an_error(headers: dict[str, str]) -> None:
    with pytest.raises(MonitoringFailed, match="no valid date header"):
        always(200, headers=headers, json={}).now()


def test_a_query_is_sent_in_the_body_so_it_can_be_long() -> None:
    requests: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return vector()

    client_of(respond).instant("up" * 50_000, AT)

    assert (requests[0].method, requests[0].url.query) == ("POST", b"")
    assert b"time=1772454000.000" in requests[0].content


def test_a_link_contains_the_expression_and_its_time() -> None:
    link = always(200, json={}).link('up{job="a b"}', AT)

    assert link.startswith("http://prometheus:9090/graph?g0.expr=up%7Bjob%3D%22a+b%22%7D")
    assert "g0.end_input=2026-03-02+12%3A20%3A00" in link


@pytest.mark.parametrize("rows", [{}, ["x"], "x", None])
def test_an_invalid_list_of_series_is_an_error(rows: object) -> None:
    client = always(200, content=json.dumps({"status": "success", "data": rows}))

    with pytest.raises(MonitoringFailed, match="does not match Prometheus' API"):
        client.series("up", AT - 1, AT)


def test_exemplars_of_all_series_are_read_and_infinite_ones_are_dropped() -> None:
    rows = [
        {"labels": {"trace_id": "a"}, "value": "1.5", "timestamp": AT},
        {"labels": {"trace_id": "b"}, "value": "+Inf", "timestamp": AT},
    ]
    data = [{"seriesLabels": {}, "exemplars": rows}, {"seriesLabels": {}, "exemplars": rows[:1]}]
    with always(200, json={"status": "success", "data": data}) as client:
        assert client.exemplars("x", AT - 60, AT) == [Exemplar({"trace_id": "a"}, 1.5, AT)] * 2
    with always(200, json={"status": "success", "data": None}) as client:
        assert client.exemplars("x", AT - 60, AT) == []


def test_exemplars_that_are_none_are_an_error() -> None:
    content = {"status": "success", "data": [{"exemplars": [{"value": "1"}]}]}
    with always(200, json=content) as client, pytest.raises(MonitoringFailed, match="API"):
        client.exemplars("x", AT - 60, AT)

"""Whatever Prometheus does, the client says it in one sentence, or leaves out what is no number."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import MonitoringFailed
from safelight.stories.replay import free_port

AT = 1_772_454_000.0
Answer = Callable[[httpx.Request], httpx.Response]


def asking(answer: Answer) -> Prometheus:
    return Prometheus("http://prometheus:9090/", transport=httpx.MockTransport(answer))


def always(status: int, **content: object) -> Prometheus:
    return asking(lambda _: httpx.Response(status, **content))  # type: ignore[arg-type]


def vector(*values: object, kind: str = "vector") -> httpx.Response:
    rows = [{"metric": {"n": str(n)}, "value": [AT, value]} for n, value in enumerate(values)]
    data = {"resultType": kind, "result": rows}
    return httpx.Response(200, json={"status": "success", "data": data})


@contextmanager
def silent() -> Iterator[int]:
    """Listen on a port, take connections, and never answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_nobody_at_the_address_is_told_with_what_to_do() -> None:
    with (
        Prometheus(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(MonitoringFailed, match=r"cannot be asked: .*refused.*--prometheus"),
    ):
        client.instant("up", AT)


def test_one_that_does_not_answer_is_left_after_the_timeout() -> None:
    with (
        silent() as port,
        Prometheus(f"http://127.0.0.1:{port}", timeout_seconds=0.2) as client,
        pytest.raises(MonitoringFailed, match=r"did not answer within 0\.2 s"),
    ):
        client.instant("up", AT)


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (
            always(422, json={"status": "error", "error": "query processing would load too many"}),
            "answered 422: query processing would load too many",
        ),
        (always(500, json={"status": "error"}), "answered 500: no reason given"),
        (always(500, text="<html>oops</html>"), "not that of Prometheus' API"),
        (always(200, text="<html>a proxy's login page</html>"), "not that of Prometheus' API"),
        (always(200, json=[]), "answered 200"),
        (always(200, json={"status": "success"}), "not that of Prometheus' API"),
        (always(200, json={"status": "success", "data": {"resultType": "vector"}}), "API"),
        (asking(lambda _: vector("1", kind="matrix")), "answered with matrix, not a vector"),
        (asking(lambda _: vector("a word")), "not that of Prometheus' API"),
        (asking(lambda _: vector(None)), "not that of Prometheus' API"),
    ],
)
def test_an_answer_that_is_no_answer_is_told(client: Prometheus, reason: str) -> None:
    with pytest.raises(MonitoringFailed, match=reason) as told:
        client.instant("up", AT)

    assert "\n" not in str(told.value)


def test_what_it_says_of_an_error_is_cut_short() -> None:
    client = always(422, json={"status": "error", "error": "x" * 10_000})

    with pytest.raises(MonitoringFailed) as told:
        client.instant("up", AT)
    assert len(str(told.value)) < 500


def test_an_empty_answer_is_no_failure() -> None:
    assert asking(lambda _: vector()).instant("up", AT) == []


def test_nan_and_infinite_samples_are_left_out_and_counted() -> None:
    client = asking(lambda _: vector("1.5", "NaN", "+Inf", "-Inf"))

    assert [series.value for series in client.instant("up", AT)] == [1.5]
    assert client.unusable_samples == 3


def test_the_time_is_that_of_prometheus_own_clock() -> None:
    client = always(200, headers={"date": "Mon, 02 Mar 2026 12:20:00 GMT"}, json={})

    assert client.now() == AT


@pytest.mark.parametrize("headers", [{}, {"date": "soon"}])
def test_one_that_does_not_say_what_time_it_is_is_told(headers: dict[str, str]) -> None:
    with pytest.raises(MonitoringFailed, match="does not say what time it is"):
        always(200, headers=headers, json={}).now()


def test_a_question_goes_in_the_body_so_that_its_length_is_no_matter() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return vector()

    asking(answer).instant("up" * 50_000, AT)

    assert (asked[0].method, asked[0].url.query) == ("POST", b"")
    assert b"time=1772454000.000" in asked[0].content


def test_a_link_opens_the_expression_up_to_its_time() -> None:
    link = always(200, json={}).link('up{job="a b"}', AT)

    assert link.startswith("http://prometheus:9090/graph?g0.expr=up%7Bjob%3D%22a+b%22%7D")
    assert "g0.end_input=2026-03-02+12%3A20%3A00" in link


@pytest.mark.parametrize("rows", [{}, ["x"], "x", None])
def test_series_that_are_none_are_told(rows: object) -> None:
    client = always(200, content=json.dumps({"status": "success", "data": rows}))

    with pytest.raises(MonitoringFailed, match="not that of Prometheus' API"):
        client.shown("up", AT - 1, AT)

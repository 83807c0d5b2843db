import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from safelight.metrics.registry import Meter, parse
from safelight.stack.receivers import Channel, Relayed
from safelight.stack.relay.courier import (
    BUDGET_SECONDS,
    PAUSES_SECONDS,
    REST_SECONDS,
    Clocks,
    Courier,
    Pace,
    Report,
)
from safelight.stack.relay.notice import parse as notice_of
from safelight.stack.relay.robots import Outcome
from tests.stack.telling import webhook

NOTICE = notice_of(webhook())
OK = httpx.Response(200, json={"errcode": 0, "code": 0})
WRONG = httpx.Response(200, json={"errcode": 310000, "errmsg": "sign not match"})
TOO_MANY = httpx.Response(200, json={"errcode": 45009, "errmsg": "api freq out of limit"})
DOWN = httpx.Response(503)

Answer = httpx.Response | Exception


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Bench:
    """A courier with one receiver, whose robot answers as it is told to."""

    def __init__(self, folder: Path, channel: Channel, *answers: Answer) -> None:
        self.url_file, self.secret_file = folder / "url", folder / "secret"
        self.url_file.write_text("http://robot/send?key=hush\n")
        self.secret_file.write_text("SEC\n")
        self.answers = list(answers) or [OK]
        self.asked: list[httpx.Request] = []
        self.time = FakeTime()
        self.meter = Meter("relay")
        self.receiver = Relayed(channel, self.url_file, self.secret_file)
        self.seconds_each = 0.0

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.time.now += self.seconds_each
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content)

    def bring(self, times: int = 1) -> list[Report]:
        clocks = Clocks(self.time.clock, lambda: 1_700_000_000.0, self.time.sleep)

        async def go() -> list[Report]:
            transport = httpx.MockTransport(self.respond)
            async with httpx.AsyncClient(transport=transport) as client:
                courier = Courier({"group": self.receiver}, self.meter, client, clocks)
                return [await courier.bring("group", NOTICE) for _ in range(times)]

        return asyncio.run(go())

    def counted(self) -> dict[str, float]:
        samples = parse(self.meter.expose().body.decode())
        return {
            dict(labels)["outcome"]: value
            for (name, labels), value in samples.items()
            if name == "safelight_notifications_total"
        }


Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Make:
    return lambda channel="dingtalk", *answers: Bench(tmp_path, channel, *answers)


def test_a_notice_is_posted_signed_to_the_robots_own_address(bench: Make) -> None:
    made = bench()
    [report] = made.bring()
    assert report == Report(report.verdict, 0)
    [request] = made.asked
    assert request.url.params["key"] == "hush"
    assert request.url.params["timestamp"] == "1700000000000"
    assert request.headers["content-type"] == "application/json; charset=utf-8"


def test_a_signature_survives_the_address_whatever_base64_puts_into_it(bench: Make) -> None:
    made = bench()
    signs = set[str]()
    for number in range(40):
        made.secret_file.write_text(f"secret {number}")
        made.bring()
        raw = made.asked[-1].url.query.decode()
        assert "+" not in raw.partition("sign=")[2]
        signs |= set(made.asked[-1].url.params["sign"])
    assert {"+", "/", "="} <= signs


@pytest.mark.parametrize(
    ("channel", "answer", "outcome"),
    [
        ("dingtalk", OK, "delivered"),
        ("dingtalk", WRONG, "refused"),
        ("wecom", DOWN, "unreachable"),
        ("wecom", TOO_MANY, "rate_limited"),
        ("webhook", OK, "delivered"),
    ],
)
def test_every_outcome_is_counted_and_the_others_stay_at_zero(
    channel: Channel, answer: Answer, outcome: Outcome, bench: Make
) -> None:
    made = bench(channel, answer)
    [report] = made.bring()
    assert report.verdict.outcome == outcome
    counted = made.counted()
    assert counted.pop(outcome) == 1
    assert set(counted.values()) == {0}


@pytest.mark.parametrize(
    "trouble",
    [DOWN, httpx.ConnectError("hush"), httpx.ReadTimeout("hush"), httpx.RemoteProtocolError("x")],
    ids=lambda trouble: type(trouble).__name__,
)
def test_what_passes_is_tried_again_and_delivered_once_it_is_over(
    trouble: Answer, bench: Make
) -> None:
    made = bench("dingtalk", trouble, trouble, OK)
    [report] = made.bring()
    assert report.verdict.outcome == "delivered"
    assert made.time.slept == list(PAUSES_SECONDS[:2])


def test_what_does_not_pass_is_given_up_inside_the_bound(bench: Make) -> None:
    made = bench("dingtalk", httpx.ConnectError("hush"))
    [report] = made.bring()
    assert report.verdict.outcome == "unreachable"
    assert report.retry_after_seconds > 0
    assert len(made.asked) == len(PAUSES_SECONDS) + 1
    assert sum(made.time.slept) <= BUDGET_SECONDS


def test_slow_tries_use_up_the_bound_sooner(bench: Make) -> None:
    made = bench("dingtalk", DOWN)
    made.seconds_each = 3.0
    made.bring()
    assert len(made.asked) == 2


def test_a_refusal_is_not_tried_again(bench: Make) -> None:
    made = bench("dingtalk", WRONG)
    [report] = made.bring()
    assert len(made.asked) == 1
    assert "310000: sign not match" in report.verdict.why


def test_no_report_holds_the_address(bench: Make) -> None:
    for answer in (httpx.ConnectError("to http://robot/send?key=hush"), WRONG, DOWN):
        [report] = bench("dingtalk", answer).bring()
        assert "hush" not in report.verdict.why


def test_a_robot_is_told_no_more_than_it_takes_and_the_rest_is_asked_again(bench: Make) -> None:
    made = bench("dingtalk")
    reports = made.bring(23)
    assert len(made.asked) == 20
    assert [report.verdict.outcome for report in reports[20:]] == ["rate_limited"] * 3
    assert all(0 < report.retry_after_seconds <= 61 for report in reports[20:])
    assert made.counted()["rate_limited"] == 3


def test_a_webhook_is_told_as_much_as_there_is(bench: Make) -> None:
    made = bench("webhook")
    made.bring(100)
    assert len(made.asked) == 100


def test_a_robot_that_has_had_too_much_is_left_alone(bench: Make) -> None:
    made = bench("wecom", TOO_MANY, OK)
    first, second = made.bring(2)
    assert first.retry_after_seconds == REST_SECONDS
    assert second.verdict.outcome == "rate_limited"
    assert len(made.asked) == 1


@pytest.mark.parametrize("held", [None, b"", b"no address", b"\xff\xfe", b"ftp://x"])
def test_an_address_that_went_missing_is_a_refusal(held: bytes | None, bench: Make) -> None:
    made = bench()
    made.url_file.unlink()
    if held is not None:
        made.url_file.write_bytes(held)
    [report] = made.bring()
    assert report.verdict.outcome == "refused"
    assert made.asked == []


def test_a_pace_lets_through_what_a_minute_holds_and_then_the_rest() -> None:
    now = [0.0]
    pace = Pace(3, lambda: now[0])
    assert [pace.take() for _ in range(3)] == [0, 0, 0]
    assert pace.take() == 61
    now[0] = 60.0
    assert pace.take() == 1
    now[0] = 61.0
    assert [pace.take() for _ in range(3)] == [0, 0, 0]
    assert pace.take() == 61


def test_a_pace_that_rests_lets_nothing_through() -> None:
    now = [0.0]
    pace = Pace(None, lambda: now[0])
    pace.rest()
    assert pace.take() == REST_SECONDS
    now[0] = REST_SECONDS
    assert pace.take() == 0

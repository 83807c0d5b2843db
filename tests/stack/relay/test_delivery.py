import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from safelight.metrics.registry import Meter, parse
from safelight.stack.receivers import Channel, Relayed
from safelight.stack.relay.delivery import (
    BUDGET_SECONDS,
    PAUSES_SECONDS,
    REST_SECONDS,
    Clocks,
    Deliverer,
    RateLimit,
    Report,
)
from safelight.stack.relay.notice import parse as notice_of
from safelight.stack.relay.robots import Outcome
from tests.stack.webhooks import webhook

NOTICE = notice_of(webhook())
OK = httpx.Response(200, json={"errcode": 0, "code": 0})
WRONG = httpx.Response(200, json={"errcode": 310000, "errmsg": "sign not match"})
TOO_MANY = httpx.Response(200, json={"errcode": 45009, "errmsg": "api freq out of limit"})
DOWN = httpx.Response(503)

Reply = httpx.Response | Exception


class FakeTime:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Bench:
    """A deliverer with one receiver, whose robot returns the given replies."""

    def __init__(self, folder: Path, channel: Channel, *replies: Reply) -> None:
        self.url_file, self.secret_file = folder / "url", folder / "secret"
        self.url_file.write_text("http://robot/send?key=hush\n")
        self.secret_file.write_text("SEC\n")
        self.replies = list(replies) or [OK]
        self.requests: list[httpx.Request] = []
        self.time = FakeTime()
        self.meter = Meter("relay")
        self.receiver = Relayed(channel, self.url_file, self.secret_file)
        self.seconds_per_try = 0.0

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.time.now += self.seconds_per_try
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status_code, content=reply.content)

    def deliver(self, times: int = 1) -> list[Report]:
        clocks = Clocks(self.time.clock, lambda: 1_700_000_000.0, self.time.sleep)

        async def deliver() -> list[Report]:
            transport = httpx.MockTransport(self.respond)
            async with httpx.AsyncClient(transport=transport) as client:
                deliverer = Deliverer({"group": self.receiver}, self.meter, client, clocks)
                return [await deliverer.deliver("group", NOTICE) for _ in range(times)]

        return asyncio.run(deliver())

    def counted(self) -> dict[str, float]:
        samples = parse(self.meter.expose().body.decode())
        return {
            dict(labels)["outcome"]: value
            for (name, labels), value in samples.items()
            if name == "safelight_notifications_total"
        }


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(tmp_path: Path) -> MakeBench:
    return lambda channel="dingtalk", *replies: Bench(tmp_path, channel, *replies)


def test_a_notice_is_signed_and_posted_to_the_robots_address(make_bench: MakeBench) -> None:
    bench = make_bench()
    [report] = bench.deliver()
    assert report == Report(report.verdict, 0)
    [request] = bench.requests
    assert request.url.params["key"] == "hush"
    assert request.url.params["timestamp"] == "1700000000000"
    assert request.headers["content-type"] == "application/json; charset=utf-8"


def test_every_base64_character_of_a_signature_is_encoded_in_the_address(
    make_bench: MakeBench,
) -> None:
    bench = make_bench()
    signs = set[str]()
    for number in range(40):
        bench.secret_file.write_text(f"secret {number}")
        bench.deliver()
        raw = bench.requests[-1].url.query.decode()
        assert "+" not in raw.partition("sign=")[2]
        signs |= set(bench.requests[-1].url.params["sign"])
    assert {"+", "/", "="} <= signs


@pytest.mark.parametrize(
    ("channel", "reply", "outcome"),
    [
        ("dingtalk", OK, "delivered"),
        ("dingtalk", WRONG, "refused"),
        ("wecom", DOWN, "unreachable"),
        ("wecom", TOO_MANY, "rate_limited"),
        ("webhook", OK, "delivered"),
    ],
)
def test_every_outcome_is_counted_and_the_others_stay_zero(
    channel: Channel, reply: Reply, outcome: Outcome, make_bench: MakeBench
) -> None:
    bench = make_bench(channel, reply)
    [report] = bench.deliver()
    assert report.verdict.outcome == outcome
    counted = bench.counted()
    assert counted.pop(outcome) == 1
    assert set(counted.values()) == {0}


@pytest.mark.parametrize(
    "failure",
    [DOWN, httpx.ConnectError("hush"), httpx.ReadTimeout("hush"), httpx.RemoteProtocolError("x")],
    ids=lambda failure: type(failure).__name__,
)
def test_a_temporary_failure_is_retried_until_it_succeeds(
    failure: Reply, make_bench: MakeBench
) -> None:
    bench = make_bench("dingtalk", failure, failure, OK)
    [report] = bench.deliver()
    assert report.verdict.outcome == "delivered"
    assert bench.time.slept == list(PAUSES_SECONDS[:2])


def test_a_lasting_failure_is_given_up_within_the_budget(make_bench: MakeBench) -> None:
    bench = make_bench("dingtalk", httpx.ConnectError("hush"))
    [report] = bench.deliver()
    assert report.verdict.outcome == "unreachable"
    assert report.retry_after_seconds > 0
    assert len(bench.requests) == len(PAUSES_SECONDS) + 1
    assert sum(bench.time.slept) <= BUDGET_SECONDS


def test_slow_tries_use_up_the_budget_sooner(make_bench: MakeBench) -> None:
    bench = make_bench("dingtalk", DOWN)
    bench.seconds_per_try = 3.0
    bench.deliver()
    assert len(bench.requests) == 2


def test_a_refusal_is_not_retried(make_bench: MakeBench) -> None:
    bench = make_bench("dingtalk", WRONG)
    [report] = bench.deliver()
    assert len(bench.requests) == 1
    assert "310000: sign not match" in report.verdict.reason


def test_no_report_contains_the_address(make_bench: MakeBench) -> None:
    for reply in (httpx.ConnectError("to http://robot/send?key=hush"), WRONG, DOWN):
        [report] = make_bench("dingtalk", reply).deliver()
        assert "hush" not in report.verdict.reason


def test_a_robot_gets_no_more_messages_than_its_rate_limit(make_bench: MakeBench) -> None:
    bench = make_bench("dingtalk")
    reports = bench.deliver(23)
    assert len(bench.requests) == 20
    assert [report.verdict.outcome for report in reports[20:]] == ["rate_limited"] * 3
    assert all(0 < report.retry_after_seconds <= 61 for report in reports[20:])
    assert bench.counted()["rate_limited"] == 3


def test_a_webhook_has_no_rate_limit(make_bench: MakeBench) -> None:
    bench = make_bench("webhook")
    bench.deliver(100)
    assert len(bench.requests) == 100


def test_a_robot_that_reports_its_limit_gets_no_message_for_a_while(make_bench: MakeBench) -> None:
    bench = make_bench("wecom", TOO_MANY, OK)
    first, second = bench.deliver(2)
    assert first.retry_after_seconds == REST_SECONDS
    assert second.verdict.outcome == "rate_limited"
    assert len(bench.requests) == 1


@pytest.mark.parametrize("content", [None, b"", b"no address", b"\xff\xfe", b"ftp://x"])
def test_a_missing_address_is_a_refusal(content: bytes | None, make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.url_file.unlink()
    if content is not None:
        bench.url_file.write_bytes(content)
    [report] = bench.deliver()
    assert report.verdict.outcome == "refused"
    assert bench.requests == []


def test_a_rate_limit_allows_its_messages_per_minute() -> None:
    now = [0.0]
    limit = RateLimit(3, lambda: now[0])
    assert [limit.take() for _ in range(3)] == [0, 0, 0]
    assert limit.take() == 61
    now[0] = 60.0
    assert limit.take() == 1
    now[0] = 61.0
    assert [limit.take() for _ in range(3)] == [0, 0, 0]
    assert limit.take() == 61


def test_the_last_quarter_of_the_messages_is_for_firing_alerts() -> None:
    now = [0.0]
    limit = RateLimit(20, lambda: now[0])
    resolved = [limit.take(firing=False) for _ in range(16)]
    assert resolved == [0] * 15 + [61]
    assert [limit.take() for _ in range(6)] == [0] * 5 + [61]
    now[0] = 61
    assert limit.take(firing=False) == 0


def test_a_paused_rate_limit_allows_no_message() -> None:
    now = [0.0]
    limit = RateLimit(None, lambda: now[0])
    limit.pause()
    assert limit.take() == REST_SECONDS
    now[0] = REST_SECONDS
    assert limit.take() == 0

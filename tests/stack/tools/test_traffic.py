import asyncio
import re
from collections.abc import Callable, Coroutine

import httpx
import pytest

from safelight.stack.tools.traffic import MOST_REQUESTS, Summary, Traffic, drive

URL = "http://service"
Respond = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


class FakeTime:
    """A clock that only sleeping moves; those who are ready run meanwhile."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(20):
            await asyncio.sleep(0)


def send(
    traffic: Traffic,
    respond: Respond,
    time: FakeTime,
    on_progress: Callable[[Summary], None] = lambda summary: None,
) -> Summary:
    async def go() -> Summary:
        transport = httpx.MockTransport(respond)
        async with httpx.AsyncClient(transport=transport) as client:
            return await drive(
                traffic,
                URL,
                client=client,
                on_progress=on_progress,
                sleep=time.sleep,
                clock=time.clock,
            )

    return asyncio.run(asyncio.wait_for(go(), 30))


async def ok(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200)


SMALL = ((64, 64),)


def test_requests_leave_when_their_time_has_come() -> None:
    time, sent = FakeTime(), list[float]()

    async def note(request: httpx.Request) -> httpx.Response:
        sent.append(time.now - 100)
        return await ok(request)

    summary = send(Traffic(rate=2, duration_seconds=3, sizes=SMALL), note, time)
    assert sent == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5], abs=0.51)
    assert time.now == pytest.approx(102.5)
    assert summary.sent == summary.outcomes["ok"] == len(summary.seconds) == 6


def test_a_service_that_does_not_answer_is_sent_the_rest_all_the_same() -> None:
    time, asked, release = FakeTime(), list[float](), asyncio.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        asked.append(time.now)
        if len(asked) == 6:
            release.set()
        await release.wait()
        return await ok(request)

    summary = send(Traffic(rate=2, duration_seconds=3, sizes=SMALL), hold, time)
    assert summary.outcomes == {"ok": 6}  # the first answered only after the last had left


def test_what_is_due_while_too_many_are_unanswered_is_skipped_and_counted() -> None:
    time, release = FakeTime(), asyncio.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        await release.wait()
        return await ok(request)

    def watch(summary: Summary) -> None:
        if summary.skipped == 7:
            release.set()

    traffic = Traffic(rate=10, duration_seconds=1, sizes=SMALL, in_flight_limit=3)
    summary = send(traffic, hold, time, watch)
    assert (summary.sent, summary.skipped) == (3, 7)


def test_a_late_start_is_caught_up_and_not_spread_out() -> None:
    time = FakeTime()
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.now += seconds + (5 if len(slept) == 1 else 0)

    async def go() -> Summary:
        async with httpx.AsyncClient(transport=httpx.MockTransport(ok)) as client:
            traffic = Traffic(rate=1, duration_seconds=8, sizes=SMALL)
            return await drive(traffic, URL, client=client, sleep=sleep, clock=time.clock)

    assert asyncio.run(go()).sent == 8
    assert slept == [1, 1]  # after the pause of 5 s requests 2 to 6 leave at once, then 7 waits


def test_failures_are_counted_by_their_reason() -> None:
    answers = [
        httpx.Response(200),
        httpx.Response(503, json={"reason": "overloaded"}),
        httpx.Response(503, json={"reason": "overloaded"}),
        httpx.Response(504, json={"reason": "timeout"}),
        httpx.Response(500, text="<html>"),
        httpx.Response(502, json=["no", "object"]),
        httpx.Response(404, json={"detail": "no reason"}),
    ]

    async def each(_request: httpx.Request) -> httpx.Response:
        if not answers:
            raise httpx.ConnectError("refused")
        return answers.pop(0)

    summary = send(Traffic(rate=8, duration_seconds=1, sizes=SMALL), each, FakeTime())
    assert summary.outcomes == {
        "ok": 1,
        "overloaded": 2,
        "timeout": 1,
        "HTTP 500": 1,
        "HTTP 502": 1,
        "HTTP 404": 1,
        "ConnectError": 1,
    }
    assert (summary.failed, len(summary.seconds)) == (7, 1)


def test_good_answers_that_carry_a_warning_are_counted_by_what_it_says() -> None:
    told = ["", "structure_corruption", "structure_corruption, too_dark", "too_dark"]
    answers = [httpx.Response(200, headers={"x-safelight-warning": each}) for each in told]
    answers[3] = httpx.Response(503, headers={"x-safelight-warning": "too_dark"})

    async def each(_request: httpx.Request) -> httpx.Response:
        return answers.pop(0)

    summary = send(Traffic(rate=4, duration_seconds=1, sizes=SMALL), each, FakeTime())
    assert (summary.outcomes["ok"], summary.warned) == (3, 2)
    assert summary.warnings == {"structure_corruption": 2, "too_dark": 1}


def test_progress_reaches_the_whole() -> None:
    seen = list[int]()
    traffic = Traffic(rate=4, duration_seconds=2, sizes=SMALL)
    send(traffic, ok, FakeTime(), lambda summary: seen.append(summary.sent + summary.skipped))
    assert seen == sorted(seen)
    assert seen[-1] == traffic.requests == 8


def test_the_mixture_is_drawn_by_the_seed() -> None:
    def draw(seed: int) -> list[tuple[str, int]]:
        sent = list[tuple[str, int]]()

        async def note(request: httpx.Request) -> httpx.Response:
            sent.append((request.url.params["instruction"], len(request.content)))
            return await ok(request)

        send(Traffic(rate=30, duration_seconds=1, sizes=SMALL, seed=seed), note, FakeTime())
        return sent

    assert draw(1) == draw(1) != draw(2)
    assert len({instruction for instruction, _ in draw(1)}) > 4


def test_a_request_is_a_raw_photo_with_parameters_and_a_sampled_trace() -> None:
    async def inspect(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/edit"
        assert request.headers["content-type"] == "image/jpeg"
        assert request.content.startswith(b"\xff\xd8")
        assert request.url.params["steps"] == "3"
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", request.headers["traceparent"])
        return await ok(request)

    traffic = Traffic(rate=1, duration_seconds=1, sizes=SMALL, steps=3)
    assert send(traffic, inspect, FakeTime()).outcomes == {"ok": 1}


def test_cancelling_takes_the_unanswered_along() -> None:
    held, all_held = set[httpx.Request](), asyncio.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        held.add(request)
        if len(held) == 5:
            all_held.set()
        try:
            await asyncio.Event().wait()
        finally:
            held.discard(request)
        return await ok(request)

    async def go() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(hold)) as client:
            traffic = Traffic(rate=1000, duration_seconds=0.005, sizes=SMALL)
            driving = asyncio.create_task(drive(traffic, URL, client=client))
            await all_held.wait()
            driving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await driving
            assert not held

    asyncio.run(asyncio.wait_for(go(), 30))


@pytest.mark.parametrize(
    ("rate", "seconds", "requests"),
    [(1, 60, 60), (0.01, 0.1, 1), (2.5, 3, 8), (1000, 86400, MOST_REQUESTS)],
)
def test_the_number_of_requests_is_bounded(rate: float, seconds: float, requests: int) -> None:
    assert Traffic(rate=rate, duration_seconds=seconds).requests == requests


@pytest.mark.parametrize(
    ("q", "seconds"), [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_a_quantile_is_the_nearest_rank(q: float, seconds: float) -> None:
    assert Summary([float(value) for value in range(100, 0, -1)]).quantile(q) == seconds


def test_without_good_answers_there_is_no_quantile() -> None:
    assert Summary().quantile(0.5) is None
    assert Summary([3.0]).quantile(0.5) == Summary([3.0]).quantile(0.99) == 3.0

import asyncio
import re
from collections.abc import Callable, Coroutine

import httpx
import pytest

from safelight.stack.tools.traffic import MAX_REQUESTS, Summary, Traffic, drive

URL = "http://service"
Respond = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


class FakeTime:
    """A clock that only `sleep` moves; other tasks can run meanwhile."""

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
    async def run() -> Summary:
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

    return asyncio.run(asyncio.wait_for(run(), 30))


async def ok(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200)


SMALL = ((64, 64),)


def test_requests_are_sent_at_their_times() -> None:
    time, sent = FakeTime(), list[float]()

    async def note(request: httpx.Request) -> httpx.Response:
        sent.append(time.now - 100)
        return await ok(request)

    summary = send(Traffic(rate=2, duration_seconds=3, sizes=SMALL), note, time)
    assert sent == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5], abs=0.51)
    assert time.now == pytest.approx(102.5)
    assert summary.sent == summary.outcomes["ok"] == len(summary.seconds) == 6


def test_a_service_that_does_not_respond_gets_all_requests() -> None:
    time, sent, release = FakeTime(), list[float](), asyncio.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        sent.append(time.now)
        if len(sent) == 6:
            release.set()
        await release.wait()
        return await ok(request)

    summary = send(Traffic(rate=2, duration_seconds=3, sizes=SMALL), hold, time)
    assert summary.outcomes == {"ok": 6}  # the first response follows the last request


def test_requests_above_the_in_flight_limit_are_skipped_and_counted() -> None:
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


def test_after_a_delay_the_late_requests_are_sent_at_once() -> None:
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
    assert slept == [1, 1]  # after 5 s, requests 2 to 6 are sent at once; 7 waits


def test_failures_are_counted_by_reason() -> None:
    responses = [
        httpx.Response(200),
        httpx.Response(503, json={"reason": "overloaded"}),
        httpx.Response(503, json={"reason": "overloaded"}),
        httpx.Response(504, json={"reason": "timeout"}),
        httpx.Response(500, text="<html>"),
        httpx.Response(502, json=["no", "object"]),
        httpx.Response(404, json={"detail": "no reason"}),
    ]

    async def respond(_request: httpx.Request) -> httpx.Response:
        if not responses:
            raise httpx.ConnectError("refused")
        return responses.pop(0)

    summary = send(Traffic(rate=8, duration_seconds=1, sizes=SMALL), respond, FakeTime())
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


def test_successful_responses_with_a_warning_are_counted_by_its_reasons() -> None:
    headers = ["", "structure_corruption", "structure_corruption, too_dark", "too_dark"]
    responses = [httpx.Response(200, headers={"x-safelight-warning": text}) for text in headers]
    responses[3] = httpx.Response(503, headers={"x-safelight-warning": "too_dark"})

    async def respond(_request: httpx.Request) -> httpx.Response:
        return responses.pop(0)

    summary = send(Traffic(rate=4, duration_seconds=1, sizes=SMALL), respond, FakeTime())
    assert (summary.outcomes["ok"], summary.warned) == (3, 2)
    assert summary.warnings == {"structure_corruption": 2, "too_dark": 1}


def test_progress_reaches_the_total() -> None:
    progress = list[int]()
    traffic = Traffic(rate=4, duration_seconds=2, sizes=SMALL)
    send(traffic, ok, FakeTime(), lambda summary: progress.append(summary.sent + summary.skipped))
    assert progress == sorted(progress)
    assert progress[-1] == traffic.requests == 8


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


def test_cancelling_cancels_the_open_requests() -> None:
    waiting, all_waiting = set[httpx.Request](), asyncio.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        waiting.add(request)
        if len(waiting) == 5:
            all_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            waiting.discard(request)
        return await ok(request)

    async def go() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(hold)) as client:
            traffic = Traffic(rate=1000, duration_seconds=0.005, sizes=SMALL)
            driving = asyncio.create_task(drive(traffic, URL, client=client))
            await all_waiting.wait()
            driving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await driving
            assert not waiting

    asyncio.run(asyncio.wait_for(go(), 30))


@pytest.mark.parametrize(
    ("rate", "seconds", "requests"),
    [(1, 60, 60), (0.01, 0.1, 1), (2.5, 3, 8), (1000, 86400, MAX_REQUESTS)],
)
def test_the_number_of_requests_is_limited(rate: float, seconds: float, requests: int) -> None:
    assert Traffic(rate=rate, duration_seconds=seconds).requests == requests


@pytest.mark.parametrize(
    ("q", "seconds"), [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_a_quantile_is_the_nearest_rank(q: float, seconds: float) -> None:
    assert Summary([float(value) for value in range(100, 0, -1)]).quantile(q) == seconds


def test_without_successful_responses_there_is_no_quantile() -> None:
    assert Summary().quantile(0.5) is None
    assert Summary([3.0]).quantile(0.5) == Summary([3.0]).quantile(0.99) == 3.0

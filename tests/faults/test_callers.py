"""Callers who leave, dawdle, or all come at once."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from safelight.metrics.catalog import DEVICE_SECONDS, REQUESTS
from tests.faults.conftest import Answer, Victim, ask, survived, told
from tests.serving.conftest import until
from tests.serving.jobs import PICTURE

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(victim: Victim) -> Connection:
    port = int(victim.url.rpartition(":")[2])
    return await asyncio.open_connection("127.0.0.1", port)


def head(instruction: str, length: int = len(PICTURE), steps: int = 2) -> bytes:
    return (
        f"POST /api/edit?instruction={instruction}&steps={steps} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def status_of(reader: asyncio.StreamReader) -> int:
    line = await reader.readline()
    return int(line.split()[1])


def test_two_hundred_callers_who_leave_cost_no_more_than_a_step(victim: Victim) -> None:
    served = victim.value(DEVICE_SECONDS, use="useful")

    def ended(reason: str) -> float:
        return victim.value(REQUESTS, error=reason)

    async def leave(number: int) -> None:
        _, writer = await connect(victim)
        writer.write(head("slowly", steps=100) + PICTURE)
        await writer.drain()
        await asyncio.sleep(0.05 + number % 10 * 0.02)
        abort(writer)

    async def scenario(_speaking: httpx.AsyncClient) -> None:
        await asyncio.gather(*map(leave, range(200)))

    victim.run(scenario, 30)
    victim.settles()
    # A hundred steps are two seconds each; all of them together must not have been made.
    assert victim.value(DEVICE_SECONDS, use="cancelled") < 5
    assert victim.value(DEVICE_SECONDS, use="useful") - served < 1
    cancelled, refused = ended("cancelled"), ended("overloaded")
    assert cancelled > 20
    assert cancelled + refused == 200
    survived(
        "200 callers connect and leave",
        f"{cancelled:.0f} x 499 cancelled, {refused:.0f} x 503 overloaded",
        "the device was free within a step",
    )


def test_callers_who_leave_in_mid_upload_leave_nothing_behind(victim: Victim) -> None:
    cancelled, spent = victim.value(REQUESTS, error="cancelled"), victim.value(DEVICE_SECONDS)

    async def leave() -> None:
        _, writer = await connect(victim)
        writer.write(head("make%20him%20old") + PICTURE[:500])
        await writer.drain()
        await asyncio.sleep(0.05)
        abort(writer)

    async def scenario(_speaking: httpx.AsyncClient) -> None:
        await asyncio.gather(*(leave() for _ in range(50)))

    victim.run(scenario, 20)
    assert until(lambda: victim.value(REQUESTS, error="cancelled") == cancelled + 50, 5)
    assert victim.value(DEVICE_SECONDS) == spent
    victim.settles()
    survived("50 uploads that break off", "50 x 499 cancelled", "nothing reached the model")


def test_slow_uploads_hold_nobody_up_and_end_at_their_deadline(own: Callable[..., Any]) -> None:
    with own(request_timeout_seconds="2") as service:
        victim = Victim(service)

        async def trickle() -> Answer:
            reader, writer = await connect(victim)
            writer.write(head("make%20him%20old"))
            for byte in PICTURE[:100]:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)
                if reader._buffer:  # type: ignore[attr-defined]
                    break
            status = await status_of(reader)
            abort(writer)
            return status, "timeout"

        async def scenario(speaking: httpx.AsyncClient) -> tuple[list[Answer], list[Answer]]:
            slow = [asyncio.create_task(trickle()) for _ in range(20)]
            quick = [await ask(speaking) for _ in range(20)]
            return quick, list(await asyncio.gather(*slow))

        quick, slow = victim.run(scenario, 30)
        assert quick == [(200, "none")] * 20
        assert slow == [(504, "timeout")] * 20
        victim.settles()
    survived("20 uploads of 20 bytes a second", told(slow + quick), "others were served meanwhile")


def test_slow_readers_hold_nobody_up(victim: Victim) -> None:
    async def dawdle() -> bytes:
        reader, writer = await connect(victim)
        writer.write(head("make%20him%20old") + PICTURE)
        received = b""
        while not received.endswith(b"IEND\xaeB`\x82"):
            received += await reader.read(200)
            await asyncio.sleep(0.01)
        abort(writer)
        return received

    async def scenario(speaking: httpx.AsyncClient) -> tuple[list[bytes], list[Answer]]:
        slow = [asyncio.create_task(dawdle()) for _ in range(20)]
        quick = [await ask(speaking) for _ in range(20)]
        return list(await asyncio.gather(*slow)), quick

    slow, quick = victim.run(scenario, 30)
    assert quick == [(200, "none")] * 20
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in slow)
    victim.settles()
    survived("20 readers of 20 kB a second", told([(200, "none")] * 40), "others served meanwhile")


def test_a_connection_cut_in_mid_answer_hurts_nobody(victim: Victim) -> None:
    async def cut() -> None:
        reader, writer = await connect(victim)
        writer.write(head("make%20him%20old") + PICTURE)
        await reader.readexactly(100)
        abort(writer)

    async def scenario(speaking: httpx.AsyncClient) -> list[Answer]:
        await asyncio.gather(*(cut() for _ in range(30)))
        return [await ask(speaking) for _ in range(5)]

    answers = victim.run(scenario, 20)
    assert answers == [(200, "none")] * 5
    victim.settles()
    survived("30 connections cut in mid-answer", told(answers) + " to others", "gauges at 0")


@pytest.mark.parametrize("number", [5000])
def test_five_thousand_requests_at_once_are_each_answered_once(victim: Victim, number: int) -> None:
    request = head("make%20him%20old", steps=1) + PICTURE
    before = victim.value(REQUESTS)

    async def send() -> int:
        reader, writer = await connect(victim)
        writer.write(request)
        try:
            return await status_of(reader)
        finally:
            abort(writer)

    async def scenario(_speaking: httpx.AsyncClient) -> list[int]:
        return list(await asyncio.gather(*(send() for _ in range(number))))

    statuses = victim.run(scenario, 90)
    assert len(statuses) == number
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 50  # normal callers may fill nine tenths of the queue of 64
    assert until(lambda: victim.value(REQUESTS) == before + number, 10)
    victim.settles()
    answers = [(s, "none" if s == 200 else "overloaded") for s in statuses]
    survived(f"{number} requests at once", told(answers), "each answered once")

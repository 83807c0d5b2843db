"""Callers who disconnect, are slow, or send many requests at once."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from safelight.metrics.catalog import CONNECTIONS_CLOSED, DEVICE_SECONDS, REQUESTS
from tests.faults.conftest import Outcome, Victim, counted, record, send_edit
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


def test_two_hundred_callers_who_disconnect_free_the_device_within_a_step(victim: Victim) -> None:
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
    # The hundred steps of a request take two seconds; most of them must not run.
    assert victim.value(DEVICE_SECONDS, use="cancelled") < 5
    assert victim.value(DEVICE_SECONDS, use="useful") - served < 1
    cancelled, refused = ended("cancelled"), ended("overloaded")
    assert cancelled > 20
    assert cancelled + refused == 200
    record(
        "200 callers connect and disconnect",
        f"{cancelled:.0f} x 499 cancelled, {refused:.0f} x 503 overloaded",
        "the device is free within a step",
    )


def test_aborted_uploads_do_not_reach_the_model(victim: Victim) -> None:
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
    record("50 aborted uploads", "50 x 499 cancelled", "nothing reaches the model")


def test_slow_uploads_delay_no_other_request_and_end_at_their_deadline(
    own: Callable[..., Any],
) -> None:
    with own(request_timeout_seconds="2") as service:
        victim = Victim(service)

        async def trickle() -> Outcome:
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

        async def scenario(http: httpx.AsyncClient) -> tuple[list[Outcome], list[Outcome]]:
            slow = [asyncio.create_task(trickle()) for _ in range(20)]
            quick = [await send_edit(http) for _ in range(20)]
            return quick, list(await asyncio.gather(*slow))

        quick, slow = victim.run(scenario, 30)
        assert quick == [(200, "none")] * 20
        assert slow == [(504, "timeout")] * 20
        victim.settles()
    record(
        "20 uploads of 20 bytes per second", counted(slow + quick), "others are served meanwhile"
    )


def test_slow_readers_delay_no_other_request(victim: Victim) -> None:
    async def read_slowly() -> bytes:
        reader, writer = await connect(victim)
        writer.write(head("make%20him%20old") + PICTURE)
        received = b""
        while not received.endswith(b"IEND\xaeB`\x82"):
            received += await reader.read(200)
            await asyncio.sleep(0.01)
        abort(writer)
        return received

    async def scenario(http: httpx.AsyncClient) -> tuple[list[bytes], list[Outcome]]:
        slow = [asyncio.create_task(read_slowly()) for _ in range(20)]
        quick = [await send_edit(http) for _ in range(20)]
        return list(await asyncio.gather(*slow)), quick

    slow, quick = victim.run(scenario, 30)
    assert quick == [(200, "none")] * 20
    assert all(response.startswith(b"HTTP/1.1 200") for response in slow)
    victim.settles()
    record(
        "20 readers of 20 kB per second",
        counted([(200, "none")] * 40),
        "others are served meanwhile",
    )


def test_a_connection_cut_during_the_response_affects_no_other_request(victim: Victim) -> None:
    async def cut() -> None:
        reader, writer = await connect(victim)
        writer.write(head("make%20him%20old") + PICTURE)
        await reader.readexactly(100)
        abort(writer)

    async def scenario(http: httpx.AsyncClient) -> list[Outcome]:
        await asyncio.gather(*(cut() for _ in range(30)))
        return [await send_edit(http) for _ in range(5)]

    answers = victim.run(scenario, 20)
    assert answers == [(200, "none")] * 5
    victim.settles()
    record("30 connections cut during the response", counted(answers) + " to others", "gauges at 0")


@pytest.mark.parametrize("number", [5000])
def test_five_thousand_requests_at_once_get_one_response_each(victim: Victim, number: int) -> None:
    request = head("make%20him%20old", steps=1) + PICTURE
    before, closed = victim.value(REQUESTS), victim.value(CONNECTIONS_CLOSED)

    def is_counted() -> bool:
        ended = victim.value(REQUESTS) - before
        # A connection may make room after its response too.
        return ended <= number <= ended + victim.value(CONNECTIONS_CLOSED) - closed

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
    assert statuses.count(200) >= 50  # normal callers can fill 90 % of the queue of 64
    assert until(is_counted, 10)
    victim.settles()
    answers = [(s, "none" if s == 200 else "overloaded") for s in statuses]
    record(f"{number} requests at once", counted(answers), "one response each")

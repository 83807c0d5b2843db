"""Generate load with asyncio for slow requests: closed loop, and open loop at a fixed rate.

Some hundred requests per second cost a tenth of a core. For thousands, use `load`.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from benchmarks.serving.servers import Server

REFUSED = (429, 503, 504)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Tally:
    """The results of the requests after the first deadline."""

    goodput_per_second: float
    late_ratio: float
    """Share of the accepted requests; requests without a response count as late."""


def closed(server: Server, connections: int, seconds: float) -> float:
    """Return the responses per second of clients that each wait for their response.

    Raises RuntimeError if a response is not 200.
    """
    end = perf_counter() + seconds
    return asyncio.run(_closed(_Client(server), connections, lambda: perf_counter() < end))


def throughput_of(server: Server, connections: int, count: int) -> float:
    """Return the responses per second of clients that send `count` requests together.

    Raises RuntimeError if a response is not 200.
    """
    rest = iter(range(count))
    return asyncio.run(_closed(_Client(server), connections, lambda: next(rest, None) is not None))


def flood(server: Server, per_second: float, seconds: float, deadline_seconds: float) -> Tally:
    """Send requests at a fixed rate without waiting for responses, and return the results.

    Requests before the first deadline do not count: the queue is still short, so none is late.
    Raises RuntimeError if a response is neither 200 nor a refusal.
    """
    client = _Client(server, deadline_seconds)
    return asyncio.run(_flood(client, per_second, seconds, deadline_seconds))


def settle(server: Server) -> None:
    """Wait until the queue of an earlier flood is empty."""
    asyncio.run(_Client(server).send())


class _Client:
    """Persistent connections to one server, opened on demand."""

    def __init__(self, server: Server, deadline_seconds: float = 60) -> None:
        system = server.system
        self._port = server.port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._request = (
            f"POST {system.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {system.media_type}"
            f"\r\nContent-Length: {len(system.body)}\r\nX-Request-Timeout: {deadline_seconds}\r\n"
            "\r\n"
        ).encode() + system.body

    async def send(self) -> int:
        """Send a request and return the status of the response."""
        reader, writer = (
            self._idle.pop()
            if self._idle
            else await asyncio.open_connection("127.0.0.1", self._port)
        )
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None, head
        await reader.readexactly(int(length[1]))
        self._idle.append((reader, writer))
        return int(head.split(maxsplit=2)[1])


async def _closed(client: _Client, connections: int, more: Callable[[], bool]) -> float:
    started = perf_counter()

    async def one() -> int:
        responses = 0
        while more():
            status = await client.send()
            if status != 200:
                raise RuntimeError(f"A response has the status {status}.")
            responses += 1
        return responses

    responses = sum(await asyncio.gather(*(one() for _ in range(connections))))
    return responses / (perf_counter() - started)  # including the last batch


async def _flood(
    client: _Client, per_second: float, seconds: float, deadline_seconds: float
) -> Tally:
    started = perf_counter()

    async def one() -> str:
        sent = perf_counter()
        status = await client.send()
        if status in REFUSED:
            return "refused"
        if status != 200:
            raise RuntimeError(f"A response has the status {status}.")
        return "in time" if perf_counter() - sent <= deadline_seconds else "late"

    sent = []
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(started + number / per_second - perf_counter())
        sent.append(asyncio.create_task(one()))
    done, _ = await asyncio.wait(sent, timeout=deadline_seconds)
    results = [task.result() if task in done else "late" for task in sent]
    steady = results[int(per_second * deadline_seconds) :]
    in_time, late = steady.count("in time"), steady.count("late")
    return Tally(in_time / len(steady) * per_second, late / max(1, in_time + late))

"""Load by asyncio for works that take long: closed loop, and open loop at a fixed rate.

Some hundred requests a second cost it a tenth of a core. For thousands there is `load`.
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
    """What became of the requests that were sent while the flood was steady."""

    goodput_per_second: float
    late_ratio: float
    """Of those that were not refused; it counts those without an answer, which is still made."""


def closed(server: Server, connections: int, seconds: float) -> float:
    """Return the answers per second of a few clients, each asking anew once it is answered.

    Raises RuntimeError where one is not 200.
    """
    end = perf_counter() + seconds
    return asyncio.run(_closed(_Client(server), connections, lambda: perf_counter() < end))


def answered(server: Server, connections: int, count: int) -> float:
    """Return the answers per second of a few clients, who ask so often and no more.

    Raises RuntimeError where one is not 200.
    """
    left = iter(range(count))
    return asyncio.run(_closed(_Client(server), connections, lambda: next(left, None) is not None))


def flood(server: Server, per_second: float, seconds: float, deadline_seconds: float) -> Tally:
    """Send requests at a rate, whatever becomes of those before, and tell what became of them.

    Those sent before the first deadline do not count: the queue is short still, all are in time.
    Raises RuntimeError where one is neither answered nor refused.
    """
    client = _Client(server, deadline_seconds)
    return asyncio.run(_flood(client, per_second, seconds, deadline_seconds))


def settle(server: Server) -> None:
    """Wait until what an earlier flood left in the queue is worked off."""
    asyncio.run(_Client(server).ask())


class _Client:
    """Kept connections to one server, opened as they are needed."""

    def __init__(self, server: Server, deadline_seconds: float = 60) -> None:
        system = server.system
        self._port = server.port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._request = (
            f"POST {system.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {system.media_type}"
            f"\r\nContent-Length: {len(system.body)}\r\nX-Request-Timeout: {deadline_seconds}\r\n"
            "\r\n"
        ).encode() + system.body

    async def ask(self) -> int:
        """Return the status of the answer to a request."""
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
        answers = 0
        while more():
            status = await client.ask()
            if status != 200:
                raise RuntimeError(f"The answer to a request was {status}.")
            answers += 1
        return answers

    answers = sum(await asyncio.gather(*(one() for _ in range(connections))))
    return answers / (perf_counter() - started)  # until the last is answered: whole batches count


async def _flood(
    client: _Client, per_second: float, seconds: float, deadline_seconds: float
) -> Tally:
    started = perf_counter()

    async def one() -> str:
        sent = perf_counter()
        status = await client.ask()
        if status in REFUSED:
            return "refused"
        if status != 200:
            raise RuntimeError(f"The answer to a request was {status}.")
        return "in time" if perf_counter() - sent <= deadline_seconds else "late"

    sent = []
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(started + number / per_second - perf_counter())
        sent.append(asyncio.create_task(one()))
    done, _ = await asyncio.wait(sent, timeout=deadline_seconds)
    became = [task.result() if task in done else "late" for task in sent]
    steady = became[int(per_second * deadline_seconds) :]
    in_time, late = steady.count("in time"), steady.count("late")
    return Tally(in_time / len(steady) * per_second, late / max(1, in_time + late))

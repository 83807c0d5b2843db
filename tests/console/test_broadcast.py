"""One reader serves all viewers, and rests when nobody looks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from safelight.console.broadcast import Broadcast
from safelight.errors import Overloaded


def counted() -> Broadcast:
    number = 0

    async def read() -> bytes:
        nonlocal number
        number += 1
        return str(number).encode()

    return Broadcast(read, every_seconds=0.001)


@contextmanager
def listening(broadcast: Broadcast) -> Iterator[AsyncIterator[bytes]]:
    with broadcast.seat():
        yield broadcast.listen()


async def test_two_viewers_get_the_same_readings() -> None:
    broadcast = counted()
    with listening(broadcast) as one, listening(broadcast) as other:
        first = await asyncio.gather(anext(one), anext(other))
    assert first[0] == first[1]


async def test_a_new_viewer_sees_the_latest_reading_at_once() -> None:
    broadcast = counted()
    broadcast._every_seconds = 3600.0
    with listening(broadcast) as one, listening(broadcast) as other:
        assert await anext(one) == b"1"
        assert await asyncio.wait_for(anext(other), 5) == b"1"
    assert broadcast.readings == 1


async def test_nothing_is_read_when_nobody_looks() -> None:
    broadcast = counted()
    with listening(broadcast) as viewer:
        await anext(viewer)
    assert broadcast._task is not None
    await asyncio.wait_for(broadcast._task, 5)
    assert broadcast.viewers == 0


async def test_a_viewer_after_a_pause_never_sees_the_reading_from_before_it() -> None:
    broadcast = counted()
    with listening(broadcast) as viewer:
        await anext(viewer)
    assert broadcast._task is not None
    await asyncio.wait_for(broadcast._task, 5)
    before = broadcast.readings
    with listening(broadcast) as viewer:
        assert await asyncio.wait_for(anext(viewer), 5) == str(before + 1).encode()


def test_too_many_viewers_hear_so_and_those_who_left_give_their_seats_back() -> None:
    broadcast = counted()
    with ExitStack() as seats:
        for _ in range(100):
            seats.enter_context(broadcast.seat())
        with pytest.raises(Overloaded, match="too many open pages"), broadcast.seat():
            pass
    with broadcast.seat():
        assert broadcast.viewers == 1

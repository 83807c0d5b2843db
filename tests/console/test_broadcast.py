"""One reader serves all viewers, and rests when nobody looks."""

import asyncio

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


async def test_two_viewers_get_the_same_readings() -> None:
    broadcast = counted()
    one, other = broadcast.listen(), broadcast.listen()
    first = await asyncio.gather(anext(one), anext(other))
    assert first[0] == first[1]
    await one.aclose()  # type: ignore[attr-defined]
    await other.aclose()  # type: ignore[attr-defined]


async def test_a_new_viewer_sees_the_latest_reading_at_once() -> None:
    broadcast = counted()
    broadcast._every_seconds = 3600.0
    one = broadcast.listen()
    assert await anext(one) == b"1"
    assert await asyncio.wait_for(anext(broadcast.listen()), 5) == b"1"
    assert broadcast.readings == 1


async def test_nothing_is_read_when_nobody_looks() -> None:
    broadcast = counted()
    viewer = broadcast.listen()
    await anext(viewer)
    await viewer.aclose()  # type: ignore[attr-defined]
    assert broadcast._task is not None
    await asyncio.wait_for(broadcast._task, 5)
    assert broadcast.viewers == 0


async def test_a_viewer_after_a_pause_never_sees_the_reading_from_before_it() -> None:
    broadcast = counted()
    viewer = broadcast.listen()
    await anext(viewer)
    await viewer.aclose()  # type: ignore[attr-defined]
    assert broadcast._task is not None
    await asyncio.wait_for(broadcast._task, 5)
    before = broadcast.readings
    assert await asyncio.wait_for(anext(broadcast.listen()), 5) == str(before + 1).encode()


async def test_too_many_viewers_hear_so() -> None:
    broadcast = counted()
    broadcast.viewers = 100
    with pytest.raises(Overloaded, match="too many open pages"):
        broadcast.require_room()

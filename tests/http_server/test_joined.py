"""The headers of a response and the first piece of its body leave together, and in order."""

import asyncio
from asyncio import BaseProtocol, Protocol, Transport

import pytest

from safelight.http_server.connection import Connection
from safelight.http_server.joined import Joined
from tests.http_server.site import GET, answered, site

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Written(Transport):
    """A transport that remembers what was done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def set_protocol(self, protocol: BaseProtocol) -> None:
        self.done.append(type(protocol).__name__)

    def get_write_buffer_size(self) -> int:
        return 10


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.mark.anyio
async def test_headers_leave_with_the_first_piece_of_the_body(written: Written) -> None:
    joined = Joined(written)
    joined.write(HEAD)
    assert (written.done, joined.get_write_buffer_size()) == ([], len(HEAD) + 10)
    joined.write(b"body")
    joined.write(b"more")
    await asyncio.sleep(0)
    assert written.done == [HEAD + b"body", b"more"]


@pytest.mark.anyio
async def test_headers_whose_body_comes_later_leave_at_the_next_turn(written: Written) -> None:
    joined = Joined(written)
    joined.write(HEAD)
    await asyncio.sleep(0)
    assert written.done == [HEAD]
    joined.write(b"body")
    assert written.done == [HEAD, b"body"]


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["close", "abort"])
async def test_headers_leave_before_the_connection_closes(written: Written, end: str) -> None:
    joined = Joined(written)
    joined.write(HEAD)
    getattr(joined, end)()
    await asyncio.sleep(0)
    assert written.done == [HEAD, end]


@pytest.mark.anyio
async def test_another_protocol_gets_a_connection_without_held_headers(written: Written) -> None:
    joined = Joined(written)
    joined.write(HEAD)
    joined.set_protocol(Protocol())
    assert written.done == [HEAD, "Protocol"]


@pytest.mark.anyio
async def test_a_real_connection_joins_its_responses() -> None:
    async with site() as running:
        assert await answered(await running.connect(GET)) == b"HTTP/1.1 200 OK\r\n"
        [held] = running.held()
        assert isinstance(held.talk, Connection)
        assert isinstance(held.talk.transport, Joined)


@pytest.mark.anyio
async def test_pipelined_responses_of_a_real_server_come_in_order() -> None:
    async with site() as running:
        reader, _writer = connection = await running.connect(GET * 3)
        for _ in range(3):
            assert await answered(connection) == b"HTTP/1.1 200 OK\r\n"
            rest = await reader.readuntil(b"\r\n\r\nok")
            assert rest.count(b"HTTP/1.1") == 0

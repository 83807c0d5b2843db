"""What a caller does not read takes little memory."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from safelight.http_server.slices import SLICE_BYTES, in_slices
from tests.http_server.site import GET, LARGE, site
from tests.serving.running import eventually


@pytest.mark.parametrize("size", [0, 1, SLICE_BYTES, SLICE_BYTES + 1, 3 * SLICE_BYTES, 1_000_000])
@pytest.mark.parametrize("more_body", [False, True])
def test_the_slices_of_a_body_are_the_body(size: int, more_body: bool) -> None:
    body = bytes(number % 251 for number in range(size))
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": more_body})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def serve() -> None:
        await in_slices(app)({"type": "http"}, receive, send)

    asyncio.run(serve())
    pieces = sent[1:]
    assert b"".join(piece["body"] for piece in pieces) == body
    assert all(len(piece["body"]) <= SLICE_BYTES for piece in pieces)
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [more_body]


async def test_a_connection_that_reads_nothing_holds_a_slice_and_not_the_response() -> None:
    async with site() as running:
        _, writer = await running.connect(GET.replace(b"/ ", b"/large "))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        connections = running.server.server_state.connections
        await eventually(lambda: any(c.transport.get_write_buffer_size() for c in connections))
        limit = running.settings.write_buffer_bytes + SLICE_BYTES
        for _ in range(1000):
            await asyncio.sleep(0)
            assert all(each.transport.get_write_buffer_size() <= limit for each in connections)


async def test_a_large_response_arrives_whole() -> None:
    async with site() as running:
        reader, _ = await running.connect(GET.replace(b"/ ", b"/large "))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(LARGE)) == LARGE

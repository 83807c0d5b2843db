"""Short responses leave with their headers, long ones in slices that take little memory."""

import asyncio
import gc
from types import SimpleNamespace
from typing import cast

import pytest
from starlette.types import Message
from uvicorn._types import ASGISendEvent

from safelight.http_server.cycle import SLICE_BYTES, Cycle
from tests.http_server.site import GET, LARGE, answered, site
from tests.serving.running import eventually

LENGTH = (b"content-length", b"4")


class Sent:
    """A cycle, the packets that it has written, and whether its response is complete."""

    def __init__(self, *, keep_alive: bool = True, method: str = "GET") -> None:
        self.packets: list[bytes] = []
        self.is_complete = False
        self.is_closed = False
        self.cycle = Cycle(
            scope={"type": "http", "method": method},  # type: ignore[typeddict-item]
            transport=SimpleNamespace(  # type: ignore[arg-type]
                write=lambda data: self.packets.append(bytes(data)), close=self._close
            ),
            flow=SimpleNamespace(write_paused=False),  # type: ignore[arg-type]
            logger=None,  # type: ignore[arg-type]
            access_logger=None,  # type: ignore[arg-type]
            access_log=False,
            default_headers=[(b"server", b"safelight")],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self._complete,
        )

    def _complete(self) -> None:
        self.is_complete = True

    def _close(self) -> None:
        self.is_closed = True

    def send(self, *messages: Message) -> None:
        async def all_of_them() -> None:
            for message in messages:
                await self.cycle.send(cast("ASGISendEvent", message))

        asyncio.run(all_of_them())


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def test_headers_leave_with_a_short_body() -> None:
    sent = Sent()
    sent.send(start(LENGTH, (b"x-a", b"1")), body(b"body"))
    head = b"HTTP/1.1 200 OK\r\nserver: safelight\r\ncontent-length: 4\r\nx-a: 1\r\n\r\n"
    assert sent.packets == [head + b"body"]
    assert sent.is_complete
    assert sent.cycle.response_complete
    assert not sent.is_closed


def test_headers_of_a_stream_leave_at_once() -> None:
    sent = Sent()
    sent.send(start((b"content-type", b"text/event-stream")))
    assert len(sent.packets) == 1
    sent.send(body(b"event", more=True), body(b""))
    assert b"".join(sent.packets).endswith(b"\r\n\r\n5\r\nevent\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("headers", "content", "error"),
    [
        ((LENGTH, (b"x-a", b"1\r\nx-b: 2")), b"body", "header value"),
        ((LENGTH, (b"x a", b"1")), b"body", "header name"),
        ((LENGTH,), b"bodies", "longer"),
        ((LENGTH,), b"b", "shorter"),
    ],
)
def test_a_wrong_response_is_refused_as_uvicorn_refuses_it(
    headers: tuple[tuple[bytes, bytes], ...], content: bytes, error: str
) -> None:
    sent = Sent()
    with pytest.raises(RuntimeError, match=error):
        sent.send(start(*headers), body(content))
    assert b"x-b" not in b"".join(sent.packets)


def test_a_second_response_is_refused() -> None:
    sent = Sent()
    sent.send(start(LENGTH), body(b"body"))
    with pytest.raises(RuntimeError, match="already completed"):
        sent.send(start(LENGTH))


def test_headers_are_sent_once() -> None:
    sent = Sent()
    with pytest.raises(RuntimeError, match=r"Expected ASGI message 'http\.response\.body'"):
        sent.send(start(LENGTH), start(LENGTH, status=500))
    assert b"".join(sent.packets).startswith(b"HTTP/1.1 200 OK")


def test_a_caller_who_does_not_stay_hears_so() -> None:
    sent = Sent(keep_alive=False)
    sent.send(start(LENGTH), body(b"body"))
    assert b"\r\nconnection: close\r\n" in sent.packets[0]
    assert sent.is_complete
    assert sent.is_closed


def test_an_application_can_close_the_connection() -> None:
    sent = Sent()
    sent.send(start(LENGTH, (b"connection", b"close")), body(b"body"))
    assert sent.is_complete
    assert sent.is_closed


def test_head_has_no_body() -> None:
    sent = Sent(method="HEAD")
    sent.send(start(LENGTH), body(b"body"))
    assert b"".join(sent.packets).endswith(b"\r\n\r\n")
    assert sent.is_complete


@pytest.mark.parametrize("size", [0, 1, SLICE_BYTES, SLICE_BYTES + 1, 3 * SLICE_BYTES, 1_000_000])
@pytest.mark.parametrize("more", [False, True])
def test_the_slices_of_a_body_are_the_body(size: int, more: bool) -> None:
    content = bytes(number % 251 for number in range(size))
    sent = Sent()
    sent.send(start((b"content-length", b"%d" % (size + more))), body(content, more=more))
    if more:
        sent.send(body(b"!"))
    whole = b"".join(sent.packets)
    assert whole[whole.index(b"\r\n\r\n") + 4 :] == content + b"!" * more
    assert max(map(len, sent.packets)) <= SLICE_BYTES + 200
    assert sent.is_complete


async def test_pipelined_responses_of_a_real_server_come_in_order() -> None:
    async with site() as running:
        reader, _writer = connection = await running.connect(GET * 3)
        for _ in range(3):
            assert await answered(connection) == b"HTTP/1.1 200 OK\r\n"
            rest = await reader.readuntil(b"\r\n\r\nok")
            assert rest.count(b"HTTP/1.1") == 0


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


async def test_requests_of_a_connection_leave_nothing_for_the_garbage_collector() -> None:
    async with site() as running:
        reader, writer = await running.connect(GET)
        await reader.readuntil(b"\r\n\r\nok")
        found = []
        for _ in range(3):  # what other tests left behind may be found in one of them
            gc.collect()
            for _ in range(50):
                writer.write(GET)
                await reader.readuntil(b"\r\n\r\nok")
            found.append(gc.collect())
        assert min(found) < 50


async def test_a_large_response_arrives_whole() -> None:
    async with site() as running:
        reader, _ = await running.connect(GET.replace(b"/ ", b"/large "))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(LARGE)) == LARGE

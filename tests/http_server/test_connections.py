"""Connections have bounds."""

import asyncio
import fcntl
import gc
import struct
import termios
import weakref
from pathlib import Path
from typing import Any

import pytest

from safelight.http_server.connection import Connection
from safelight.http_server.connections import Held
from tests.certificates import pair
from tests.http_server.site import GET, Site, answered, eventually, problem, rest, site

pytestmark = pytest.mark.anyio
LARGE_GET = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_the_connection_that_was_silent_for_longest_makes_room_for_a_new_one() -> None:
    async with site(connection_limit=3) as running:
        silent = []
        for _ in range(3):
            silent.append(await running.connect())
            await eventually(lambda: len(running.server.places) == len(silent))
            running.clock.now += 0.2
        assert await answered(await running.connect(GET)) == b"HTTP/1.1 200 OK\r\n"
        assert problem(await rest(silent[0][0]))["status"] == 503
        assert running.closed("evicted") >= 1


@pytest.mark.parametrize("is_ready", [True, False], ids=["ready", "accepted just now"])
async def test_a_connection_that_makes_room_before_its_first_request_hears_why(
    *, is_ready: bool
) -> None:
    async with site(connection_limit=1) as running:
        reader, _ = await running.connect()
        await eventually(lambda: running.held() and running.held()[0].talk)
        if not is_ready:  # a busy event loop accepts many before it serves the first
            running.held()[0].talk = None
        running.clock.now += 1
        await running.connect(GET)
        assert (await rest(reader)).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")


async def test_connections_that_have_just_come_make_no_room() -> None:
    async with site(connection_limit=3) as running:
        young = [await running.connect() for _ in range(3)]
        await eventually(lambda: len(running.server.places) == 3)
        assert (await rest((await running.connect())[0])).startswith(b"HTTP/1.1 503 ")
        for reader, writer in young:
            writer.write(GET)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 OK")


async def test_a_connection_whose_request_runs_is_never_closed_for_another() -> None:
    async with site(connection_limit=2) as running:
        busy = [await running.connect(GET.replace(b"/ ", b"/wait ")) for _ in range(2)]
        await eventually(lambda: not any(h.talk is None or h.talk.waits for h in held(running)))
        refused = await rest((await running.connect())[0])
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert problem(refused)["reason"] == "overloaded"
        running.goes_on.set()
        assert [await answered(each) for each in busy] == [b"HTTP/1.1 200 OK\r\n"] * 2
        assert running.closed("total") == 1


def held(running: Site) -> list[Held]:
    return list(running.server.places._held.values())


async def test_one_address_has_no_more_than_its_share_of_the_connections() -> None:
    async with site(connections_per_address=2, forwarded_allow_ips="") as running:
        first = [await running.connect(GET) for _ in range(2)]
        assert [await answered(each) for each in first] == [b"HTTP/1.1 200 OK\r\n"] * 2
        assert (await rest((await running.connect())[0])).startswith(b"HTTP/1.1 503 ")
        assert running.closed("address") == 1
        first[0][1].close()
        await eventually(lambda: len(running.server.places) == 1)
        assert await answered(await running.connect(GET)) == b"HTTP/1.1 200 OK\r\n"


async def test_a_reverse_proxy_has_all_connections() -> None:
    async with site(connections_per_address=2, forwarded_allow_ips="127.0.0.0/8") as running:
        all_of_them = [await running.connect(GET) for _ in range(5)]
        assert [await answered(each) for each in all_of_them] == [b"HTTP/1.1 200 OK\r\n"] * 5


async def test_headers_that_do_not_arrive_in_time_are_refused() -> None:
    async with site(header_seconds=5) as running:
        reader, writer = await running.connect(GET[:-4])
        await eventually(lambda: held(running) and held(running)[0].talk)
        running.sweep(4)
        writer.write(b"\r\nx")  # a drip does not give more time
        await writer.drain()
        await eventually(lambda: held(running)[0].silent_since == running.clock.now)
        running.sweep(2)
        refused = await rest(reader)
        assert refused.startswith(b"HTTP/1.1 408 ")
        assert problem(refused)["reason"] == "bad_request"
        assert running.closed("slow") == 1


async def test_a_connection_that_sends_nothing_is_closed_without_a_word() -> None:
    async with site(header_seconds=5) as running:
        reader, _ = await running.connect()
        await eventually(lambda: held(running) and held(running)[0].talk)
        running.sweep(6)
        assert await rest(reader) == b""


async def test_a_slow_connection_does_not_hear_that_there_is_no_room() -> None:
    async with site() as running:
        reader, _ = await running.connect()
        await eventually(lambda: running.held() and running.held()[0].talk)
        running.held()[0].talk = None
        running.sweep(1000)
        assert (await rest(reader), running.closed("slow")) == (b"", 1)


async def test_a_handshake_of_tls_counts_and_has_the_time_of_headers(tmp_path: Path) -> None:
    made = pair(tmp_path)
    async with site(
        tls_certificate=made.certificate, tls_key=made.key, header_seconds=5
    ) as running:
        reader, _ = await running.connect()
        await eventually(lambda: len(running.server.places) == 1)
        running.sweep(6)
        assert await rest(reader) == b""
        await eventually(lambda: not len(running.server.places))
        assert running.closed("slow") == 1


@pytest.mark.parametrize(
    "headers",
    [b"".join(b"x-%d: y\r\n" % n for n in range(200)), b"x: " + b"y" * 70_000 + b"\r\n"],
    ids=["too many", "too large"],
)
async def test_headers_beyond_their_bounds_are_refused(headers: bytes) -> None:
    async with site(header_limit=100, header_limit_bytes=32_768) as running:
        reader, _ = await running.connect(GET[:-2] + headers + b"\r\n")
        assert (await rest(reader)).startswith(b"HTTP/1.1 431 ")
        assert running.closed("headers") == 1


async def test_headers_that_never_end_are_refused_before_they_end() -> None:
    async with site(header_limit_bytes=4096) as running:
        reader, writer = await running.connect(GET[:-2] + b"x: ")
        for _ in range(20):
            writer.write(b"y" * 1000)
        assert (await rest(reader)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("trailer", [b"x: y\r\n" * 200, b"x: " + b"y" * 100_000])
async def test_trailers_after_a_body_are_bounded_like_headers(trailer: bytes) -> None:
    async with site(header_limit_bytes=32_768) as running:
        head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        reader, writer = await running.connect(head + b"1\r\na\r\n0\r\n")
        await eventually(lambda: held(running) and held(running)[0].talk)
        writer.write(trailer[:10])
        await writer.drain()
        writer.write(trailer[10:])
        await rest(reader)
        assert running.closed("headers") == 1


CHUNKED = b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_body_in_very_many_pieces_of_a_few_bytes_is_refused() -> None:
    async with site() as running:
        reader, _ = await running.connect(CHUNKED + b"1\r\na\r\n" * 2000)
        assert (await rest(reader)).startswith(b"HTTP/1.1 400 ")
        assert running.closed("malformed") == 1


@pytest.mark.parametrize(("size", "number"), [(1, 900), (512, 4000), (65_536, 100)])
async def test_a_body_in_few_or_larger_pieces_is_read(size: int, number: int) -> None:
    async with site() as running:
        pieces = (b"%x\r\n" % size + b"a" * size + b"\r\n") * number
        reader, _ = await running.connect(CHUNKED + pieces + b"0\r\n\r\n")
        answer = await reader.readuntil(str(size * number).encode())
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_pipelined_requests_beyond_their_bound_close_the_connection() -> None:
    async with site(pipeline_limit=4) as running:
        reader, _ = await running.connect(GET.replace(b"/ ", b"/wait ") + GET * 10)
        assert await rest(reader) == b""
        assert running.closed("pipelined") == 1


async def test_a_few_pipelined_requests_are_answered_in_order() -> None:
    async with site(pipeline_limit=4) as running:
        reader, writer = await running.connect(GET * 3 + GET.replace(b"/ ", b"/missing "))
        text = b""
        while text.count(b"HTTP/1.1 ") < 4:
            text += await reader.read(1000)
        assert text.count(b"200 OK") == 3
        assert text.rindex(b"200 OK") < text.index(b"404 Not Found")
        writer.close()


async def test_a_response_that_nobody_reads_closes_its_connection() -> None:
    async with site(client_idle_seconds=5) as running:
        _, writer = await running.connect(GET.replace(b"/ ", b"/large "))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        connections = running.server.server_state.connections
        await eventually(lambda: any(c.transport.get_write_buffer_size() for c in connections))
        running.sweep(0)
        running.sweep(6)
        await eventually(lambda: not len(running.server.places))
        assert running.closed("unread") == 1


class Stuck:
    """A transport whose last bytes nobody reads: closing it waits for them."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.abort = transport.abort

    def get_write_buffer_size(self) -> int:
        return 30_000

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Wait, as a transport does."""


async def test_the_end_of_a_response_that_nobody_reads_closes_its_connection_too() -> None:
    async with site(keep_alive_seconds=2, client_idle_seconds=5) as running:
        reader, _ = connection = await running.connect(GET)
        assert await answered(connection) == b"HTTP/1.1 200 OK\r\n"
        await reader.readuntil(b"\r\n\r\nok")
        talk = running.held()[0].talk
        assert isinstance(talk, Connection)
        talk.transport = Stuck(talk.transport)  # type: ignore[assignment]
        for seconds in (0, 3, 3):
            running.sweep(seconds)
        await eventually(lambda: not len(running.server.places))
        assert running.closed("unread") == 1


async def test_a_body_that_stops_is_refused_and_one_that_goes_on_is_not() -> None:
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n"
    async with site(client_idle_seconds=5) as running:
        stops, goes_on = await running.connect(head + b"a"), await running.connect(head + b"a")
        await eventually(lambda: len([h for h in held(running) if h.talk]) == 2)
        running.sweep(4)
        goes_on[1].write(b"bc")
        assert await answered(goes_on) == b"HTTP/1.1 200 OK\r\n"
        running.sweep(2)
        assert (await rest(stops[0])).startswith(b"HTTP/1.1 408 ")


async def test_what_is_not_http_is_refused_and_counted() -> None:
    async with site() as running:
        refused = await rest((await running.connect(b"\x16\x03\x01 hello\r\n\r\n"))[0])
        assert problem(refused)["status"] == 400
        assert running.closed("malformed") == 1


async def test_a_kept_connection_without_a_request_outlives_the_time_of_headers() -> None:
    async with site(header_seconds=5) as running:
        reader, writer = await running.connect(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        running.sweep(60)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")


async def test_a_kept_connection_is_closed_after_its_time() -> None:
    async with site() as running:
        reader, _ = connection = await running.connect(GET)
        assert await answered(connection) == b"HTTP/1.1 200 OK\r\n"
        await reader.readuntil(b"\r\n\r\nok")
        running.sweep(running.settings.keep_alive_seconds - 1)
        assert len(running.held()) == 1
        running.sweep(2)
        assert await rest(reader) == b""


async def test_a_closed_connection_is_freed_without_a_garbage_collection() -> None:
    async with site() as running:
        gc.disable()
        try:
            for sent in (GET, b"GET / HTTP/1.1", b""):
                connection = await running.connect(sent)
                await eventually(lambda: any(held.talk for held in running.held()))
                talk = weakref.ref(running.held()[0].talk)
                if sent == GET:
                    await answered(connection)
                connection[1].close()
                await eventually(lambda: talk() is None)  # noqa: B023 - awaited at once
        finally:
            gc.enable()


async def test_full_places_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async with site(connection_limit=1) as running:
        for _ in range(5):
            assert await answered(await running.connect(GET)) == b"HTTP/1.1 200 OK\r\n"
            running.clock.now += 2
        warned = [line for line in caplog.messages if "connections are at a limit" in line]
        assert len(warned) <= 1
        assert running.closed("evicted") == 4


async def test_the_kernel_keeps_little_for_a_caller_who_reads_nothing() -> None:
    async with site() as running:
        reader, writer = await running.connect(LARGE_GET * 16)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: any(map(is_paused, running.server.server_state.connections)))
        [protocol] = running.server.server_state.connections
        own = protocol.transport.get_extra_info("socket")
        size = fcntl.ioctl(own.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        assert struct.unpack("i", size)[0] < 256 * 1024  # it was two megabytes
        assert not reader.at_eof()


def is_paused(protocol: Any) -> bool:
    return bool(protocol.flow.write_paused)

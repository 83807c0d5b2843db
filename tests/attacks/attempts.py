"""What one caller can do to a service, as programs: `python -m tests.attacks.attempts NAME URL`.

Each runs until it is ended, in a process of its own: a caller's work must not slow down the clock
that measures the service.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import httpx

from safelight.stack.tools.samples import photo
from tests.attacks import uploads

Work = Callable[["Target"], Coroutine[object, object, None]]
JPEG, PNG, JSON = "image/jpeg", "image/png", "application/json"
MEGABYTE = 1_000_000
ADDRESS = "203.0.113.9"  # of the attacker, as a proxy reports it
MINE = str(UUID(int=0xA))
OTHERS = 0.9
READY = "ready"
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Target:
    """The service under attack."""

    url: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def head(self, path: str, length: int, kind: str = JPEG) -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"X-Forwarded-For: {ADDRESS}\r\n"
            f"Content-Length: {length}\r\n\r\n"
        ).encode()


@dataclass(frozen=True)
class Attempt:
    """An attempt and the bound that it meets.

    `others` is the share of their normal goodput that the others keep at least. It is lower where
    the service rightly works for the attacker as for any caller.
    """

    name: str
    bound: str
    work: Work
    others: float = OTHERS


ATTEMPTS: list[Attempt] = []


def attempt(name: str, bound: str, *, others: float = OTHERS) -> Callable[[Work], Work]:
    """Add an attempt to the list."""

    def add(work: Work) -> Work:
        ATTEMPTS.append(Attempt(name, bound, work, others))
        return work

    return add


# ── Connections ──────────────────────────────────────────────────────────────────────────────────


@attempt("1 100 silent connections", "connection_limit, header_seconds")
async def silent(target: Target) -> None:
    await crowd(target, 1100, lambda _writer: asyncio.sleep(3600), pause_seconds=1)


@attempt("300 connections that drip their headers", "header_seconds")
async def dripping(target: Target) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        await send(writer, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        while True:
            await send(writer, b"a")
            await asyncio.sleep(0.5)

    await crowd(target, 300, drip)


@attempt("headers of 60 MB", "header_limit_bytes")
async def large_headers(target: Target) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        await send(writer, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: ")
        for _ in range(60):
            await send(writer, b"a" * MEGABYTE)

    await crowd(target, 4, flood)


@attempt("100 000 headers in one request", "header_limit")
async def many_headers(target: Target) -> None:
    lines = b"".join(b"x-%d: y\r\n" % number for number in range(1000))

    async def flood(writer: asyncio.StreamWriter) -> None:
        await send(writer, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(100):
            await send(writer, lines)

    await crowd(target, 4, flood)


@attempt("60 MB of trailers after a body", "header_limit_bytes")
async def trailers(target: Target) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        head = target.head("/api/edit", 0)
        head = head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        await send(writer, head + b"1\r\na\r\n0\r\n")
        for _ in range(60):
            await send(writer, b"x: " + b"a" * MEGABYTE + b"\r\n")

    await crowd(target, 4, flood)


@attempt("pipelined requests whose responses nobody reads", "pipeline_limit")
async def pipelined(target: Target) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        while True:
            await send(writer, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)

    await crowd(target, 8, flood, reads=False)


@attempt(
    "200 connections that read none of their large responses",
    "write_buffer_bytes, client_idle_seconds",
)
async def unread(target: Target) -> None:
    async def ask(writer: asyncio.StreamWriter) -> None:
        await send(writer, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 16)
        await asyncio.sleep(3600)

    await crowd(target, 200, ask, reads=False)


@attempt("malformed requests, 200 a second", "one response each; no log line")
async def malformed(target: Target) -> None:
    async def garbage(writer: asyncio.StreamWriter) -> None:
        await send(writer, b"\x16\x03\x01 nonsense\r\n\r\n")
        await asyncio.sleep(0.2)

    await crowd(target, 40, garbage)


# ── Uploads ──────────────────────────────────────────────────────────────────────────────────────


@attempt("80 unfinished uploads of 19 MB", "uploads_limit_bytes")
async def unfinished(target: Target) -> None:
    async def upload(writer: asyncio.StreamWriter) -> None:
        await send(writer, target.head("/api/edit?instruction=x", 19 * MEGABYTE))
        for _ in range(18):
            await send(writer, b"a" * MEGABYTE)
        await asyncio.sleep(3600)

    await crowd(target, 80, upload)


@attempt("80 unfinished uploads without a length", "uploads_limit_bytes")
async def chunked(target: Target) -> None:
    async def upload(writer: asyncio.StreamWriter) -> None:
        head = target.head("/api/edit?instruction=x", 0)
        await send(writer, head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        for _ in range(18):
            await send(writer, b"f4240\r\n" + b"a" * MEGABYTE + b"\r\n")
        await asyncio.sleep(3600)

    await crowd(target, 80, upload)


@attempt("200 uploads that drip", "client_idle_seconds, request_timeout_seconds")
async def dripping_uploads(target: Target) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        await send(writer, target.head("/api/edit?instruction=x", 60_000))
        while True:
            await send(writer, b"a")
            await asyncio.sleep(0.5)

    await crowd(target, 200, drip)


@attempt("bodies in chunks of one byte", "256 bytes in a chunk, after the first 1 000")
async def pieces(target: Target) -> None:
    async def upload(writer: asyncio.StreamWriter) -> None:
        head = target.head("/api/edit?instruction=x", 0)
        await send(writer, head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        while True:
            await send(writer, b"1\r\na\r\n" * 20_000)

    await crowd(target, 12, upload)


@attempt("large bodies of ratings", "4 096 bytes")
async def large_ratings(target: Target) -> None:
    await repeat(target, "/v1/requests/none/rating", JSON, lambda: b"1" * (20 * MEGABYTE))


def _costly(name: str, kind: str, make: Callable[[], bytes], **more: float) -> None:
    made = cache(make)

    @attempt(name, "image_too_costly" if kind != JSON else "20 000 values", **more)
    async def upload(target: Target) -> None:
        await repeat(target, "/api/edit?instruction=make%20him%20old&steps=2", kind, made)


@attempt("forms with a text of 20 MB that is no UTF-8", "64 KiB for a text of a form")
async def undecodable(target: Target) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="instruction"\r\n\r\n'
    body = head + b"\xff" * (19 * MEGABYTE) + b"\r\n--x--\r\n"
    await repeat(target, "/api/edit", "multipart/form-data; boundary=x", lambda: body)


@attempt("forms of 250 000 empty fields", "32 fields")
async def empty_fields(target: Target) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    body = part * (19 * MEGABYTE // len(part)) + b"--x--\r\n"
    await repeat(target, "/api/edit", "multipart/form-data; boundary=x", lambda: body)


_costly("a JPEG of 20 MB of fill bytes", JPEG, uploads.jpeg_of_fill_bytes)
_costly("a JPEG of five million empty segments", JPEG, uploads.jpeg_of_empty_segments)
_costly("a JPEG of ten million markers without a segment", JPEG, uploads.jpeg_of_loose_bytes)
_costly("a JPEG of 60 000 scans", JPEG, lambda: uploads.jpeg_of_many_scans(60_000))
_costly("a PNG of 1.6 million chunks", PNG, uploads.png_of_private_chunks)
_costly("a PNG of 10 000 profiles of a megabyte", PNG, uploads.png_of_profiles)
_costly("a PNG of 1 x 40 000 000 pixels", PNG, lambda: uploads.png_that_declares(1, 40_000_000))
_costly("JSON of ten million values", JSON, uploads.json_of_many_values)
_costly("JSON of two million names", JSON, uploads.json_of_many_names)
_costly("JSON of 1 000 levels", JSON, lambda: b'{"steps":' * 1000 + b"1" + b"}" * 1000)
_costly(
    "JPEGs of 40 megapixels within every bound",
    JPEG,
    lambda: uploads.jpeg_of_many_scans(4, (8000, 5000)),
    others=0.8,
)


# ── Requests ─────────────────────────────────────────────────────────────────────────────────────


@attempt(
    "jobs that fail, 20 a second",
    "the circuit breaker counts callers and kinds of jobs",
    others=0.7,  # they run, each in a batch of its own
)
async def failing(target: Target) -> None:
    await ask(target, lambda _number: {"instruction": "raise"}, per_second=20)


@attempt("sizes that the model cannot make, 20 a second", "invalid_parameter")
async def sizes(target: Target) -> None:
    picture = photo(64, 64)
    async with client(target) as http:
        while True:
            for size in ("1x1", "3x3", "7x9", "1x1024", "99999x1"):
                files = {"image": ("a.jpg", picture, JPEG)}
                await http.post("/v1/images/edits", data={"prompt": "x", "size": size}, files=files)
                await asyncio.sleep(0.05)


@attempt("another caller's request ids", "ids belong to their callers")
async def stolen_ids(target: Target) -> None:
    async with client(target) as http:
        for number in count():
            name = neighbours_id(number % 4, number // 4)
            await http.delete(f"/v1/requests/{name}/record")
            await http.delete(f"/v1/requests/{name}")
            await asyncio.sleep(0.02)


@attempt("callers who leave at once, 50 a second", "withdrawn jobs free their places", others=0.5)
async def leaving(target: Target) -> None:
    picture = photo(64, 64)

    async def leave(writer: asyncio.StreamWriter) -> None:
        head = target.head("/api/edit?instruction=slowly&steps=100", len(picture))
        await send(writer, head + picture)
        await asyncio.sleep(0.02)
        writer.transport.abort()

    await crowd(target, 4, leave)


@attempt("40 edits of high priority at once, again and again", "callers take turns", others=0.3)
async def greedy(target: Target) -> None:
    picture, headers = photo(64, 64), {"content-type": JPEG, "x-priority": "high"}

    async def edit(http: httpx.AsyncClient, number: int) -> None:
        params = {"instruction": "slowly", "steps": "5", "guidance_scale": f"{1 + number / 10}"}
        while True:
            with suppress(httpx.TransportError):
                await http.post("/api/edit", content=picture, params=params, headers=headers)
            await asyncio.sleep(_PAUSE_SECONDS)  # a refusal comes at once

    async with client(target) as http:
        await asyncio.gather(*(edit(http, number) for number in range(40)))


@attempt("12 tiny jobs at once, each of another kind", "turns are device time", others=0.3)
async def tiny(target: Target) -> None:
    picture, headers = photo(32, 32), {"content-type": JPEG}

    async def edit(http: httpx.AsyncClient, number: int) -> None:
        for turn in count():
            scale = f"{1 + (number * 1000 + turn) % 20_000 / 1000}"
            params = {"instruction": "slowly", "steps": "1", "guidance_scale": scale}
            with suppress(httpx.TransportError):
                await http.post("/api/edit", content=picture, params=params, headers=headers)

    async with client(target) as http:
        await asyncio.gather(*(edit(http, number) for number in range(12)))


@attempt("jobs that are withdrawn while 30 wait", "who did not run moves no turn", others=0.3)
async def withdrawn(target: Target) -> None:
    picture, headers = photo(64, 64), {"content-type": JPEG}
    params = {"instruction": "slowly", "steps": "10"}

    async def edit(http: httpx.AsyncClient) -> None:
        while True:
            with suppress(httpx.TransportError):
                await http.post("/api/edit", content=picture, params=params, headers=headers)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def withdraw(http: httpx.AsyncClient) -> None:
        while True:
            name = str(uuid4())
            named = {**headers, "x-request-id": name}
            edit = http.post("/api/edit", content=picture, params=params, headers=named)
            running = asyncio.ensure_future(edit)
            await asyncio.sleep(2 * _PAUSE_SECONDS)
            with suppress(httpx.TransportError):
                await http.delete(f"/v1/requests/{name}")
            await asyncio.gather(running, return_exceptions=True)

    async with client(target) as http:
        await asyncio.gather(*(edit(http) for _ in range(30)), withdraw(http), withdraw(http))


@attempt("1 050 streams of the events of a request", "16 streams for a caller", others=0.3)
async def streams(target: Target) -> None:
    picture = photo(64, 64)
    head = f"Host: localhost\r\nX-Forwarded-For: {ADDRESS}\r\n\r\n"

    async def follow(writer: asyncio.StreamWriter) -> None:
        await send(writer, f"GET /v1/requests/{MINE}/events HTTP/1.1\r\n{head}".encode())
        await asyncio.sleep(3600)

    async def run() -> None:
        headers = {"content-type": JPEG, "x-request-id": MINE}
        params = {"instruction": "slowly", "steps": "20"}
        async with client(target) as http:
            while True:
                with suppress(httpx.TransportError):
                    await http.post("/api/edit", content=picture, params=params, headers=headers)
                await asyncio.sleep(_PAUSE_SECONDS)

    await asyncio.gather(run(), crowd(target, 1050, follow, pause_seconds=1))


@attempt("bad requests, 300 a second", "20 log lines a second for each reason")
async def bad_requests(target: Target) -> None:
    await ask(target, lambda _number: {"instruction": "x", "steps": "many"}, per_second=300)


@attempt("50 readers of /metrics, ten times a second each", "8 readers, a tenth of the time")
async def readers(target: Target) -> None:
    async def read(http: httpx.AsyncClient) -> None:
        while True:
            with suppress(httpx.TransportError):
                await http.get("/metrics")
            await asyncio.sleep(0.1)

    async with client(target) as http:
        await asyncio.gather(*(read(http) for _ in range(50)))


@attempt("8 readers of /metrics, each time with another Accept header", "few formats")
async def formats(target: Target) -> None:
    numbers = count()

    async def read(http: httpx.AsyncClient) -> None:
        while True:
            with suppress(httpx.TransportError):
                await http.get("/metrics", headers={"accept": f"text/html;q=0.{next(numbers)}"})

    async with client(target) as http:
        await asyncio.gather(*(read(http) for _ in range(8)))


@attempt("texts that become labels, 100 a second", "closed sets of labels")
async def labels(target: Target) -> None:
    async with client(target) as http:
        for number in count():
            await http.get(f"/{quote(os.urandom(6).hex())}/{number}")
            await asyncio.sleep(0.01)


# ── Tools ────────────────────────────────────────────────────────────────────────────────────────


def neighbours_id(number: int, turn: int) -> str:
    """Return the id of a neighbour's request, which the attacker has guessed."""
    return str(UUID(int=(number + 1) * 10**9 + turn))


async def crowd(
    target: Target,
    number: int,
    talk: Callable[[asyncio.StreamWriter], Awaitable[Any]],
    *,
    reads: bool = True,
    pause_seconds: float = _PAUSE_SECONDS,
) -> None:
    """Keep `number` connections busy; open a closed one again after a pause."""
    print(READY, flush=True)

    async def one(place: int) -> None:
        await asyncio.sleep(place / number)
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(*target.address, limit=1)
                talking = asyncio.ensure_future(talk(writer))
                reading = asyncio.create_task(_read_all(reader) if reads else asyncio.sleep(3600))
                await asyncio.wait((reading, talking), return_when=asyncio.FIRST_COMPLETED)
                for task in (reading, talking):
                    task.cancel()
                await asyncio.gather(reading, talking, return_exceptions=True)
                writer.transport.abort()
            await asyncio.sleep(pause_seconds)

    await asyncio.gather(*(one(place) for place in range(number)))


async def _read_all(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send bytes, as fast as they are read."""
    writer.write(data)
    await writer.drain()


@asynccontextmanager
async def client(target: Target) -> AsyncIterator[httpx.AsyncClient]:
    print(READY, flush=True)
    headers = {"x-forwarded-for": ADDRESS}
    async with httpx.AsyncClient(base_url=target.url, timeout=60, headers=headers) as http:
        yield http


async def repeat(target: Target, path: str, kind: str, make: Callable[[], bytes]) -> None:
    """Send one body again and again, each after the response to the last."""
    body = make()
    async with client(target) as http:
        while True:
            with suppress(httpx.TransportError):
                await http.post(path, content=body, headers={"content-type": kind})
            await asyncio.sleep(_PAUSE_SECONDS)


async def ask(
    target: Target, params: Callable[[int], dict[str, str]], *, per_second: float
) -> None:
    """Send small edits at a rate, whether or not earlier ones have ended; at most 100 at once."""
    picture, places = photo(64, 64), asyncio.Semaphore(100)
    async with client(target) as http, asyncio.TaskGroup() as group:

        async def one(number: int) -> None:
            async with places:
                with suppress(httpx.TransportError):
                    headers = {"content-type": JPEG}
                    await http.post(
                        "/api/edit", content=picture, params=params(number), headers=headers
                    )

        for number in count():
            group.create_task(one(number))
            await asyncio.sleep(1 / per_second)


def main(name: str, url: str) -> None:
    """Run an attempt until this process is ended."""
    os.nice(10)  # an attacker has a machine of its own
    work = next(each.work for each in ATTEMPTS if each.name == name)
    asyncio.run(work(Target(url)))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Hold back a 404, replay a body, and pass on an answer: how `peers` handles the messages."""

import asyncio
from collections.abc import Coroutine, Sequence

import httpx
import structlog
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send

_KEPT = (b"cache-control", b"content-length", b"content-type", b"retry-after", b"x-accel-buffering")
_NOT_FOUND = 404
log = structlog.get_logger("safelight")


class Replay:
    """Receives messages that were read before, and then those that follow."""

    def __init__(self, first: Sequence[Message], receive: Receive) -> None:
        self._first = list(first)
        self._receive = receive

    async def __call__(self) -> Message:
        """Return the next message."""
        return self._first.pop(0) if self._first else await self._receive()


class Held:
    """Sends a response, unless it is a 404: that one waits."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_taken = False
        self.held: list[Message] = []
        self.is_sent = False
        self.decided = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Send or keep one message."""
        starts = message["type"] == "http.response.start"
        if self.held or (starts and message["status"] == _NOT_FOUND):
            self.held.append(message)
            self.decided.set()
            return
        self.is_sent = True
        self.decided.set()
        if not self._is_taken:
            await self._send(message)

    def take(self) -> Send:
        """Return the function that sends another response instead."""
        self._is_taken = True
        return self._send

    async def decision(self) -> httpx.Response | None:
        """Wait until the response begins; return its status as an answer among others."""
        await self.decided.wait()
        return httpx.Response(httpx.codes.OK if self.is_sent else _NOT_FOUND)

    async def release(self) -> None:
        """Send the response that waits."""
        for message in self.held:
            await self._send(message)


async def start_of_body(
    headers: Headers, receive: Receive, limit_bytes: int
) -> tuple[list[Message], bytes]:
    """Return the messages of a short body, and the body; of a long one only the start."""
    messages: list[Message] = []
    body = b""
    if int(headers.get("content-length") or 0) > limit_bytes:
        return messages, body
    while len(body) <= limit_bytes:
        messages.append(await receive())
        body += messages[-1].get("body", b"")
        if not messages[-1].get("more_body"):
            break
    return messages, body


async def until_disconnect(work: Coroutine[object, object, None], receive: Receive) -> None:
    """Do some work; stop it if the caller disconnects."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def first(
    tasks: Sequence["asyncio.Task[httpx.Response | None]"],
) -> tuple[httpx.Response | None, int]:
    """Return the first successful answer, else another that is not 404; count the failed."""
    failed, other = 0, None
    for coming in asyncio.as_completed(tasks):
        answer = await coming
        if answer is None:
            failed += 1
        elif answer.is_success:
            return answer, 0
        elif answer.status_code != _NOT_FOUND:
            other = answer
    return other, failed


async def pass_on(answer: httpx.Response, send: Send) -> None:
    """Send an instance's answer piece by piece."""
    kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() in _KEPT]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
    try:
        async for piece in answer.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except httpx.HTTPError as error:  # without its end, the caller sees that it is not complete
        log.warning("an instance's answer ended early", **{"error.message": str(error)})
        return
    await send({"type": "http.response.body", "body": b""})

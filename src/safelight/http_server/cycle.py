"""One request and its response, in pieces that suit the operating system.

A short response leaves with its headers in one system call. A long one leaves in slices, each when
the caller has read most of those before it: a server copies what a caller does not read, so slices
bound the memory of a connection.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import cast

from starlette.types import Message
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

SLICE_BYTES = 64 * 1024
_LENGTH = b"content-length"
# The bytes that uvicorn's expression accepts; to search with it takes twice as long.
_VALUE_BYTES = HEADER_VALUE_RE.sub(b"", bytes(range(256)))
_LINE = b"%b: %b\r\n".__mod__
_OTHERS = frozenset((b"connection", b"transfer-encoding"))  # uvicorn knows what they change


class Cycle(RequestResponseCycle):
    """uvicorn's, but the headers of a response of known length wait for the body."""

    _start: Message | None = None

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message of the application."""
        event = cast("Message", message)
        start, self._start = self._start, None
        if event["type"] == "http.response.start":
            if start is None and not self.response_started and _has_length(event):
                self._start = event
                return
            if start is not None:  # uvicorn refuses the second one
                await super().send(cast("ASGISendEvent", start))
            await super().send(message)
            return
        body = event.get("body", b"")
        if start is not None:
            if self._can_join(event, body) and (head := _head(start, self.default_headers, body)):
                self._send_whole(head, body)
                return
            await super().send(cast("ASGISendEvent", start))
        await self._send_slices(event, body)

    def _can_join(self, event: Message, body: bytes) -> bool:
        """Return whether this is a whole response to a caller who reads and stays."""
        return (
            len(body) <= SLICE_BYTES
            and not event.get("more_body")
            and self.keep_alive
            and self.scope["method"] != "HEAD"
            and not self.disconnected
            and not self.flow.write_paused
        )

    def _send_whole(self, head: bytes, body: bytes) -> None:
        self.transport.write(head + body)
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        self.on_response()

    async def _send_slices(self, event: Message, body: bytes) -> None:
        last = (len(body) - 1) // SLICE_BYTES * SLICE_BYTES
        for start in range(0, last, SLICE_BYTES):
            piece = {**event, "body": body[start : start + SLICE_BYTES], "more_body": True}
            await super().send(cast("ASGISendEvent", piece))
        await super().send(cast("ASGISendEvent", {**event, "body": body[max(last, 0) :]}))


def _has_length(start: Message) -> bool:
    return any(name == _LENGTH for name, _ in start.get("headers", ()))


def _head(start: Message, defaults: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes | None:
    """Return the headers of a response with this body; None if uvicorn must look at them.

    Every response pays for it, so the loops are in C.
    """
    headers = [*defaults, *map(tuple, start["headers"])]
    names, values = zip(*headers, strict=True)
    has_length = names.count(_LENGTH) == 1 and (_LENGTH, b"%d" % len(body)) in headers
    if not has_length or not all(map(_is_plain, names)):
        return None
    if b"".join(values).translate(None, _VALUE_BYTES):
        return None
    return b"%b%b\r\n" % (STATUS_LINE[start["status"]], b"".join(map(_LINE, headers)))


@lru_cache(256)
def _is_plain(name: bytes) -> bool:
    """Return whether a header is written as it is."""
    return name == name.lower() and name not in _OTHERS and not HEADER_RE.search(name)

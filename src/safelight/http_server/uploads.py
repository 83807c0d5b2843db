"""Read request bodies, and bound the bytes of those that a server holds from all callers together.

A body counts as it arrives, so an unsent one takes no place, until its response is ready. Small
bodies are free: connections and the queue bound their number. While others call, the large bodies
of one caller also have a pace: the processor time of reading them grows with their bytes.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from math import inf
from time import monotonic
from typing import Self

from starlette.requests import ClientDisconnect, Request

from safelight.errors import BodyTooLarge, Cancelled, Overloaded
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter

ARRIVED = "safelight.arrived"  # an ASGI extension: the `bytes` of a body that is here
FREE_BYTES = 64 * 1024
# One caller holds at most half of the limit. A quarter is for callers who hold only a hundredth.
_SHARE, _KEPT, _LITTLE = 0.5, 0.25, 0.01
_RETRY_SECONDS = 1.0
_BURST_SECONDS = 0.5  # of the pace, before a body waits
_ALONE_SECONDS = 1.0  # after this time without another caller, there is no pace
_LEAST_WAIT_SECONDS = 0.01
_OWNER_LIMIT = 1000


class Upload:
    """The bytes of one body that count."""

    def __init__(self, uploads: "Uploads", owner: str) -> None:
        self._uploads = uploads
        self._owner = owner
        self._bytes = 0
        self._arrived = 0  # since the last wait

    def grow(self, size: int) -> None:
        """Count a body of at least `size` bytes. Raises Overloaded if it has no place."""
        if size > max(FREE_BYTES, self._bytes):
            self._uploads.change(self._owner, self._bytes, size)
            self._arrived += size - self._bytes
            self._bytes = size

    async def wait(self) -> None:
        """Wait until the caller's pace allows more bytes; meanwhile the connection is not read."""
        seconds = self._uploads.pace.charge(self._owner, self._arrived)
        self._arrived = 0
        if seconds > _LEAST_WAIT_SECONDS:
            await asyncio.sleep(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Give the place of the body to others."""
        if self._bytes:
            self._uploads.change(self._owner, self._bytes, 0)


class Pace:
    """How fast the large bodies of one caller arrive while others call."""

    def __init__(self, bytes_per_second: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        # By caller: until when it owes for its bytes.
        self._owes_until: dict[str, float] = {}
        self._last_owner: str | None = None
        self._mixed_at: float = -inf

    def meet(self, owner: str) -> None:
        """Note that a caller calls."""
        if owner != self._last_owner:
            if self._last_owner is not None:
                self._mixed_at = self._clock()
            self._last_owner = owner

    def charge(self, owner: str, size: int) -> float:
        """Count bytes of a caller, and return the seconds until more may come."""
        now = self._clock()
        if not (size and self._rate) or now > self._mixed_at + _ALONE_SECONDS:
            return 0.0
        earliest = now - _BURST_SECONDS
        if len(self._owes_until) > _OWNER_LIMIT:
            self._owes_until = {one: at for one, at in self._owes_until.items() if at > earliest}
        until = max(earliest, self._owes_until.get(owner, earliest)) + size / self._rate
        self._owes_until[owner] = until
        return max(0.0, until - now)


class Uploads:
    """The bytes of all bodies, by caller. Whatever some send, others have room for small bodies.

    `bytes_per_second` is the pace of one caller while others call; 0 is none.
    """

    def __init__(self, limit_bytes: int, meter: Meter, bytes_per_second: float = 0) -> None:
        self._limit = limit_bytes
        self.pace = Pace(bytes_per_second)
        self._meter = meter
        self._bytes: Counter[str] = Counter()

    def of(self, owner: str) -> Upload:
        """Return the upload of a request, for a `with` block."""
        self.pace.meet(owner)
        return Upload(self, owner)

    def change(self, owner: str, before: int, after: int) -> None:
        """Count a body of a caller as larger or smaller than before. Raises Overloaded."""
        others = self._bytes.get(owner, 0) - before  # bytes of the caller's other bodies
        own, total = others + after, self._bytes.total() - before + after
        kept = _KEPT if total > own > self._limit * _LITTLE else 0.0
        # A single body that is larger than half has its turn too.
        is_large = others > 0 and own > self._limit * _SHARE
        if after > before and (total > self._limit * (1 - kept) or is_large):
            self._meter.add(REJECTED, "uploads")
            raise Overloaded(
                "The service holds as many bytes of uploads as it may. Retry in a second with "
                "fewer uploads at once.",
                _RETRY_SECONDS,
            )
        self._bytes[owner] = own
        if not own:
            del self._bytes[owner]


def has_arrived(request: Request) -> bool:
    """Return whether the server has the whole body already, and it is a free one."""
    arrived = request.scope.get("extensions", {}).get(ARRIVED)
    return arrived is not None and arrived["bytes"] <= FREE_BYTES


async def arrived_body(request: Request, limit_bytes: int) -> bytes:
    """Return a body that has arrived. Raises BodyTooLarge, Cancelled if the caller left."""
    message = await request.receive()
    body: bytes | None = message.get("body")
    if body is None:
        raise Cancelled
    if len(body) > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    return body


async def read_body(request: Request, limit_bytes: int, upload: Upload | None = None) -> bytes:
    """Return the body, counted by its `upload`.

    Raises BodyTooLarge or Overloaded as early as possible, Cancelled if the caller leaves.
    """
    if int(request.headers.get("content-length") or 0) > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    body = BytesIO()  # it gives its bytes away without a copy
    try:
        async for chunk in request.stream():
            body.write(chunk)
            if body.tell() > limit_bytes:
                raise BodyTooLarge(limit_bytes)
            if upload is not None:
                upload.grow(body.tell())
                await upload.wait()
    except ClientDisconnect:
        raise Cancelled from None
    return body.getvalue()

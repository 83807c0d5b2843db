"""Read request bodies, and bound the bytes of those that a server holds from all callers together.

A body counts as it arrives, so an unsent one takes no place, until its response is ready. Small
bodies are free: connections and the queue bound their number.
"""

from collections import Counter
from typing import Self

from starlette.requests import ClientDisconnect, Request

from safelight.errors import BodyTooLarge, Cancelled, Overloaded
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter

FREE_BYTES = 64 * 1024
# One caller holds at most half of the limit. A quarter is for callers who hold only a hundredth.
_SHARE, _KEPT, _LITTLE = 0.5, 0.25, 0.01
_RETRY_SECONDS = 1.0


class Upload:
    """The bytes of one body that count."""

    def __init__(self, uploads: "Uploads", owner: str) -> None:
        self._uploads = uploads
        self._owner = owner
        self._bytes = 0

    def grow(self, size: int) -> None:
        """Count a body of at least `size` bytes. Raises Overloaded if it has no place."""
        if size > max(FREE_BYTES, self._bytes):
            self._uploads.change(self._owner, self._bytes, size)
            self._bytes = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Give the place of the body to others."""
        if self._bytes:
            self._uploads.change(self._owner, self._bytes, 0)


class Uploads:
    """The bytes of all bodies, by caller. Whatever some send, others have room for small bodies."""

    def __init__(self, limit_bytes: int, meter: Meter) -> None:
        self._limit = limit_bytes
        self._meter = meter
        self._bytes: Counter[str] = Counter()

    def of(self, owner: str) -> Upload:
        """Return the upload of a request, for a `with` block."""
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


async def read_body(request: Request, limit_bytes: int, upload: Upload | None = None) -> bytes:
    """Return the body, counted by its `upload`.

    Raises BodyTooLarge or Overloaded as early as possible, Cancelled if the caller leaves.
    """
    if int(request.headers.get("content-length") or 0) > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit_bytes:
                raise BodyTooLarge(limit_bytes)
            if upload is not None:
                upload.grow(len(body))
    except ClientDisconnect:
        raise Cancelled from None
    return bytes(body)

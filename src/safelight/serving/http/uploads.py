"""Bound the bytes of all request bodies that the service holds, from all callers together.

A body counts from its `Content-Length` on, before it is read, until its response is ready. Small
bodies are free: connections and the queue bound their number.
"""

from collections import Counter
from typing import Self

from safelight.errors import Overloaded
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter

FREE_BYTES = 64 * 1024
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
    """The bytes of all bodies, by caller. One caller may hold at most half of the limit."""

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
        total = self._bytes.total() - before + after
        # A single body that is larger than half has its turn too.
        is_large = others > 0 and others + after > self._limit / 2
        if after > before and (total > self._limit or is_large):
            self._meter.add(REJECTED, "uploads")
            raise Overloaded(
                "The service holds as many bytes of uploads as it may. Retry in a second with "
                "fewer uploads at once.",
                _RETRY_SECONDS,
            )
        self._bytes[owner] = others + after
        if not self._bytes[owner]:
            del self._bytes[owner]

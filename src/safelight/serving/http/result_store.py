"""Images for callers that want a URL: kept in memory for an hour, up to a size limit."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

_TTL_SECONDS = 3600.0
_LIMIT_BYTES = 64 * 1024 * 1024


class ResultStore:
    """Stores images under random names. The oldest are dropped when the store is full."""

    def __init__(
        self, *, limit_bytes: int = _LIMIT_BYTES, clock: Callable[[], float] = monotonic
    ) -> None:
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._images: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def put(self, image: bytes) -> str:
        """Store an image; return its name."""
        name = secrets.token_urlsafe(24)
        self._images[name] = (self._clock() + _TTL_SECONDS, image)
        self._bytes += len(image)
        while self._bytes > self._limit_bytes or self._oldest_has_expired():
            _, (_, dropped) = self._images.popitem(last=False)
            self._bytes -= len(dropped)
        return name

    def get(self, name: str) -> bytes | None:
        """Return an image; None if it is unknown or expired."""
        expires_at, image = self._images.get(name, (0.0, b""))
        return image if expires_at > self._clock() else None

    def _oldest_has_expired(self) -> bool:
        return bool(self._images) and next(iter(self._images.values()))[0] <= self._clock()

"""Images that callers wanted as an address: kept in memory for an hour, within a bound."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

_KEPT_SECONDS = 3600.0
_KEPT_BYTES = 64 * 1024 * 1024


class ResultStore:
    """Holds images under names that nobody can guess; the oldest make room."""

    def __init__(
        self, *, limit_bytes: int = _KEPT_BYTES, clock: Callable[[], float] = monotonic
    ) -> None:
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._images: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def put(self, image: bytes) -> str:
        """Keep an image; return its name."""
        name = secrets.token_urlsafe(24)
        self._images[name] = (self._clock() + _KEPT_SECONDS, image)
        self._bytes += len(image)
        while self._bytes > self._limit_bytes or self._oldest_is_over():
            _, (_, gone) = self._images.popitem(last=False)
            self._bytes -= len(gone)
        return name

    def get(self, name: str) -> bytes | None:
        """Return an image that is still kept."""
        until, image = self._images.get(name, (0.0, b""))
        return image if until > self._clock() else None

    def _oldest_is_over(self) -> bool:
        return bool(self._images) and next(iter(self._images.values()))[0] <= self._clock()

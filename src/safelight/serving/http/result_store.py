"""Images for callers that want a URL: kept in memory for an hour, up to a size limit."""

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from time import monotonic

_TTL_SECONDS = 3600.0
_LIMIT_BYTES = 64 * 1024 * 1024


class ResultStore:
    """Stores images under random names.

    When it is full, the oldest image of the caller with the most bytes is dropped.
    """

    def __init__(
        self, *, limit_bytes: int = _LIMIT_BYTES, clock: Callable[[], float] = monotonic
    ) -> None:
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._images: OrderedDict[str, tuple[float, bytes, str]] = OrderedDict()
        self._bytes: Counter[str] = Counter()

    def put(self, image: bytes, owner: str = "") -> str:
        """Store an image of a caller; return its name."""
        name = secrets.token_urlsafe(24)
        self._images[name] = (self._clock() + _TTL_SECONDS, image, owner)
        self._bytes[owner] += len(image)
        while self._images and self._oldest_has_expired():
            self._drop(next(iter(self._images)))
        while self._bytes.total() > self._limit_bytes:
            greediest = max(self._bytes, key=self._bytes.__getitem__)
            self._drop(next(n for n, (_, _, each) in self._images.items() if each == greediest))
        return name

    def get(self, name: str) -> bytes | None:
        """Return an image; None if it is unknown or expired."""
        expires_at, image, _ = self._images.get(name, (0.0, b"", ""))
        return image if expires_at > self._clock() else None

    def _drop(self, name: str) -> None:
        _, image, owner = self._images.pop(name)
        self._bytes[owner] -= len(image)
        if not self._bytes[owner]:
            del self._bytes[owner]

    def _oldest_has_expired(self) -> bool:
        return next(iter(self._images.values()))[0] <= self._clock()

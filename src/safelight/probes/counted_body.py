"""A WSGI request body that counts the bytes that the application reads."""

from collections.abc import Iterator, Sized
from typing import Any, Protocol

_READS = frozenset({"read", "read1", "readline", "readlines", "readinto", "readinto1"})


class Counts(Protocol):
    """The request of the body."""

    received_bytes: int


class CountedBody:
    """A request's body that counts the bytes that the application reads.

    It has exactly the methods of the body: some servers' bodies have no `readinto`.
    """

    def __init__(self, body: Any, request: Counts) -> None:
        self._body = body
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        return map(self._count, self._body)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._body, name)
        if name not in _READS:
            return member

        def read(*arguments: object, **options: object) -> object:
            return self._count(member(*arguments, **options))

        return read

    def _count(self, result: object) -> Any:
        match result:
            case int():  # readinto
                self._request.received_bytes += result
            case list():  # readlines
                self._request.received_bytes += sum(map(len, result))
            case Sized():  # bytes; None is a stream without data yet
                self._request.received_bytes += len(result)
        return result

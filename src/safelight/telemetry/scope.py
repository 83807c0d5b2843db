"""The request that a thread or task serves, in a context variable."""

from contextvars import ContextVar
from typing import Protocol

from safelight.telemetry.record import Exchange


class RequestScope(Protocol):
    """A request inside a web probe. Its Exchange is made late, since most requests need none.

    `owner` identifies the watch that counts the request. `outer` is the request that contains this
    one, if a watched application is mounted in another. `declared` is the reason that the
    application gave to `fail`.
    """

    outer: "RequestScope | None"
    declared: str | None

    @property
    def owner(self) -> object:
        """Return what identifies the request's watch."""

    @property
    def is_over(self) -> bool:
        """Return True if the caller has the whole response."""

    @property
    def exchange(self) -> Exchange:
        """Return the request's Exchange, whose timeline started when the request arrived."""


CURRENT_REQUEST: ContextVar[RequestScope | None] = ContextVar("safelight_request", default=None)


def enclosing_request() -> RequestScope | None:
    """Return the open request that a new request runs inside, if any.

    A server may start a request in the context of an earlier one (python/cpython#140947): that one
    is over, and a reference to it would keep alive all requests of the connection.
    """
    scope = CURRENT_REQUEST.get()
    while scope is not None and scope.is_over:
        scope = scope.outer
    return scope


def current_exchange() -> Exchange | None:
    """Return the Exchange of the request that this thread or task serves, if any."""
    request = CURRENT_REQUEST.get()
    return None if request is None else request.exchange

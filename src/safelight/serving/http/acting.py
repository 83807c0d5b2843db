"""Log what operators do: one line for each action, with the name of the API key."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
from fastapi import Request

from safelight.errors import SafelightError, Stopping
from safelight.serving.http.front import Front

log = structlog.get_logger("safelight")


def admit_operator(front: Front, request: Request) -> None:
    """Admit the caller of an action. Raises Unauthorized, Forbidden, Stopping."""
    front.owner(request)
    if front.requests.stopping:
        raise Stopping


def operator_of(request: Request) -> str:
    """Return the name of the admitted caller's key; empty if the service has no keys."""
    return str(getattr(request.state, "owner", ""))


@contextmanager
def acting(
    request: Request, action: str, facts: Mapping[str, object] | None = None
) -> Iterator[None]:
    """Log an action when the block ends: that it was done, or why it was refused or failed.

    The caller must have been admitted. `facts` are more fields of the line.
    """
    name = operator_of(request)
    said = {"safelight.action": action, **({"user.name": name} if name else {}), **(facts or {})}
    try:
        yield
    except SafelightError as error:
        log.warning("operator's action failed", **said, **{"error.type": error.reason})
        raise
    log.info("operator acted", **said)

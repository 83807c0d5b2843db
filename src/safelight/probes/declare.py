"""What an application declares about its requests: `fail`, `note`, and `watch(failed=…)`."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from safelight.metrics.metric import OTHER
from safelight.probes.guard import Guard
from safelight.reasons import ERROR_CLASSES, NO_ERROR, REASONS
from safelight.telemetry.scope import CURRENT_REQUEST, RequestScope

BODY_LIMIT_BYTES = 65_536
_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Response:
    """A response as its caller received it, for `watch(failed=…)`.

    `headers` have lower-case names. `body` is None if the response has more than 64 KiB.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def json(self) -> object:
        """Return the parsed body, or None if it is not JSON or was too long to keep."""
        try:
            return json.loads(self.body or b"")
        except ValueError:
            return None


Failed = Callable[[Response], bool | str | None]
"""Says whether a response is a failure: True, a reason, or False or None."""


def fail(reason: str = "model_error") -> None:
    """Declare that the current request failed, whatever status it is answered with.

    The request is counted with the reason's status (`model_error`: 500), not with its 200.

    Raises:
        ValueError: the reason is unknown, or no watched request is running.
    """
    checked_reason(reason)
    request = _current("fail")
    request.declared = reason
    request.exchange.is_model_request = True  # so that its reason is counted


def note(*, instruction_type: str) -> None:
    """Set the instruction type of the current request, such as `make_him_old`.

    Types are labels of metrics: a text that is not a short name of a-z, 0-9 and _ becomes `other`.

    Raises:
        ValueError: no watched request is running.
    """
    name = instruction_type if _TYPE_NAME.fullmatch(str(instruction_type)) else OTHER
    scope: RequestScope | None = _current("note")
    while scope is not None:
        scope.exchange.note(name)
        scope = scope.outer


def checked_reason(reason: str) -> str:
    """Return the reason. Raises ValueError if it is not in the closed set."""
    if str(reason) not in ERROR_CLASSES:
        raise ValueError(f"{str(reason)[:60]!r} is no reason; use one of {', '.join(REASONS)}")
    return reason


def judged(failed: Failed, response: Response, known: str = NO_ERROR) -> str | None:
    """Return the reason that the application's function gives, or None if it gives none.

    For True it is the reason `known` of the request's model call, else `internal_error`. Raises
    ValueError if it gives an unknown reason.
    """
    verdict = failed(response)
    if verdict is True:
        return "internal_error" if known == NO_ERROR else known
    return checked_reason(verdict) if verdict else None


def verdict(failed: Failed | None, response: Response, known: str, guard: Guard) -> str | None:
    """Return the reason of `judged`; None if there is no judge, or if it fails."""
    if failed is not None:
        with guard:
            return judged(failed, response, known)
    return None


def outcome(status: int, error: str | None, declared: str | None) -> tuple[int, str | None]:
    """Return the status and the reason to count: those that were declared, if any.

    A declared failure counts with its reason's status, unless the response already has an error
    status.
    """
    if declared is None or declared == NO_ERROR:
        return status, error
    return (ERROR_CLASSES[declared].status if status < 400 else status), declared


def _current(function: str) -> RequestScope:
    request = CURRENT_REQUEST.get()
    if request is None or request.is_over:
        raise ValueError(
            f"safelight.{function}() needs a running request of a watched application. "
            "In another thread, use safelight.handle()."
        )
    return request

"""Drain one instance: /readyz sends balancers elsewhere, and what still comes is answered."""

from collections.abc import Callable
from time import time

from fastapi import FastAPI, Request

from safelight.errors import Forbidden, NotReady, Stopping, Unauthorized
from safelight.serving.http.acting import acting, admit_operator, operator_of
from safelight.serving.http.front import Front
from safelight.serving.http.responses import errors_of

_PATH = "/v1/drain"
_ACCESS = (Unauthorized, Forbidden)
_DRAINED = (
    "An operator drains this instance: send new requests to another one. It still answers. "
    "POST /v1/drain/end ends it."
)


class Drain:
    """Whether an operator drains this instance. It ends with the process. `clock` is Unix time."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self.since: float | None = None
        self.by = ""

    def begin(self, by: str) -> None:
        """Drain. The first operator who asked stays the one who did it."""
        if self.since is None:
            self.since, self.by = self._clock(), by

    def end(self) -> None:
        """Be ready again."""
        self.since, self.by = None, ""

    def standing(self) -> dict[str, object]:
        """Return whether it drains, since when (Unix time), and by whose key."""
        return {"draining": self.since is not None, "since": self.since, "by": self.by}

    def admit(self) -> None:
        """Raise NotReady while it drains."""
        if self.since is not None:
            raise NotReady(_DRAINED)


def add_draining(api: FastAPI, front: Front, drain: Drain, model: Callable[[], str]) -> None:
    """Add the routes. `model` returns whether the model is awake, asleep or waking."""

    def state() -> dict[str, object]:
        return {**drain.standing(), "requests": len(front.requests), "model": model()}

    @api.get(
        _PATH,
        tags=["operation"],
        summary="Show whether this instance is drained, what still runs, and whether it sleeps.",
        responses=errors_of(*_ACCESS),
    )
    async def show(request: Request) -> dict[str, object]:
        front.owner(request)
        return state()

    @api.post(
        _PATH,
        tags=["operation"],
        summary="Answer 503 at /readyz, so that balancers send requests elsewhere.",
        responses=errors_of(*_ACCESS, Stopping),
    )
    async def begin(request: Request) -> dict[str, object]:
        admit_operator(front, request)
        with acting(request, "drain"):
            drain.begin(operator_of(request))
        return state()

    @api.post(
        f"{_PATH}/end",
        tags=["operation"],
        summary="Be ready for balancers again.",
        responses=errors_of(*_ACCESS, Stopping),
    )
    async def end(request: Request) -> dict[str, object]:
        admit_operator(front, request)
        with acting(request, "end drain"):
            drain.end()
        return state()

"""The canary's routes: see what it found, run it now, enrol the model that is loaded."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request

from safelight.errors import InvalidParameter, NotReady
from safelight.serving.canary.canary import Canary
from safelight.serving.http.acting import acting
from safelight.serving.http.responses import errors_of

PATH = "/v1/model/canary"
_TURN_SECONDS, _WAIT_SECONDS = 0.05, 60.0
_NO_BUDGET = "The canary has no budget. Set SAFELIGHT_CANARY_RATIO to more than 0 and start again."
_OFF = "The canary is off. Set SAFELIGHT_CANARY_SECONDS to more than 0 and start again."


def add_canary(
    api: FastAPI,
    canary: Canary,
    owner: Callable[[Request], str],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Add the routes. `owner` raises Unauthorized or Forbidden."""
    refusals = errors_of(InvalidParameter, NotReady)

    @api.get(PATH, tags=["operator"], summary="What the canary found.")
    async def report(request: Request) -> dict[str, object]:
        owner(request)
        return canary.report()

    @api.post(PATH, tags=["operator"], summary="Run the canary now.", responses=refusals)
    async def run(request: Request) -> dict[str, object]:
        return await _asked(request, enrolling=False)

    @api.post(
        f"{PATH}/enrol",
        tags=["operator"],
        summary="Make what the loaded model gives now the golden outputs.",
        responses=refusals,
    )
    async def enrol(request: Request) -> dict[str, object]:
        return await _asked(request, enrolling=True)

    async def _asked(request: Request, *, enrolling: bool) -> dict[str, object]:
        owner(request)
        with acting(request, "enrol" if enrolling else "run the canary"):
            return await _done(canary, sleep, enrolling=enrolling)


async def _done(
    canary: Canary, sleep: Callable[[float], Awaitable[None]], *, enrolling: bool
) -> dict[str, object]:
    """Ask for a run of every worker, wait for it, and return what was found."""
    if not canary.is_on:
        raise InvalidParameter(_OFF)
    if not canary.has_budget:
        raise InvalidParameter(_NO_BUDGET)
    if not any(check.worker.ready for check in canary.checks):
        raise NotReady("No worker is loaded, so nothing can be run. Wake the model first.")
    for check in canary.checks:
        check.want(enrolling=enrolling)
    for _ in range(round(_WAIT_SECONDS / _TURN_SECONDS)):
        if not any(check.is_asked and check.worker.ready for check in canary.checks):
            break
        await sleep(_TURN_SECONDS)
    return canary.report()

"""Routes for operators: let the model sleep, and wake it."""

from fastapi import FastAPI, Request

from safelight.errors import CannotSleep, Forbidden, NotReady, Stopping, Unauthorized
from safelight.serving.engine.sleeper import Sleeper
from safelight.serving.http.acting import acting, admit_operator
from safelight.serving.http.front import Front
from safelight.serving.http.responses import errors_of

_ACCESS = (Unauthorized, Forbidden, Stopping)


def add_sleeping(api: FastAPI, front: Front, sleeper: Sleeper) -> None:
    """Add the routes. They answer when it is done."""

    @api.post(
        "/v1/model/sleep",
        tags=["operation"],
        summary="Free the model's device until a request comes.",
        responses=errors_of(*_ACCESS, CannotSleep),
    )
    async def sleep(request: Request) -> dict[str, str]:
        admit_operator(front, request)
        with acting(request, "sleep"):
            await sleeper.sleep()
        return {"status": "asleep"}

    @api.post(
        "/v1/model/wake",
        tags=["operation"],
        summary="Load the model again.",
        responses=errors_of(*_ACCESS, NotReady),
    )
    async def wake(request: Request) -> dict[str, str]:
        admit_operator(front, request)
        with acting(request, "wake"):
            await sleeper.wake(front.settings.request_timeout_seconds)
        return {"status": "ready"}

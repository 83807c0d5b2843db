"""Routes for operators: the comparison with the second model, and its rollout."""

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safelight.errors import Forbidden, InvalidParameter, RolloutConflict, Unauthorized
from safelight.guard.rollout import Plan, Rollout
from safelight.http_server.uploads import read_body
from safelight.serving.engine.second_model import SecondModel
from safelight.serving.http.acting import acting
from safelight.serving.http.answers import json_response
from safelight.serving.http.front import Front
from safelight.serving.http.responses import errors_of

ACTIONS = ("start", "pause", "resume", "promote", "abort")
_LIMIT_BYTES = 4096
_LEAST = 100_000
_FAILURES = (Unauthorized, Forbidden, RolloutConflict)
_NONE = "This service has no second model. Start it with one: safelight serve A --shadow B."


class RolloutBody(BaseModel):
    """What a rollout begins with; other fields are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(max_length=1000, description="The second model of the service.")
    steps: tuple[int, ...] = Field(
        (5, 25, 50, 100), max_length=20, description="Shares of the callers, in percent, rising."
    )
    least: int = Field(
        50, ge=1, le=_LEAST, description="Requests of the second model that each step needs."
    )


def add_second_model(api: FastAPI, front: Front, second: SecondModel) -> None:
    """Add the routes; without a second model they say how to get one."""
    shape = {"application/json": {"schema": RolloutBody.model_json_schema()}}

    @api.get(
        "/v1/shadow",
        tags=["operate"],
        summary="Compare the second model with the served one.",
        responses=errors_of(*_FAILURES),
    )
    async def shadow(request: Request) -> Response:
        front.owner(request)
        return json_response(_of(second).shadow_state(), {})

    @api.get(
        "/v1/rollout",
        tags=["operate"],
        summary="Show the rollout of the second model, with every decision.",
        responses=errors_of(*_FAILURES),
    )
    async def rollout(request: Request) -> Response:
        front.owner(request)
        found = _of(second)
        return json_response(found.rollout_state(found.split.rollout), {})

    @api.post(
        "/v1/rollout/{action}",
        tags=["operate"],
        summary="Start, pause, resume, promote or abort the rollout of the second model.",
        openapi_extra={"requestBody": {"required": False, "content": shape}},
        responses=errors_of(*_FAILURES, InvalidParameter),
    )
    async def act(action: str, request: Request) -> Response:
        front.owner(request)
        if action not in ACTIONS:
            raise InvalidParameter(f"An action is one of {', '.join(ACTIONS)}.")
        found = _of(second)
        body = await read_body(request, _LIMIT_BYTES) if action == "start" else b""
        with acting(request, f"rollout {action}"):
            return json_response(found.rollout_state(_acted(found, action, body)), {})


def _of(second: SecondModel) -> SecondModel:
    if not second.slot.is_set:
        raise RolloutConflict(_NONE)
    return second


def _acted(second: SecondModel, action: str, body: bytes) -> Rollout:
    match action:
        case "start":
            return second.start_rollout(_plan(body))
        case "pause":
            return second.split.pause()
        case "resume":
            return second.split.resume()
        case "promote":
            return second.split.promote()
    return second.split.abort()


def _plan(body: bytes) -> Plan:
    try:
        asked = RolloutBody.model_validate(orjson.loads(body))
        return Plan(asked.model, asked.steps, asked.least)
    except (orjson.JSONDecodeError, ValidationError):
        raise InvalidParameter(
            'Send JSON such as {"model": "B", "steps": [5, 25, 50, 100], "least": 50}.'
        ) from None
    except ValueError as error:
        raise InvalidParameter(f"{error}.") from None

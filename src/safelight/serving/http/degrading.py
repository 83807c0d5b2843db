"""Routes for operators: see the degradation level, pin it, and let the service choose again."""

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safelight.errors import Forbidden, InvalidParameter, Stopping, Unauthorized
from safelight.http_server.uploads import read_body
from safelight.serving.http.acting import acting, admit_operator, operator_of
from safelight.serving.http.front import Front
from safelight.serving.http.responses import errors_of
from safelight.serving.policies.degradation import MEANINGS, Governor

_PATH = "/v1/degradation"
_LIMIT_BYTES = 1024
_ACCESS = (Unauthorized, Forbidden)


class LevelBody(BaseModel):
    """The level that an operator pins; other fields are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)

    level: int = Field(ge=0, description="0 is full quality; the highest is degradation_limit.")


def add_degradation(api: FastAPI, front: Front, governor: Governor) -> None:
    """Add the routes. A pinned level ends with the process."""
    shape = {"application/json": {"schema": LevelBody.model_json_schema()}}

    @api.get(
        _PATH,
        tags=["operation"],
        summary="Show the degradation level, who pinned it, and what each level means.",
        responses=errors_of(*_ACCESS),
    )
    async def show(request: Request) -> dict[str, object]:
        front.owner(request)
        return _state(governor)

    @api.post(
        f"{_PATH}/pin",
        tags=["operation"],
        summary="Hold a degradation level until it is released.",
        openapi_extra={"requestBody": {"required": True, "content": shape}},
        responses=errors_of(*_ACCESS, InvalidParameter, Stopping),
    )
    async def pin(request: Request) -> dict[str, object]:
        admit_operator(front, request)
        level = _level(await read_body(request, _LIMIT_BYTES), governor.max_level)
        with acting(request, "pin", {"safelight.degradation_level": level}):
            governor.pin(level, operator_of(request))
        return _state(governor)

    @api.post(
        f"{_PATH}/release",
        tags=["operation"],
        summary="Let the service choose its degradation level by the load again.",
        responses=errors_of(*_ACCESS, Stopping),
    )
    async def release(request: Request) -> dict[str, object]:
        admit_operator(front, request)
        with acting(request, "release"):
            governor.release()
        return _state(governor)


def _state(governor: Governor) -> dict[str, object]:
    return {
        "level": governor.level,
        "pinned": governor.pinned is not None,
        "by": governor.pinned_by,
        "highest": governor.max_level,
        "levels": [
            {"level": level, "name": name, "meaning": meaning}
            for level, (name, meaning) in enumerate(MEANINGS.items())
        ],
    }


def _level(body: bytes, highest: int) -> int:
    try:
        level = LevelBody.model_validate_json(body).level
    except ValidationError:
        level = -1
    if not 0 <= level <= highest:
        raise InvalidParameter(f'Send JSON such as {{"level": 0}}; the highest is {highest}.')
    return level

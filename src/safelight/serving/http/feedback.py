"""Routes for finished requests: rate a response, delete a request's record."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import orjson
from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from safelight.errors import (
    BodyTooLarge,
    Forbidden,
    InvalidParameter,
    Overloaded,
    RateLimited,
    Unauthorized,
    UnknownRequest,
)
from safelight.http_server.uploads import read_body
from safelight.metrics.catalog import RATING_REASON
from safelight.records.ratings import Ratings, in_memory
from safelight.records.store import Store
from safelight.serving.http.front import Front
from safelight.serving.http.responses import errors_of
from safelight.serving.http.shares import Shares
from safelight.serving.policies.rates import Buckets
from safelight.telemetry.traces import Traces

REASONS = RATING_REASON.values or ()
_FAILURES = (Unauthorized, Forbidden, UnknownRequest, RateLimited, Overloaded)
_LIMIT_BYTES = 4096
_BAD_RATING = 2  # at most: it keeps the trace of its request
_TASKS_PER_CALLER = 16
_WAIT_SECONDS = 5.0
Value = TypeVar("Value")


class RatingBody(BaseModel):
    """A rating as a caller sends it; other fields are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rating: int = Field(ge=1, le=5, strict=True, description="1 (bad) to 5 (good).")
    reason: str = Field("none", description="Why.", json_schema_extra={"enum": list(REASONS)})

    @field_validator("reason")
    @classmethod
    def is_known(cls, reason: str) -> str:
        """Reject a reason outside the closed set."""
        if reason not in REASONS:
            raise ValueError("not in the closed set")
        return reason


class Rated(BaseModel):
    """The response to a rating; `changed` is True if it replaced an earlier one."""

    request_id: str
    rating: int
    reason: str
    changed: bool


class Forgotten(BaseModel):
    """The response to a deleted record."""

    request_id: str
    status: str = "deleted"


class Feedback:
    """Stores ratings. Without a database it knows only recent requests."""

    def __init__(
        self,
        ratings: Ratings,
        store: Store | None,
        buckets: Buckets,
        traces: Traces,
        forgetting: Sequence[Callable[[str], None]] = (),
    ) -> None:
        self._ratings = ratings
        self._traces = traces
        self._store = store
        self._buckets = buckets
        self._forgetting = forgetting

    async def rate(self, request_id: str, owner: str, body: bytes) -> Rated:
        """Rate a response, by the server's id or the caller's.

        Raises InvalidParameter, UnknownRequest, RateLimited, Overloaded.
        """
        self._buckets.take(owner)
        rating = _parsed(body)
        await self._recall(request_id, owner)
        keep = self._store.rate if self._store is not None else in_memory
        new, changed = self._ratings.rate(
            request_id, owner, rating.rating, rating.reason, keep=keep
        )
        if rating.rating <= _BAD_RATING:
            self._traces.keep(new.request_id)
        return Rated(
            request_id=request_id, rating=rating.rating, reason=rating.reason, changed=changed
        )

    async def forget(self, request_id: str, owner: str) -> Forgotten:
        """Delete everything stored about a request, by the server's id or the caller's.

        Raises UnknownRequest, RateLimited, Overloaded.
        """
        self._buckets.take(owner)
        ids = self._ratings.ids(request_id, owner)
        if self._store is not None:
            while stored := await _result(self._store.find(request_id, owner)):
                found = [each.request_id for each in stored]
                ids += found
                await _result(self._store.forget(*found))
        if not ids:
            raise UnknownRequest
        if self._store is not None:
            await _result(self._store.forget(*ids))
        for each in ids:
            self._ratings.forget(each)
            self._traces.forget(each)
            for forget in self._forgetting:
                forget(each)
        return Forgotten(request_id=request_id)

    async def _recall(self, request_id: str, owner: str) -> None:
        """Load a request from the records if memory does not have it any more."""
        if self._store is None or self._ratings.can_rate(request_id, owner):
            return
        for record in await _result(self._store.find(request_id, owner)):
            if record.answered:
                kind, at, rating = record.instruction_type, record.at, record.rating
                key = "" if record.request_id == request_id else request_id
                self._ratings.add(record.request_id, owner, kind, at, rating, key=key)
                return


def add_feedback(api: FastAPI, front: Front, feedback: Feedback) -> None:
    """Add the routes for finished requests."""
    tasks = Shares(_TASKS_PER_CALLER, "ratings and deletions")
    shape = {"application/json": {"schema": RatingBody.model_json_schema()}}

    @api.post(
        "/v1/requests/{request_id}/rating",
        tags=["requests"],
        summary="Rate a response, 1 (bad) to 5 (good); a second rating replaces the first.",
        openapi_extra={"requestBody": {"required": True, "content": shape}},
        responses=errors_of(*_FAILURES, InvalidParameter),
    )
    async def rate(request_id: str, request: Request) -> Rated:
        owner = front.owner(request)
        tasks.check(owner)
        with tasks.held(owner):
            return await feedback.rate(request_id.lower(), owner, await _body(request))

    @api.delete(
        "/v1/requests/{request_id}/record",
        tags=["requests"],
        summary="Delete a request's record, rating and samples.",
        responses=errors_of(*_FAILURES, InvalidParameter),
    )
    async def forget(request_id: str, request: Request) -> Forgotten:
        owner, name = front.owner(request), request_id.lower()
        tasks.check(owner)
        with tasks.held(owner):
            forgotten = await feedback.forget(name, owner)
        front.repeats.answers.forget(owner, name)
        return forgotten


async def _body(request: Request) -> bytes:
    try:
        return await read_body(request, _LIMIT_BYTES)
    except BodyTooLarge:
        raise InvalidParameter(
            f"A rating has at most {_LIMIT_BYTES} bytes. Send rating and reason, nothing else."
        ) from None


def _parsed(body: bytes) -> RatingBody:
    try:
        return RatingBody.model_validate(orjson.loads(body))
    except (orjson.JSONDecodeError, ValidationError):
        raise InvalidParameter(
            'Send JSON such as {"rating": 4}: a whole number from 1 to 5, and optionally a '
            f"reason: {', '.join(REASONS)}."
        ) from None


async def _result(future: "Future[Value]") -> Value:
    """Wait for a result from the records. Raises Overloaded if none comes in time."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), _WAIT_SECONDS)
    except Exception as error:
        raise Overloaded(
            f"The database of records does not respond now. Retry in {_WAIT_SECONDS:.0f} seconds.",
            _WAIT_SECONDS,
        ) from error

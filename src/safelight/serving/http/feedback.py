"""What callers say of their answers: a rating, or the wish that a request be forgotten."""

import asyncio
from concurrent.futures import Future
from typing import TypeVar

import orjson
from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from safelight.errors import (
    BodyTooLarge,
    InvalidParameter,
    Overloaded,
    RateLimited,
    Unauthorized,
    UnknownRequest,
)
from safelight.metrics.catalog import RATING_REASON
from safelight.records.ratings import Ratings, in_memory
from safelight.records.store import Store
from safelight.serving.http.body import read_body
from safelight.serving.http.front import Front
from safelight.serving.http.responses import failures
from safelight.serving.policies.rates import Buckets

REASONS = RATING_REASON.values or ()
_FAILURES = (Unauthorized, UnknownRequest, RateLimited, Overloaded)
_LIMIT_BYTES = 4096
_PATIENCE_SECONDS = 5.0
Answer = TypeVar("Answer")


class RatingBody(BaseModel):
    """What a caller sends to rate an answer; other fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rating: int = Field(ge=1, le=5, strict=True, description="1 (bad) to 5 (good).")
    reason: str = Field("none", description="Why.", json_schema_extra={"enum": list(REASONS)})

    @field_validator("reason")
    @classmethod
    def is_known(cls, reason: str) -> str:
        """Refuse a reason outside the closed set."""
        if reason not in REASONS:
            raise ValueError("not in the closed set")
        return reason


class Rated(BaseModel):
    """What a caller is told of a rating; `changed` where it replaced another."""

    request_id: str
    rating: int
    reason: str
    changed: bool


class Forgotten(BaseModel):
    """What a caller is told of a record that was deleted."""

    request_id: str
    status: str = "deleted"


class Feedback:
    """Takes what callers say; it works without a database, as far back as memory reaches."""

    def __init__(self, ratings: Ratings, store: Store | None, buckets: Buckets) -> None:
        self._ratings = ratings
        self._store = store
        self._buckets = buckets

    async def rate(self, request_id: str, owner: str, body: bytes) -> Rated:
        """Rate an answer. Raises InvalidParameter, UnknownRequest, RateLimited, Overloaded."""
        self._buckets.take(owner)
        asked = _parsed(body)
        await self._recall(request_id, owner)
        keep = self._store.rate if self._store is not None else in_memory
        _, changed = self._ratings.rate(request_id, owner, asked.rating, asked.reason, keep=keep)
        return Rated(
            request_id=request_id, rating=asked.rating, reason=asked.reason, changed=changed
        )

    async def forget(self, request_id: str, owner: str) -> Forgotten:
        """Delete what is known of a request. Raises UnknownRequest, RateLimited, Overloaded."""
        self._buckets.take(owner)
        store = self._store
        if not self._ratings.can_rate(request_id, owner) and (
            store is None or await _answer(store.find(request_id, owner)) is None
        ):
            raise UnknownRequest
        if store is not None:
            await _answer(store.forget(request_id))
        self._ratings.forget(request_id)
        return Forgotten(request_id=request_id)

    async def _recall(self, request_id: str, owner: str) -> None:
        """Have the records say what memory does not hold any more."""
        if self._store is None or request_id in self._ratings:
            return
        found = await _answer(self._store.find(request_id, owner))
        if found is not None and found.answered:
            self._ratings.add(request_id, owner, found.instruction_type, found.at, found.rating)


def add_feedback(api: FastAPI, front: Front, feedback: Feedback) -> None:
    """Add the routes by which callers speak of requests that are over."""
    shape = {"application/json": {"schema": RatingBody.model_json_schema()}}

    @api.post(
        "/v1/requests/{request_id}/rating",
        tags=["requests"],
        summary="Rate an answer, 1 (bad) to 5 (good); a second rating replaces the first.",
        openapi_extra={"requestBody": {"required": True, "content": shape}},
        responses=failures(*_FAILURES, InvalidParameter),
    )
    async def rate(request_id: str, request: Request) -> Rated:
        owner = front.owner(request)
        return await feedback.rate(request_id.lower(), owner, await _body(request))

    @api.delete(
        "/v1/requests/{request_id}/record",
        tags=["requests"],
        summary="Forget a request: its record, rating and samples are deleted.",
        responses=failures(*_FAILURES, InvalidParameter),
    )
    async def forget(request_id: str, request: Request) -> Forgotten:
        return await feedback.forget(request_id.lower(), front.owner(request))


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
            'Send JSON such as {"rating": 4}: a whole number from 1 to 5, and, if you like, a '
            f"reason: {', '.join(REASONS)}."
        ) from None


async def _answer(future: "Future[Answer]") -> Answer:
    """Wait a while for the records. Raises Overloaded where they do not answer."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), _PATIENCE_SECONDS)
    except Exception as away:
        raise Overloaded(
            "What was longer ago stands in the records, which cannot be asked now. "
            f"Retry in {_PATIENCE_SECONDS:.0f} seconds.",
            _PATIENCE_SECONDS,
        ) from away

"""Routes for running requests: follow progress by server-sent events, and cancel.

A slow reader may miss steps, but always receives the final event, because
each event contains the latest state.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager

import orjson
import pybase64
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from safelight.errors import Forbidden, Overloaded, Unauthorized, UnknownRequest
from safelight.serving.http.front import Front
from safelight.serving.http.responses import errors_of
from safelight.serving.http.shares import Shares
from safelight.serving.job import Job

_FAILURES = errors_of(Unauthorized, Forbidden, UnknownRequest, Overloaded)
_STREAMS_PER_CALLER = 16
_PULSE_SECONDS = 1.0  # no event reports that the position in the queue changes


def add_requests(api: FastAPI, front: Front) -> None:
    """Add the routes for running requests."""
    streams = Shares(_STREAMS_PER_CALLER, "streams of events")

    @api.get(
        "/v1/requests/{request_id}/events",
        tags=["requests"],
        response_class=StreamingResponse,
        summary="Follow a request: position in the queue, steps, previews (server-sent events).",
        responses={200: {"content": {"text/event-stream": {}}}, **_FAILURES},
    )
    async def events(request_id: str, request: Request) -> StreamingResponse:
        owner = front.owner(request)
        streams.check(owner)
        with streams.held(owner):
            jobs = await front.requests.expect(request_id.lower(), owner)
        return _Stream(jobs[0], streams.held(owner))

    @api.delete(
        "/v1/requests/{request_id}",
        tags=["requests"],
        status_code=202,
        summary="Cancel a request: it stops at its next step.",
        responses=_FAILURES,
    )
    async def cancel(request_id: str, request: Request) -> dict[str, str]:
        front.requests.cancel(request_id.lower(), front.owner(request))
        return {"request_id": request_id, "status": "cancelled"}


class _Stream(StreamingResponse):
    """The events of a job; it holds a place from when it is sent to its end."""

    def __init__(self, job: Job, place: AbstractContextManager[None]) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(follow(job), media_type="text/event-stream", headers=headers)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)


async def follow(job: Job, *, pulse_seconds: float = _PULSE_SECONDS) -> AsyncIterator[bytes]:
    """Yield a job's events until it is done."""
    changed = asyncio.Event()
    job.progress.listeners.append(changed.set)
    job.control.follow()
    last_event = b""
    try:
        while job.progress.state != "done":
            changed.clear()  # before the state is read, so that no later change is missed
            event = _event(job)
            if event != last_event:
                last_event = event
                yield event
            try:
                await asyncio.wait_for(changed.wait(), pulse_seconds)
            except TimeoutError:
                yield b": still here\n\n"  # a comment, so that proxies keep the connection open
        yield _as_event("done", {"step": job.progress.step, "steps": job.progress.steps})
    finally:
        job.progress.listeners.remove(changed.set)


def _event(job: Job) -> bytes:
    progress = job.progress
    if progress.state == "queued":
        return _as_event("queued", {"place": job.control.position()})
    steps = {"step": progress.step, "steps": progress.steps}
    if not progress.preview:
        return _as_event("step", steps)
    image = pybase64.b64encode(progress.preview).decode()
    return _as_event("preview", {**steps, "image": f"data:image/jpeg;base64,{image}"})


def _as_event(name: str, data: Mapping[str, object]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))

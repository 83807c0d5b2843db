"""A request under way, seen from outside: its progress as server-sent events, and its cancellation.

A reader who is slow misses steps, never the end: what is told is always the latest state.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pybase64
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from safelight.errors import Unauthorized, UnknownRequest
from safelight.serving.http.front import Front
from safelight.serving.http.responses import failures
from safelight.serving.job import Job

_FAILURES = failures(Unauthorized, UnknownRequest)
_PULSE_SECONDS = 1.0  # a place in the queue moves without being told


def add_requests(api: FastAPI, front: Front) -> None:
    """Add the routes of requests under way."""

    @api.get(
        "/v1/requests/{request_id}/events",
        tags=["requests"],
        response_class=StreamingResponse,
        summary="Follow a request: its place in the queue, steps, previews (server-sent events).",
        responses={200: {"content": {"text/event-stream": {}}}, **_FAILURES},
    )
    async def events(request_id: str, request: Request) -> StreamingResponse:
        jobs = await front.requests.expect(request_id, front.owner(request))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(follow(jobs[0]), media_type="text/event-stream", headers=headers)

    @api.delete(
        "/v1/requests/{request_id}",
        tags=["requests"],
        status_code=202,
        summary="Cancel a request: it stops at its next step.",
        responses=_FAILURES,
    )
    async def cancel(request_id: str, request: Request) -> dict[str, str]:
        front.requests.cancel(request_id, front.owner(request))
        return {"request_id": request_id, "status": "cancelled"}


async def follow(job: Job, *, pulse_seconds: float = _PULSE_SECONDS) -> AsyncIterator[bytes]:
    """Yield a job's events until it is done."""
    changed = asyncio.Event()
    job.progress.listeners.append(changed.set)
    job.control.follow()
    told: bytes = b""
    try:
        while job.progress.state != "done":
            changed.clear()  # before it is read: what changes while the reader is slow must wake us
            event = _event(job)
            if event != told:
                told = event
                yield event
            try:
                await asyncio.wait_for(changed.wait(), pulse_seconds)
            except TimeoutError:
                yield b": still here\n\n"  # a comment: keeps proxies from closing the line
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
    picture = pybase64.b64encode(progress.preview).decode()
    return _as_event("preview", {**steps, "image": f"data:image/jpeg;base64,{picture}"})


def _as_event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))

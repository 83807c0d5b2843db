"""How an Outcome becomes an HTTP answer."""

from collections.abc import Sequence
from typing import Any

import orjson
import pybase64
from fastapi import Request
from fastapi.responses import Response

from safelight.serving.http.advice import advice, note_headers, warnings
from safelight.serving.http.front import Answer
from safelight.serving.http.problems import REQUEST_ID
from safelight.serving.job import Job, Outcome
from safelight.telemetry.timeline import Timeline

JSON = "application/json"


def image_answer(request: Request, _fields: object) -> Answer:
    """Return how to answer with an image: as bytes, or in JSON if the caller prefers that."""
    as_json = JSON in request.headers.get("accept", "")

    def answer(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> Response:
        job, made = jobs[0], outcomes[0]
        headers = common_headers(job, made)
        if not as_json:
            return Response(made.image, media_type=made.media_type, headers=headers)
        width, height = made.size
        content = {
            "request_id": job.id,
            "image": pybase64.b64encode(made.image).decode(),
            "media_type": made.media_type,
            "width": width,
            "height": height,
            "seed": made.seed,
            **notes(job, made),
        }
        return json_answer(content, headers)

    return answer


def labels_answer(_request: Request, _fields: object) -> Answer:
    """Return how to answer with labels."""

    def answer(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> Response:
        job, made = jobs[0], outcomes[0]
        labels = [{"label": label, "score": score} for label, score in made.labels]
        content = {"request_id": job.id, "labels": labels}
        return json_answer(content, common_headers(job, made))

    return answer


def json_answer(content: Any, headers: dict[str, str]) -> Response:
    """Return a JSON document."""
    return Response(orjson.dumps(content), media_type=JSON, headers=headers)


def notes(job: Job, made: Outcome) -> dict[str, Any]:
    """Return what the headers tell of an image, for those who read JSON."""
    return {
        "degraded": made.degraded,
        "prompt_truncated": made.truncated,
        "warnings": warnings(job.exchange),
        "advice": advice(job.exchange),
    }


def common_headers(job: Job, made: Outcome) -> dict[str, str]:
    """Return what every answer of the model tells in its headers."""
    headers = {REQUEST_ID: job.id, "server-timing": _server_timing(job.exchange.timeline)}
    if job.task != "predict":
        headers["x-safelight-seed"] = str(made.seed)
    if made.truncated:
        headers["x-safelight-prompt-truncated"] = "true"
    if made.degraded:
        headers["x-safelight-degraded"] = ", ".join(made.degraded)
    return headers | note_headers(job.exchange)


def _server_timing(timeline: Timeline) -> str:
    """Return the stages so far as a Server-Timing header (W3C), which browsers draw."""
    return ", ".join([f"{stage};dur={s * 1e3:.1f}" for stage, s in timeline.seconds.items()])

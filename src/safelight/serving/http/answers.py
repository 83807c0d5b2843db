"""HTTP responses for outcomes: an image as bytes or JSON, labels as JSON."""

from collections.abc import Sequence

import orjson
import pybase64
from fastapi import Request
from fastapi.responses import Response

from safelight.serving.http.advice import advice, note_headers, warnings
from safelight.serving.http.front import Respond
from safelight.serving.http.naming import id_headers
from safelight.serving.job import Job, Outcome
from safelight.telemetry.timeline import Timeline

JSON = "application/json"


def image_response(request: Request, _fields: object) -> Respond:
    """Return the function that sends an image: as bytes, or as JSON if the caller prefers that."""
    as_json = JSON in request.headers.get("accept", "")

    def respond(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> Response:
        job, outcome = jobs[0], outcomes[0]
        headers = common_headers(job, outcome)
        if not as_json:
            return Response(outcome.image, media_type=outcome.media_type, headers=headers)
        width, height = outcome.size
        content = {
            "request_id": job.exchange.name,
            "image": pybase64.b64encode(outcome.image).decode(),
            "media_type": outcome.media_type,
            "width": width,
            "height": height,
            "seed": outcome.seed,
            **notes(job, outcome),
        }
        return json_response(content, headers)

    return respond


def labels_response(_request: Request, _fields: object) -> Respond:
    """Return the function that sends labels as JSON."""

    def respond(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> Response:
        job, outcome = jobs[0], outcomes[0]
        labels = [{"label": label, "score": score} for label, score in outcome.labels]
        content = {"request_id": job.exchange.name, "labels": labels}
        return json_response(content, common_headers(job, outcome))

    return respond


def json_response(content: object, headers: dict[str, str]) -> Response:
    """Return a JSON response."""
    return Response(orjson.dumps(content), media_type=JSON, headers=headers)


def notes(job: Job, outcome: Outcome) -> dict[str, object]:
    """Return the information of the headers, for a JSON response."""
    return {
        "degraded": outcome.degraded,
        "prompt_truncated": outcome.truncated,
        "warnings": warnings(job.exchange),
        "advice": advice(job.exchange),
    }


def common_headers(job: Job, outcome: Outcome) -> dict[str, str]:
    """Return the headers of every response of the model."""
    headers = {**id_headers(job.exchange), "server-timing": _server_timing(job.exchange.timeline)}
    if job.task != "predict":
        headers["x-safelight-seed"] = str(outcome.seed)
    if outcome.truncated:
        headers["x-safelight-prompt-truncated"] = "true"
    if outcome.degraded:
        headers["x-safelight-degraded"] = ", ".join(outcome.degraded)
    return headers | note_headers(job.exchange)


def _server_timing(timeline: Timeline) -> str:
    """Return the stages so far as a Server-Timing header (W3C), which browsers display."""
    return ", ".join([f"{stage};dur={s * 1e3:.1f}" for stage, s in timeline.seconds.items()])

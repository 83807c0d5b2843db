"""What is kept of a request, as rows: pure, and of no database yet."""

import hmac
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Any

from safelight.reasons import NO_ERROR
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.record import Record

MOST_SAMPLE_BYTES = 64 * 1024  # of one thumbnail; what is larger is none
RATIOS = (
    "score",
    "sharpness",
    "exposure",
    "colourfulness",
    "cleanness",
    "structure",
    "edges",
    "changed",
    "adherence",
)
_OWNER = "owner:"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where records come from, and what may be kept of them."""

    namespace: str
    model: str
    store_prompts: bool = False


@dataclass(frozen=True, slots=True)
class Rating:
    """How a caller found an answer, 1 (bad) to 5 (good), and why."""

    request_id: str
    instruction_type: str
    rating: int
    reason: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """A finished request, what was found of its output, and how it was rated; None is unknown.

    `service_seconds` is its time without the wait in the queue.
    """

    request_id: str
    at: float
    namespace: str
    instruction_type: str
    error: str
    status_code: int
    service_seconds: float
    steps: int | None = None
    width: int | None = None
    height: int | None = None
    precision: str | None = None
    background_entropy: float | None = None
    found_error: str | None = None
    score: float | None = None
    structure: float | None = None
    adherence: float | None = None
    rating: int | None = None

    @property
    def succeeded(self) -> bool:
        """Tell whether the answer was good, by all that was found of it later too."""
        answered = self.error == NO_ERROR and self.status_code < 400
        return answered and self.found_error in (None, NO_ERROR)


def salted(text: str, salt: str) -> str:
    """Return a hash that tells equal texts, of this installation, and nothing else of them."""
    return hmac.digest(salt.encode(), text.encode("utf-8", "replace"), "sha256").hex()


@lru_cache(maxsize=1024)
def owner_hash(owner: str, salt: str) -> str | None:
    """Return what is kept of a caller: enough to know them again."""
    return salted(_OWNER + owner, salt) if owner else None


def request_row(record: Record, at: float, origin: Origin, salt: str) -> Row:
    """Return the row of a finished request; its prompt is a hash unless it may be kept."""
    prompt = record.prompt
    return {
        "request_id": record.id[:80],
        "at": at,
        "namespace": origin.namespace,
        "model": _plain(origin.model, 200),
        "endpoint": _plain(record.endpoint, 200),
        "status_code": record.status_code,
        "error": record.error[:40],
        "instruction_type": record.instruction_type[:40],
        "seconds": record.seconds,
        "queue_seconds": record.stages.get("queue", 0.0),
        "stages": {stage: round(seconds, 6) for stage, seconds in record.stages.items()},
        "truncated": record.truncated,
        "degraded": ",".join(record.degraded)[:200],
        "seed": record.seed,
        "trace_id": _plain(record.trace_id, 64) if record.trace_id else None,
        "background_entropy": record.background_entropy,
        "prompt": _plain(prompt, 10_000) if prompt and origin.store_prompts else None,
        "prompt_hash": salted(prompt, salt) if prompt else None,
        "owner_hash": owner_hash(record.owner, salt),
        **_call_columns(record),
    }


def _call_columns(record: Record) -> Row:
    """Return what changed how the model read the sentence (requirement P17), of the last call."""
    call = record.calls[-1] if record.calls else None
    width, height = call.images[0] if call and call.images else (None, None)
    return {
        "pipeline": call.pipeline[:100] if call else None,
        "precision": call.precision[:20] if call else None,
        "steps_asked": call.steps_asked if call else None,
        "steps": (len(call.step_seconds) or call.steps_asked) if call else None,
        "width": width,
        "height": height,
        "guidance_asked": call.guidance_asked if call else None,
        "guidance_in_force": call.guidance_in_force if call else None,
        "image_guidance_asked": call.image_guidance_asked if call else None,
        "image_guidance_in_force": call.image_guidance_in_force if call else None,
        "overridden": ",".join(call.overridden)[:100] if call else "",
        "negative_prompt": call.negative_prompt if call else None,
        "batch": call.batch if call else None,
    }


def assessment_row(found: Assessment, at: float) -> Row:
    """Return the row of what was found of an output."""
    return {
        "request_id": found.request_id[:80],
        "at": at,
        "instruction_type": found.instruction_type[:40],
        "error": found.error[:40],
        **{name: _finite(getattr(found, name)) for name in RATIOS},
    }


def sample_row(found: Assessment, at: float) -> Row | None:
    """Return the row of an assessment's thumbnails, if it has any that are as small as agreed."""
    if not (found.before or found.after):
        return None
    if max(len(found.before), len(found.after)) > MOST_SAMPLE_BYTES:
        return None
    return {
        "request_id": found.request_id[:80],
        "at": at,
        "instruction_type": found.instruction_type[:40],
        "failed": found.error != NO_ERROR,
        "before": found.before,
        "after": found.after,
    }


def rating_row(rated: Rating, at: float) -> Row:
    """Return the row of a rating."""
    return {
        "request_id": rated.request_id[:80],
        "at": at,
        "instruction_type": rated.instruction_type[:40],
        "rating": rated.rating,
        "reason": rated.reason,
    }


def _finite(value: float | None) -> float | None:
    """Return a number, or None for one that is none: it would spoil every mean."""
    return value if value is not None and isfinite(value) else None


def _plain(text: str, most: int) -> str:
    """Return a text that any database takes: PostgreSQL refuses the character 0."""
    return text[:most].replace("\0", "").encode("utf-8", "replace").decode()

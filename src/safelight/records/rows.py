"""Turn records, assessments, ratings and pairs into database rows, without any database."""

import hmac
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from safelight.errors import InvalidParameter
from safelight.reasons import NO_ERROR
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.counterpart import Counterpart
from safelight.telemetry.record import PipelineCall, Record

MAX_SAMPLE_BYTES = 64 * 1024  # of one thumbnail; larger ones are not stored
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
_MOST_MEASURES = 20  # of a pair

Value = str | int | float | bytes | dict[str, float] | None
Row = dict[str, Value]


class BadRow(Exception):
    """A row is invalid, so writing it again would fail again. The database is not at fault."""


class DatabaseFailed(Exception):
    """The database refused a call, and may accept the same one later. The text has no values."""


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A stored request with its current rating; `answered` is True if it returned a result."""

    request_id: str
    instruction_type: str
    at: float
    answered: bool
    rating: int | None


@dataclass(frozen=True, slots=True)
class Origin:
    """The service and model of records, and whether prompts may be stored.

    An empty model is that of each call.
    """

    namespace: str
    model: str
    store_prompts: bool = False


@dataclass(frozen=True, slots=True)
class Rating:
    """A caller's rating of a request from 1 (bad) to 5 (good), with a reason."""

    request_id: str
    instruction_type: str
    rating: int
    reason: str


@dataclass(frozen=True, slots=True)
class AssessedRequest:
    """A stored request with its assessment and rating; None is unknown.

    `service_seconds` is the time without the queue wait, `device_seconds` the request's share of
    the device's time.
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
    device_seconds: float | None = None
    found_error: str | None = None
    score: float | None = None
    structure: float | None = None
    adherence: float | None = None
    rating: int | None = None

    @property
    def succeeded(self) -> bool:
        """Return True if the request succeeded and its assessment found no error."""
        succeeded = self.error == NO_ERROR and self.status_code < 400
        return succeeded and self.found_error in (None, NO_ERROR)


def check_text(name: str, text: str) -> str:
    """Return a text that both databases accept in a query. Raises InvalidParameter.

    PostgreSQL refuses the NUL character; neither accepts an unpaired surrogate.
    """
    if text == _plain(text, len(text)):
        return text
    raise InvalidParameter(
        f"The {name} {text[:40]!a} has a character that is not allowed. Check the {name}."
    )


def salted(text: str, salt: str) -> str:
    """Return a hash by which equal texts of one installation can be recognised."""
    return hmac.digest(salt.encode(), text.encode("utf-8", "replace"), "sha256").hex()


@lru_cache(maxsize=1024)
def owner_hash(owner: str, salt: str) -> str | None:
    """Return the hash of a caller, or None without one."""
    return salted(_OWNER + owner, salt) if owner else None


def request_row(record: Record, at: float, origin: Origin, salt: str) -> Row:
    """Return the row of a finished request; its prompt is hashed unless it may be stored."""
    facts = record.facts
    prompt = facts.prompt
    call = facts.calls[-1] if facts.calls else None
    return {
        "request_id": _plain(facts.id, 80),
        "at": at,
        "namespace": origin.namespace,
        "model": _plain(origin.model or (call.model or call.pipeline if call else ""), 200),
        "endpoint": _plain(record.endpoint, 200),
        "status_code": record.status_code,
        "error": record.error[:40],
        "instruction_type": facts.instruction_type[:40],
        "seconds": record.seconds,
        "queue_seconds": record.stages.get("queue", 0.0),
        "stages": {stage: round(seconds, 6) for stage, seconds in record.stages.items()},
        "truncated": facts.truncated,
        "degraded": ",".join(facts.degraded)[:200],
        "seed": facts.seed,
        "trace_id": record.trace_id or None,
        "background_entropy": facts.background_entropy,
        "prompt": _plain(prompt, 10_000) if prompt and origin.store_prompts else None,
        "prompt_hash": salted(prompt, salt) if prompt else None,
        "owner_hash": owner_hash(facts.owner, salt),
        "caller_key": _plain(facts.key, 36) if facts.key else None,
        "device_seconds": facts.device_seconds,
        **_call_columns(call),
    }


def _call_columns(call: PipelineCall | None) -> Row:
    """Return the columns of a pipeline call; all are None without one."""
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


def assessment_row(assessment: Assessment, at: float) -> Row:
    """Return the row of an assessment."""
    return {
        "request_id": _plain(assessment.request_id, 80),
        "at": at,
        "instruction_type": assessment.instruction_type[:40],
        "error": assessment.error[:40],
        **{name: _finite(getattr(assessment, name)) for name in RATIOS},
    }


def sample_row(assessment: Assessment, at: float) -> Row | None:
    """Return the row of an assessment's thumbnails, or None if there are none or too large ones."""
    if not (assessment.before or assessment.after):
        return None
    if max(len(assessment.before), len(assessment.after)) > MAX_SAMPLE_BYTES:
        return None
    return {
        "request_id": _plain(assessment.request_id, 80),
        "at": at,
        "instruction_type": assessment.instruction_type[:40],
        "failed": assessment.error != NO_ERROR,
        "before": assessment.before,
        "after": assessment.after,
        "second": None,
    }


def pair_row(counterpart: Counterpart, at: float) -> Row:
    """Return the row of what a second model made of a request."""
    finite = {name[:40]: each for name, each in counterpart.measures.items() if isfinite(each)}
    return {
        "request_id": _plain(counterpart.request_id, 80),
        "at": at,
        "model": _plain(counterpart.model, 200),
        "measures": dict(list(finite.items())[:_MOST_MEASURES]),
    }


def second_row(counterpart: Counterpart) -> Row | None:
    """Return the second model's image for the sample of its request; None if none or too large."""
    if not 0 < len(counterpart.image) <= MAX_SAMPLE_BYTES:
        return None
    return {"of": _plain(counterpart.request_id, 80), "image": counterpart.image}


def rating_row(rating: Rating, at: float) -> Row:
    """Return the row of a rating."""
    return {
        "request_id": _plain(rating.request_id, 80),
        "at": at,
        "instruction_type": rating.instruction_type[:40],
        "rating": rating.rating,
        "reason": rating.reason,
    }


def _finite(value: float | None) -> float | None:
    """Return the number, or None for NaN and infinity, which would make every mean invalid."""
    return value if value is not None and isfinite(value) else None


def _plain(text: str, length: int) -> str:
    """Return a shortened text without characters that a database refuses."""
    return text[:length].replace("\0", "").encode("utf-8", "replace").decode()

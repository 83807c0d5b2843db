"""The log line of a finished request: which facts of its Record it has, under which names.

Every request pays for it, so the nested line is built at once and not from dotted names.
"""

from collections.abc import Iterator, Mapping

from safelight.telemetry.fields import DATASET, is_known
from safelight.telemetry.record import Record

_CATEGORY = ["web"]
_SUCCESS, _FAILURE = ["access"], ["access", "error"]
Line = dict[str, object]


def as_line(record: Record) -> Line:
    """Return a Record's fields, nested as in the line."""
    facts, succeeded = record.facts, record.succeeded
    own: Line = {
        "instruction_type": facts.instruction_type,
        "stages_ns": {stage: round(s * 1e9) for stage, s in record.stages.items()},
    }
    line: Line = {
        "event": {
            "kind": "event",
            "dataset": DATASET,
            "category": _CATEGORY,
            "type": _SUCCESS if succeeded else _FAILURE,
            "action": "request",
            "outcome": "success" if succeeded else "failure",
            "duration": round(record.seconds * 1e9),
        },
        "http": {"request": {"id": facts.id}, "response": {"status_code": record.status_code}},
        "url": {"path": record.endpoint},
        "safelight": own,
    }
    if not succeeded:
        line["error"] = {"type": record.error}
    if record.trace_id:
        line["trace"] = {"id": record.trace_id}
    if record.span_id:
        line["span"] = {"id": record.span_id}
    if facts.key:
        own["caller_request_id"] = facts.key
    if facts.seed is not None:
        own["seed"] = facts.seed
    if facts.background_entropy is not None:
        own["background_entropy"] = round(facts.background_entropy, 2)
    if facts.calls:
        own["model"] = _of_call(record)
    return line


def as_fields(record: Record) -> Line:
    """Return a Record's fields under dotted names."""
    return dict(_flat(as_line(record)))


def _flat(line: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in line.items():
        if isinstance(value, dict) and not is_known(prefix + name):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _of_call(record: Record) -> Line:
    """Return how the last call read the prompt (requirement P17)."""
    call = record.facts.calls[-1]
    return {
        "pipeline": call.pipeline,
        "precision": call.precision,
        "batch": call.batch,
        "steps_asked": call.steps_asked,
        "steps": len(call.step_seconds),
        "guidance_asked": call.guidance_asked,
        "guidance_in_force": call.guidance_in_force,
        "image_guidance_asked": call.image_guidance_asked,
        "image_guidance_in_force": call.image_guidance_in_force,
        "negative_prompt": call.negative_prompt,
        "images": [f"{width}x{height}" for width, height in call.images],
    }

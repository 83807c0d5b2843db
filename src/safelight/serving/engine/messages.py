"""Jobs as they travel to a worker, and results as they come back."""

from collections.abc import Mapping, Sequence
from typing import Any

from safelight.errors import SafelightError
from safelight.reasons import error_from_reason
from safelight.serving.engine.queue_entry import Ticket
from safelight.serving.job import Job, Outcome, PredictParameters
from safelight.serving.wire.protocol import Kind, Message
from safelight.telemetry.record import PipelineCall

_ASKED_OF_US = {"seed", "width", "height"}


def as_message(
    tickets: Sequence[Ticket], cap: int, cost: tuple[float, float], now: float
) -> Message:
    """Return jobs of one key as a message; a deadline travels as the seconds that are left."""
    key = str(tickets[0].key)
    jobs = [
        {
            "id": ticket.job.id,
            "task": ticket.job.task,
            "size": ticket.job.size,
            "work": _work(ticket.job),
            "key": key,
            "rank": ticket.urgency[0],
            "left_seconds": ticket.job.deadline - now,
            "cap": cap,
            "cost": cost,
            "alone": ticket.job.alone,
            "about": _about(ticket.job),
        }
        for ticket in tickets
    ]
    return Message(Kind.JOBS, {"jobs": jobs}, [ticket.job.image for ticket in tickets])


def as_result(job: Job, fields: Mapping[str, Any], payload: bytes) -> Outcome | SafelightError:
    """Return what a worker says came of a job."""
    if "reason" in fields:
        return error_from_reason(fields["reason"], fields["detail"])
    if "labels" in fields:
        labels = tuple((label, score) for label, score in fields["labels"])
        return Outcome(labels=labels, degraded=job.degraded)
    return Outcome(
        image=payload,
        size=tuple(fields["size"]),
        seed=job.seed,
        degraded=job.degraded,
        truncated=fields["truncated"],
        corrupted=fields["corrupted"],
    )


def as_call(fields: Mapping[str, Any], instruction_type: str) -> PipelineCall:
    """Return a worker's account of the pipeline's call; the type is known only on this side."""
    return PipelineCall(
        **{
            **fields,
            "instruction_type": instruction_type,
            "step_seconds": tuple(fields["step_seconds"]),
            "overridden": tuple(fields["overridden"]),
            "images": tuple((width, height) for width, height in fields["images"]),
        }
    )


def _about(job: Job) -> dict[str, Any]:
    """Return what a job's picture is judged by."""
    return {
        "request_id": job.request_id,
        "instruction_type": job.exchange.instruction_type,
        "keeps": job.keeps,
    }


def _work(job: Job) -> dict[str, Any]:
    asked = job.parameters.model_dump(exclude=_ASKED_OF_US)
    return asked if isinstance(job.parameters, PredictParameters) else {**asked, "seed": job.seed}

"""Jobs as a worker receives them, and as it has them when they are ready for its model."""

from typing import Any

from safelight.serving.wire.schema import EditTask, GenerateTask, JobOrder, PredictTask
from safelight.serving.worker.choice import Prepared
from safelight.telemetry.timeline import Timeline

Task = EditTask | GenerateTask | PredictTask


def edit_task(**changes: Any) -> EditTask:
    """Return an edit of three steps."""
    fields: dict[str, Any] = {
        "instruction": "make him old",
        "negative_prompt": "",
        "steps": 3,
        "guidance_scale": 7.5,
        "image_guidance_scale": 1.5,
        "seed": 1,
        **changes,
    }
    return EditTask(**fields)


def an_order(job_id: str = "job", task: Task | None = None, **changes: Any) -> JobOrder:
    """Return an order for a small edit with a minute left, which costs nothing."""
    fields: dict[str, Any] = {
        "request_id": job_id,
        "size": (64, 64),
        "key": "key",
        "rank": 1,
        "remaining_seconds": 60.0,
        "cap": 8,
        "cost": (0.0, 0.0),
        "alone": False,
        "instruction_type": "make_him_old",
        "min_kept_ratio": 0.0,
        **changes,
    }
    return JobOrder(id=job_id, task=task or edit_task(), **fields)


def ready(job_id: str = "job", **changes: Any) -> Prepared:
    """Return a job of normal priority with a hundred seconds left at 0, which costs nothing."""
    fields: dict[str, Any] = {
        "key": "key",
        "rank": 1,
        "number": 1,
        "due": 100.0,
        "cap": 8,
        "cost": (0.0, 0.0),
        "alone": False,
        "size": (64, 64),
        **changes,
    }
    return Prepared(id=job_id, timeline=Timeline(), **fields)


def ids(jobs: list[Prepared]) -> list[str]:
    return [job.id for job in jobs]

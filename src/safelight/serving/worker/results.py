"""What a worker tells its parent of a job: its time, what it made, or why it did not."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from safelight.errors import ModelError, OutOfMemory, SafelightError
from safelight.reasons import reason_of_exception
from safelight.serving.worker.choice import Prepared
from safelight.telemetry.record import PipelineCall


def calls_of(jobs: Sequence[Prepared], call: PipelineCall | None) -> list[dict[str, Any] | None]:
    """Return each job's account of the pipeline's call; the first alone stands for its time."""
    if call is None:
        return [None] * len(jobs)
    told = asdict(call)
    images = [*told.pop("images"), *[None] * len(jobs)]
    return [
        {
            **told,
            "images": [images[place]] if images[place] else [],
            "leads": place == 0,
            "batch": len(jobs),
        }
        for place in range(len(jobs))
    ]


def result(job: Prepared, call: dict[str, Any] | None) -> dict[str, Any]:
    """Return what every result tells of a job."""
    stages = dict(job.timeline.seconds)
    return {"id": job.id, "stages": stages, "call": call, "entropy": job.entropy}


def failure_fields(failure: SafelightError) -> dict[str, Any]:
    """Return how a failure travels to the parent."""
    return {"reason": failure.reason, "detail": str(failure)}


def as_failure(error: Exception) -> SafelightError:
    """Return what the caller may know of an error; the rest of it goes to the log."""
    if isinstance(error, SafelightError):
        return error
    if reason_of_exception(error) == OutOfMemory.reason:
        return OutOfMemory()
    sys.excepthook(type(error), error, error.__traceback__)
    return ModelError(type(error).__name__)

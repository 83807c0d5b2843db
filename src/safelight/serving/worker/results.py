"""Convert what the model did with a job into a result message."""

import sys
from collections.abc import Hashable, Sequence
from dataclasses import replace

from safelight.errors import HostOutOfMemory, ModelError, OutOfMemory, SafelightError
from safelight.models.backend import Backend
from safelight.reasons import NO_ERROR, reason_of_exception
from safelight.serving.wire.schema import FailedResult
from safelight.serving.worker.choice import Prepared
from safelight.telemetry.record import PipelineCall, new_id


def calls_of(jobs: Sequence[Prepared], call: PipelineCall | None) -> list[PipelineCall | None]:
    """Return the pipeline call for each job of a batch. Only the first job counts its time."""
    if call is None:
        return [None] * len(jobs)
    batch_id = new_id() if len(jobs) > 1 else ""
    known: dict[Hashable, PipelineCall] = {}  # each takes 10 µs to make

    def of(place: int, instruction_type: str) -> PipelineCall:
        images = call.images[place : place + 1]
        key = images, place == 0, instruction_type
        if key not in known:
            known[key] = replace(
                call,
                images=images,
                leads=place == 0,
                batch=len(jobs),
                batch_id=batch_id,
                instruction_type=instruction_type,
            )
        return known[key]

    return [of(place, job.instruction_type) for place, job in enumerate(jobs)]


def call_of(
    backend: Backend, jobs: Sequence[Prepared], seconds: float, failure: SafelightError | None
) -> PipelineCall:
    """Return the call of a model that no probe measures, such as a classifier."""
    info, error = backend.info, NO_ERROR if failure is None else failure.reason
    makes_images = failure is None and backend.task != "predict"
    images = tuple(job.size for job in jobs) if makes_images else ()
    return PipelineCall(
        info.pipeline, precision=info.precision, seconds=seconds, images=images, error=error
    )


def failed_result(
    job: Prepared, failure: SafelightError, call: PipelineCall | None, invalidity: str | None = None
) -> FailedResult:
    """Return the result of a job that failed."""
    began, parts = job.timeline.started, job.timeline.parts
    reason, detail = failure.reason, str(failure)
    return FailedResult(job.id, began, parts, call, job.entropy_bits, reason, detail, invalidity)


def as_failure(error: Exception) -> SafelightError:
    """Return the error that the caller may see. An unknown error's details go to the log only."""
    if isinstance(error, SafelightError):
        return error
    match reason_of_exception(error):
        case OutOfMemory.reason:
            return OutOfMemory()
        case HostOutOfMemory.reason:
            return HostOutOfMemory()
    sys.excepthook(type(error), error, error.__traceback__)
    return ModelError(type(error).__name__)

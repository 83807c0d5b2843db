"""Convert jobs into messages to a worker, and a worker's results into outcomes."""

from collections.abc import Sequence

from safelight.errors import SafelightError
from safelight.reasons import error_from_reason
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.job import (
    EditParameters,
    GenerateParameters,
    Job,
    Outcome,
    Parameters,
    PredictParameters,
)
from safelight.serving.wire.protocol import Message
from safelight.serving.wire.schema import (
    Compare,
    EditTask,
    FailedResult,
    GenerateTask,
    JobOrder,
    Jobs,
    LabelsResult,
    PredictTask,
    Result,
)


def jobs_message(
    entries: Sequence[QueueEntry], cap: int, cost: tuple[float, float], now: float
) -> Message:
    """Return jobs of one key as a message.

    A deadline travels as the remaining seconds, because the two processes' clocks may differ.
    """
    key = str(entries[0].key)
    orders = [
        JobOrder(
            id=entry.job.id,
            request_id=entry.job.request_id,
            task=_task(entry.job.parameters, entry.job.seed),
            size=entry.job.size,
            key=key,
            rank=entry.urgency[0],
            remaining_seconds=entry.job.deadline - now,
            cap=cap,
            cost=cost,
            alone=entry.job.alone,
            instruction_type=entry.job.exchange.instruction_type,
            min_kept_ratio=entry.job.min_kept_ratio,
            probe=bool(entry.job.use),
        )
        for entry in entries
    ]
    return Message(Jobs(orders), [entry.job.image for entry in entries])


def compare_message(job: Job, first: bytes, second: bytes) -> Message:
    """Return two outputs for a job as a message; the worker measures them."""
    task = _task(job.parameters, job.seed)
    order = JobOrder(
        id=job.id,
        request_id="",
        task=task,
        size=job.size,
        key="",
        rank=0,
        remaining_seconds=0.0,
        cap=1,
        cost=(0.0, 0.0),
        alone=True,
        instruction_type=job.exchange.instruction_type,
        min_kept_ratio=0.0,
        probe=True,
    )
    return Message(Compare(order), (job.image, first, second))


def outcome_of(job: Job, result: Result, payload: bytes) -> Outcome | SafelightError:
    """Return a worker's result as an outcome, or as the error that the job failed with."""
    if isinstance(result, FailedResult):
        return error_from_reason(result.reason, result.detail)
    if isinstance(result, LabelsResult):
        return Outcome(labels=tuple(result.labels), degraded=job.degraded)
    return Outcome(
        image=payload,
        size=result.size,
        seed=job.seed,
        degraded=job.degraded,
        truncated=result.truncated,
        corrupted=result.corrupted,
    )


def _task(parameters: Parameters, seed: int) -> EditTask | GenerateTask | PredictTask:
    match parameters:
        case EditParameters():
            return EditTask(
                parameters.instruction,
                parameters.negative_prompt,
                parameters.steps,
                parameters.guidance_scale,
                parameters.image_guidance_scale,
                seed,
            )
        case GenerateParameters():
            return GenerateTask(
                parameters.prompt,
                parameters.negative_prompt,
                parameters.steps,
                parameters.guidance_scale,
                seed,
            )
        case PredictParameters():
            return PredictTask(parameters.top)

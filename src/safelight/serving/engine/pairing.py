"""Copy a job, and measure two outputs of it: what the caller got, and what the copy made."""

from dataclasses import dataclass, replace

from safelight.guard import pairs
from safelight.guard.pairs import Pair
from safelight.serving.engine.slot import Slot
from safelight.serving.job import Control, Job, Outcome, PredictParameters, Progress
from safelight.telemetry.record import Exchange, new_id
from safelight.telemetry.timeline import Timeline

USE = "shadow"


@dataclass(slots=True)
class Run:
    """What one model did with a copy. Without an outcome it failed."""

    outcome: Outcome | None
    seconds: float | None = None


@dataclass(slots=True)
class Candidate:
    """A request that may be copied: its job, and what the first model made of it."""

    job: Job
    first: Outcome | None


def copy_of(job: Job, steps: int, deadline: float) -> Job:
    """Return a job with the same input and seed that no caller waits for; `steps` 0: as asked."""
    parameters = job.parameters
    if steps and not isinstance(parameters, PredictParameters):
        parameters = parameters.model_copy(update={"steps": steps})
    return replace(
        job,
        id=new_id(),
        parameters=parameters,
        deadline=deadline,
        exchange=Exchange(Timeline(), instruction_type=job.exchange.instruction_type),
        priority="low",
        owner="",
        alone=False,
        group=USE,  # never in a batch with requests
        progress=Progress(),
        control=Control(),
        expected=None,
        use=USE,
    )


async def pair_of(
    slot: Slot, job: Job, first: Outcome | None, second: Outcome | None
) -> tuple[Pair, bytes]:
    """Return the measures of a copy's outcome beside the caller's; None is a failure.

    With them comes a thumbnail of the copy's image, empty unless samples are stored.
    """
    values, image = {pairs.VALIDITY.name: float(second is not None) - float(first is not None)}, b""
    if first is not None and second is not None:
        likeness, image = await _likeness(slot, job, first, second)
        values |= likeness
    return Pair(job.request_id, job.exchange.instruction_type, values), image


async def _likeness(
    slot: Slot, job: Job, first: Outcome, second: Outcome
) -> tuple[dict[str, float], bytes]:
    if first.labels or second.labels:
        return pairs.of_labels(first.labels, second.labels), b""
    answer = await slot.compare(job, first.image, second.image)
    if answer is None or answer[0].distance is None:
        return {}, b""
    found, image = answer
    return pairs.of_qualities(found.first, found.second, answer[0].distance), image


def resources(slot: Slot, second: float | None, first: float | None) -> dict[str, float]:
    """Return the ratios of time and memory. Both times are of copies that ran alone."""
    ratios = {
        pairs.LATENCY.name: pairs.log_ratio(second, first),
        pairs.MEMORY.name: pairs.log_ratio(*slot.memory_bytes()),
    }
    return {name: value for name, value in ratios.items() if value is not None}

"""Measure two outputs for one job: what the caller got, and what a copy made."""

from dataclasses import dataclass

from safelight.guard import pairs
from safelight.guard.pairs import Pair
from safelight.serving.engine.slot import Slot
from safelight.serving.job import Job, Outcome


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


async def pair_of(slot: Slot, job: Job, first: Outcome | None, second: Outcome | None) -> Pair:
    """Return the measures of a copy's outcome beside the caller's; None is a failure."""
    values = {pairs.VALIDITY.name: float(second is not None) - float(first is not None)}
    if first is not None and second is not None:
        values |= await _likeness(slot, job, first, second)
    return Pair(job.request_id, job.exchange.instruction_type, values)


async def _likeness(slot: Slot, job: Job, first: Outcome, second: Outcome) -> dict[str, float]:
    if first.labels or second.labels:
        return pairs.of_labels(first.labels, second.labels)
    found = await slot.compare(job, first.image, second.image)
    if found is None or found.distance is None:
        return {}
    return pairs.of_qualities(found.first, found.second, found.distance)


def resources(slot: Slot, second: float | None, first: float | None) -> dict[str, float]:
    """Return the ratios of time and memory. Both times are of copies that ran alone."""
    ratios = {
        pairs.LATENCY.name: pairs.log_ratio(second, first),
        pairs.MEMORY.name: pairs.log_ratio(*slot.memory_bytes()),
    }
    return {name: value for name, value in ratios.items() if value is not None}

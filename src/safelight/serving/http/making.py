"""What a job is made from: its prompt, its seed, and further jobs of the same request."""

from dataclasses import replace
from os import urandom

from safelight.serving.job import EditParameters, Job, Parameters, PredictParameters
from safelight.telemetry.record import Exchange
from safelight.telemetry.timeline import Timeline


def prompt_of(parameters: Parameters) -> str | None:
    """Return the prompt or instruction, if the task has one."""
    if isinstance(parameters, PredictParameters):
        return None
    return parameters.instruction if isinstance(parameters, EditParameters) else parameters.prompt


def seed_of(parameters: Parameters) -> int:
    """Return the seed that the caller chose, or a random one."""
    seed = None if isinstance(parameters, PredictParameters) else parameters.seed
    return int.from_bytes(urandom(4)) if seed is None else seed


def sibling(job: Job, place: int) -> Job:
    """Return another job of the same request, with its own seed and exchange."""
    exchange = Exchange(Timeline(), instruction_type=job.exchange.instruction_type)
    return replace(
        job,
        id=f"{job.id}-{place}",
        place=place,
        seed=(job.seed + place) % 2**32,
        exchange=exchange,
        progress=type(job.progress)(),
        control=type(job.control)(),
    )

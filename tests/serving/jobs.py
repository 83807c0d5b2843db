"""Jobs and outcomes to be passed about."""

import asyncio

from safelight.serving.job import EditParameters, Handler, Job, Outcome
from safelight.stack.samples import photo
from safelight.telemetry.record import Exchange
from safelight.telemetry.timeline import Timeline


def a_job(job_id: str = "job", *, steps: int = 2, deadline: float = 1e9) -> Job:
    """Return a small job with a deadline far away."""
    return Job(
        id=job_id,
        image=photo(64, 64),
        size=(64, 64),
        parameters=EditParameters(instruction="make him old", steps=steps),
        seed=1,
        deadline=deadline,
        exchange=Exchange(Timeline()),
    )


def an_outcome() -> Outcome:
    """Return an outcome that is none of a model's."""
    return Outcome(b"image", "image/png", (64, 64))


def run(handle: Handler, job: Job | None = None) -> Outcome:
    """Have a handler serve a job, in a loop of its own."""

    async def serving() -> Outcome:
        return await handle(job or a_job())

    return asyncio.run(serving())

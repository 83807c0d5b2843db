"""Jobs and outcomes to be passed about."""

import asyncio
from typing import Any

from safelight.serving.job import EditParameters, Handler, Job, Outcome
from safelight.stack.tools.samples import photo
from safelight.telemetry.record import Exchange
from safelight.telemetry.timeline import Timeline

PICTURE = photo(64, 64)


def a_job(
    job_id: str = "job",
    *,
    instruction: str = "make him old",
    steps: int = 2,
    size: tuple[int, int] = (64, 64),
    deadline: float = 1e9,
    **more: Any,
) -> Job:
    """Return a small job with a deadline far away."""
    return Job(
        id=job_id,
        image=PICTURE,
        size=size,
        parameters=EditParameters(instruction=instruction, steps=steps),
        seed=1,
        deadline=deadline,
        exchange=Exchange(Timeline()),
        **more,
    )


def an_outcome() -> Outcome:
    """Return an outcome that is none of a model's."""
    return Outcome(b"image", "image/png", (64, 64))


def run(handle: Handler, job: Job | None = None) -> Outcome:
    """Have a handler serve a job, in a loop of its own."""

    async def serving() -> Outcome:
        return await handle(job or a_job())

    return asyncio.run(serving())

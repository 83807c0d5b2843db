"""Stop a job when its deadline passes."""

import asyncio

from safelight.errors import Timeout
from safelight.serving.job import Handler, Job, Outcome
from safelight.serving.timers import Timers


def deadline(handle: Handler) -> Handler:
    """Stop a job with Timeout at its deadline. A job that is already late does not run."""
    timers = Timers()

    async def within(job: Job) -> Outcome:
        if job.deadline <= asyncio.get_running_loop().time():
            raise Timeout(job.timeout_seconds)
        timer = timers.at(job.deadline, lambda: job.control.stop(Timeout(job.timeout_seconds)))
        try:
            return await handle(job)
        finally:
            timer.cancel()

    return within

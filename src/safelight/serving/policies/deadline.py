"""Stop a job when its deadline passes."""

import asyncio

from safelight.errors import Timeout
from safelight.serving.job import Handler, Job, Outcome


def deadline(handle: Handler) -> Handler:
    """Stop a job with Timeout at its deadline. A job that is already late does not run."""

    async def within(job: Job) -> Outcome:
        loop = asyncio.get_running_loop()
        remaining = job.deadline - loop.time()
        if remaining <= 0:
            raise Timeout(job.timeout_seconds)
        timer = loop.call_later(remaining, lambda: job.control.stop(Timeout(job.timeout_seconds)))
        try:
            return await handle(job)
        finally:
            timer.cancel()

    return within

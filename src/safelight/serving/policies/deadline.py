"""Ends a job whose deadline passed: nobody waits for it any more."""

import asyncio

from safelight.errors import Timeout
from safelight.serving.job import Handler, Job, Outcome


def deadline(handle: Handler) -> Handler:
    """Stop a job with Timeout when its deadline passes; one that is late already costs nothing."""

    async def within(job: Job) -> Outcome:
        loop = asyncio.get_running_loop()
        left = job.deadline - loop.time()
        if left <= 0:
            raise Timeout(job.timeout_seconds)
        alarm = loop.call_later(left, lambda: job.control.stop(Timeout(job.timeout_seconds)))
        try:
            return await handle(job)
        finally:
            alarm.cancel()

    return within

"""Ends a job whose deadline passed: nobody waits for it any more."""

import asyncio

from safelight.errors import Timeout
from safelight.serving.job import Handler, Job, Outcome


def deadline(handle: Handler, *, limit_seconds: float) -> Handler:
    """Raise Timeout when the job's deadline passes; what is inside is cancelled."""

    async def within(job: Job) -> Outcome:
        try:
            async with asyncio.timeout_at(job.deadline):
                return await handle(job)
        except TimeoutError:
            raise Timeout(limit_seconds) from None

    return within

"""Tries a job once more where another try may well succeed, and its deadline allows it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from safelight.errors import InvalidOutput, WorkerLost
from safelight.serving.job import Handler, Job, Outcome

_SEEDS = 2**32


def retry(handle: Handler, *, clock: Callable[[], float] | None = None) -> Handler:
    """Try a job again whose worker was lost, or whose image was not usable; once in all.

    A job that may have cost its worker the life is tried alone, so that it takes no others with it;
    an unusable image is made from another seed.
    """

    async def tried(job: Job) -> Outcome:
        try:
            return await handle(job)
        except (WorkerLost, InvalidOutput) as failed:
            now = (clock or asyncio.get_running_loop().time)()
            if job.control.stopped is not None or job.deadline <= now:
                raise
            again = (
                replace(job, alone=True)
                if isinstance(failed, WorkerLost)
                else replace(job, seed=(job.seed + 1) % _SEEDS)
            )
            return await handle(again)

    return tried

"""Retry: run a job a second time if another attempt may succeed and its deadline allows it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from safelight.errors import InvalidOutput, WorkerLost
from safelight.serving.job import Handler, Job, Outcome

_SEEDS = 2**32


def retry(handle: Handler, *, clock: Callable[[], float] | None = None) -> Handler:
    """Retry a job once if its worker was lost or its image was invalid.

    A job whose worker died is retried alone, so that it cannot take other jobs down with it. A job
    whose image was invalid is retried with another seed.
    """

    async def retried(job: Job) -> Outcome:
        try:
            return await handle(job)
        except (WorkerLost, InvalidOutput) as error:
            now = (clock or asyncio.get_running_loop().time)()
            if job.control.stopped is not None or job.deadline <= now:
                raise
            exchange = job.exchange
            exchange.retries += ((error.reason, exchange.timeline.total_seconds),)
            second = (
                replace(job, alone=True)
                if isinstance(error, WorkerLost)
                else replace(job, seed=(job.seed + 1) % _SEEDS)
            )
            return await handle(second)

    return retried

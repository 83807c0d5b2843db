"""Waking: a job that comes while the model sleeps wakes it, and waits for it until its deadline."""

import asyncio

from safelight.errors import NotReady, Overloaded
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.engine.sleeper import Sleeper
from safelight.serving.job import Handler, Job, Outcome

_RETRY_AFTER_SECONDS = 5.0


def waking(handle: Handler, sleeper: Sleeper, meter: Meter, *, limit: int) -> Handler:
    """Make jobs wait until the model is awake, at most `limit` of them; many wake it once."""

    async def awake(job: Job) -> Outcome:
        sleeper.active += 1
        try:
            if sleeper.state != "awake":
                if len(sleeper.waiting) >= limit:
                    meter.add(REJECTED, "queue_full")
                    raise _full(limit)
                await _wait(job, sleeper, meter)
            return await handle(job)
        finally:
            sleeper.left()

    return awake


async def _wait(job: Job, sleeper: Sleeper, meter: Meter) -> None:
    if job.control.stopped is not None:
        raise job.control.stopped
    try:
        waiter = sleeper.join()
        job.control.execution = waiter
        timer = asyncio.get_running_loop().call_at(job.deadline, waiter.late)
        try:
            await waiter.woken
        finally:
            timer.cancel()
            job.control.execution = None
            sleeper.waiting.discard(waiter)
            job.exchange.timeline.mark("queue")
    except NotReady:
        meter.add(REJECTED, NotReady.reason)
        raise


def _full(limit: int) -> Overloaded:
    return Overloaded(
        f"The model is being loaded, {limit} requests wait for it, and that is the limit. "
        "Retry later, or raise SAFELIGHT_QUEUE_LIMIT.",
        _RETRY_AFTER_SECONDS,
    )

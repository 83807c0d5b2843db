"""The engine: queue jobs by urgency and send each worker the jobs for its next batch.

While a worker runs a batch, it already has the jobs for its next one. The worker forms that batch
when its model is free (`worker/stage.py`). It holds jobs for at most two batches, and one more for
some further keys, so that each of these can be the next.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from safelight.errors import Cancelled, NotReady, SafelightError, Timeout, WorkerLost
from safelight.metrics.catalog import BATCH_LIMIT, BATCH_SIZE, BATCH_SPEEDUP, OUTPUT_INVALID
from safelight.metrics.registry import Meter
from safelight.serving.engine import events
from safelight.serving.engine.execution import Execution
from safelight.serving.engine.ledger import Ledger
from safelight.serving.engine.messages import jobs_message, outcome_of
from safelight.serving.engine.pool import Pool
from safelight.serving.engine.predicting import Predicting
from safelight.serving.engine.queue_entry import Lane, QueueEntry
from safelight.serving.engine.worker_handle import WorkerHandle
from safelight.serving.job import PROBE, Job, Outcome
from safelight.serving.statistics import conservative_mean
from safelight.serving.wire.schema import BatchReport, FailedResult, Result

# Lanes of jobs at a worker beside the next two batches; more if the job's caller has none there.
_LANES, _LANES_OF_ALL = 4, 8
_NONE = Counter[Lane]()
_LOSS_LIMIT = 1  # a job that waited at workers that died is sent again this often, then alone


class Batching(Predicting):
    """The innermost handler, in one event loop. `limit` returns the largest batch allowed now."""

    def __init__(
        self, pool: Pool, meter: Meter, *, limit: Callable[[], int], ledger: Ledger | None = None
    ) -> None:
        super().__init__(pool, meter, limit)
        self._meter = meter
        self._ledger = ledger or Ledger(meter, len(pool.workers))
        self._number = 0
        self._scheduled = False
        self.batch_seconds = 0.0

    @property
    def ledger(self) -> Ledger:
        """Return where its device time is counted."""
        return self._ledger

    async def __call__(self, job: Job) -> Outcome:
        """Run the job on a worker.

        Raises NotReady before the first model is loaded, WorkerLost if the worker ended while its
        model ran the job, and the error that the worker reports.
        """
        if not self._pool.was_ready:
            raise NotReady
        if job.control.stopped is not None:
            raise job.control.stopped
        self._number += 1
        loop = asyncio.get_running_loop()
        entry = QueueEntry(job, self._number, loop.create_future(), arrived_at=loop.time())
        job.exchange.queued = True
        job.control.execution = Execution(self, entry)
        self._backlog.push(entry)
        if self._pool.idle_count():
            self._dispatch()  # a device is idle: do not wait for jobs that arrive with this one
        else:
            self.schedule_dispatch()
        try:
            return await entry.result
        except asyncio.CancelledError:
            self._withdraw(entry)
            raise
        finally:
            job.control.execution = None
            job.progress.notify()

    async def probe(self, worker: WorkerHandle, job: Job) -> Outcome:
        """Run the canary's job on one idle worker. Requests go first.

        Raises Cancelled if the worker has other work or a request comes, WorkerLost, and the error
        that the worker reports.
        """
        if len(self._backlog) or not (worker.ready and worker.is_idle):
            raise Cancelled
        loop = asyncio.get_running_loop()
        entry = QueueEntry(job, self._number, loop.create_future(), arrived_at=loop.time())
        worker.send_probe(entry, jobs_message([entry], 1, (0.0, 0.0), loop.time()))
        return await entry.result

    def hold(self, share: int) -> None:
        """Count all devices as held from now on (1), or none (0)."""
        self._ledger.hold(share)

    def schedule_dispatch(self) -> None:
        """Send jobs once all events that are due now have been handled."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        while (worker := self._pool.least_busy()) and (choice := self._next(worker)):
            head, cap, room = choice
            entries = self._backlog.take(head.lane, self._fair_share(head, room))
            now = asyncio.get_running_loop().time()
            for entry in entries:
                entry.job.exchange.timeline.mark("queue")
            cost = self.curves.of(head.key).chord(cap)
            worker.send(entries, jobs_message(entries, cap, cost, now + self.delivery_seconds))
            for entry in entries:
                if entry.job.progress.listeners:
                    worker.follow(entry)

    def _next(self, worker: WorkerHandle) -> tuple[QueueEntry, int, int] | None:
        """Return the most urgent entry that the worker has room for, its batch cap, and the room.

        A worker may have its running batch and the next one, and for some lanes their next batch,
        so that each of these can be chosen. Finished jobs take no room.
        """
        held = [entry for entry in worker.outstanding.values() if entry.finished_at is None]
        counts = Counter(entry.lane for entry in held) if held else _NONE
        owners = {each.job.owner for each in held}
        for head in self._backlog.heads():
            cap = self.curves.of(head.key).cap(self._limit())
            lanes = _LANES if head.job.owner in owners else _LANES_OF_ALL
            own = cap - counts[head.lane] if head.lane in counts or len(counts) < lanes else 0
            room = max(2 * cap - counts.total(), own)
            if room > 0:
                return head, cap, room
        return None

    def _fair_share(self, head: QueueEntry, room: int) -> int:
        """Return how many jobs of a key one worker gets, so that no idle worker is left out."""
        idle = self._pool.idle_count()
        return min(room, -(-self._backlog.waiting(head.lane) // idle)) if idle > 1 else room

    def receive(self, event: events.JobEvent) -> None:
        """Handle an event about jobs, then use the room that it made."""
        match event:
            case events.JobsStarted():
                for entry in event.entries:
                    progress = entry.job.progress
                    progress.state, progress.steps = "running", entry.job.steps
                    progress.notify()
            case events.BatchFinished():
                if event.entries:
                    self._learn(list(event.entries), event.report)
            case events.JobsFinished():
                for entry, result, payload in event.results:
                    self._settle(entry, result, payload)
            case events.WorkerLost():
                self._lost(event)
            case events.WorkerReady():
                pass  # there is room now
        self.schedule_dispatch()

    def _lost(self, event: events.WorkerLost) -> None:
        """Fail the jobs that the lost worker's model had; the others wait again."""
        now = asyncio.get_running_loop().time()
        running = [e for e in event.entries if e.started and e.finished_at is None]
        for entry in event.entries:  # finished, but the result was lost with the worker
            self._ledger.add("retry", entry, entry.device_seconds)
            entry.device_seconds = 0.0
        for entry in running:
            self._ledger.add("retry", entry, (now - event.started_at) / len(running))
        for entry in event.entries:
            entry.holder, entry.losses = None, entry.losses + 1
            if entry.result.done():
                continue
            if entry.job.use == PROBE:
                entry.result.set_exception(WorkerLost())
                continue
            entry.job.exchange.timeline.mark("denoise" if entry.started else "queue")
            if entry in running or (entry.losses > _LOSS_LIMIT and not entry.job.alone):
                entry.result.set_exception(WorkerLost())
            else:
                self._backlog.push(entry)

    def _learn(self, entries: list[QueueEntry], report: BatchReport) -> None:
        n, seconds = len(entries), report.seconds
        if entries[0].job.use == PROBE:
            self._ledger.add(PROBE, entries[0], seconds)
            entries[0].job.progress.device_seconds += seconds
            return
        key, units = entries[0].key, entries[0].job.units
        self._meter.observe(BATCH_SIZE, report.stop_reason, value=n)
        if report.fits:
            self.curves.lower(key, report.fits)
        if report.fits or report.again:
            for entry in entries:
                self._ledger.add("retry", entry, seconds / n)
        else:
            now = asyncio.get_running_loop().time()
            for entry in entries:
                entry.finished_at = now
                entry.device_seconds += seconds / n
                entry.job.progress.device_seconds += seconds / n
        if report.complete:
            self.curves.learn(key, n, seconds, units)
            self.batch_seconds += 0.2 * (seconds - self.batch_seconds)
        curve = self.curves.of(key)
        cap = curve.cap(self._limit())
        self._meter.set(BATCH_LIMIT, value=cap)
        self._meter.set(BATCH_SPEEDUP, value=curve.speedup(cap))

    def _settle(self, entry: QueueEntry, result: Result, payload: bytes) -> None:
        """Complete a job with its result, if its caller still waits."""
        outcome = outcome_of(entry.job, result, payload)
        if entry.job.use == PROBE:
            _complete(entry, outcome)
            return
        self._ledger.settle(entry, outcome)
        if entry.finished_at is not None:
            seconds = asyncio.get_running_loop().time() - entry.finished_at
            self.delivery_seconds = conservative_mean(self.delivery_seconds, seconds)
        if isinstance(result, FailedResult) and result.invalidity is not None:
            self._meter.add(OUTPUT_INVALID, result.invalidity)
        if entry.result.done():
            return
        exchange = entry.job.exchange
        exchange.timeline.split(result.parts, rest="transfer", began=result.began)
        exchange.background_entropy = result.entropy_bits
        if result.call is not None:
            exchange.calls += (result.call,)
        self._compare(entry.job)
        _complete(entry, outcome)

    def stop(self, entry: QueueEntry, error: SafelightError) -> None:
        """Make a job fail with `error`, and free what it holds."""
        if not entry.result.done():
            self._compare(entry.job)
            if isinstance(error, Timeout):
                self._late(entry)
            entry.result.set_exception(error)
            self._withdraw(entry)

    def abandon(self) -> None:
        """Fail the jobs that wait: no worker will come for them."""
        for entry in list(self._backlog):
            self._backlog.remove(entry)
            if not entry.result.done():
                entry.result.set_exception(WorkerLost())

    def position(self, entry: QueueEntry) -> int:
        """Return how many waiting jobs are more urgent."""
        return self._backlog.position(entry)

    def _withdraw(self, entry: QueueEntry) -> None:
        """Remove a job that no caller waits for."""
        entry.job.exchange.timeline.mark("denoise" if entry.started else "queue")
        if entry.holder is not None:
            entry.holder.cancel(entry)
        elif not entry.removed:
            self._backlog.remove(entry)


def _complete(entry: QueueEntry, outcome: Outcome | SafelightError) -> None:
    """Give a job its result, unless it has one already."""
    if entry.result.done():
        return
    if isinstance(outcome, SafelightError):
        entry.result.set_exception(outcome)
    else:
        entry.result.set_result(outcome)

"""Gives jobs to workers: the most urgent first, as many at once as pays, and never too early.

A worker is given as many jobs of one key as its next batch may hold, while it makes the one before;
it puts its batch together when its model is free (`stage.py`). So no timer waits for a batch to
fill, and no job waits in a worker's hands behind more than one batch.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from safelight.errors import NotReady, SafelightError, WorkerLost
from safelight.metrics.catalog import (
    BATCH_LIMIT,
    BATCH_SIZE,
    BATCH_SPEEDUP,
    OUTPUT_INVALID,
    QUEUE_DEPTH,
    QUEUED_WORK,
)
from safelight.metrics.registry import Meter
from safelight.serving.engine.backlog import Backlog
from safelight.serving.engine.curve import Curves
from safelight.serving.engine.ledger import Ledger
from safelight.serving.engine.messages import as_call, as_message, as_result
from safelight.serving.engine.pool import Pool
from safelight.serving.engine.queue_entry import Ticket
from safelight.serving.engine.worker_handle import Slot
from safelight.serving.job import Job, Outcome
from safelight.serving.statistics import wary
from safelight.serving.wire.protocol import Message

_MOST_OPTIMISM = 3.0
_MOST_LOSSES = 1  # a job that was only near when workers died is tried again this often


class Batching:
    """The handler that all policies are wrapped around. Belongs to one event loop.

    `limit` tells the largest batch allowed at the moment.
    """

    def __init__(self, pool: Pool, meter: Meter, *, limit: Callable[[], int]) -> None:
        self._pool = pool
        self._meter = meter
        self._limit = limit
        self._ledger = Ledger(meter)
        self._backlog = Backlog()
        self._number = 0
        self._scheduled = False
        self.curves = Curves()
        self.batch_seconds = 0.0
        self._predicted = 0.0
        self._optimism = 1.0
        self._delivery_seconds = 0.0
        pool.hand_to(self)
        meter.child(QUEUE_DEPTH).set_function(lambda: self.waiting)
        # As last predicted: a scrape is written by another thread, which must not walk our tickets.
        meter.child(QUEUED_WORK).set_function(lambda: self._predicted if self.under_way else 0.0)

    @property
    def waiting(self) -> int:
        """Return how many jobs wait: for a worker, or in its hands for its model."""
        return len(self._backlog) + sum(slot.staged for slot in self._pool.slots)

    @property
    def under_way(self) -> int:
        """Return how many jobs wait or run."""
        return len(self._backlog) + sum(len(slot.outstanding) for slot in self._pool.slots)

    @property
    def work_seconds(self) -> float:
        """Return the predicted time until all that waits or runs now is done."""
        self._predicted = self._ahead(None)
        return self._predicted

    async def __call__(self, job: Job) -> Outcome:
        """Have a worker do the job.

        Raises NotReady before the first model is loaded, WorkerLost where the worker ended with the
        job, and whatever the worker says went wrong.
        """
        if not self._pool.was_ready:
            raise NotReady
        if job.control.stopped is not None:
            raise job.control.stopped
        self._number += 1
        ticket = Ticket(job, self._number, asyncio.get_running_loop().create_future())
        job.exchange.queued = True
        job.control.on_stop = partial(self._stop, ticket)
        job.control.on_follow = partial(self._follow, ticket)
        job.control.place = partial(self._backlog.place, ticket)
        self._backlog.push(ticket)
        if self._pool.at_rest():
            self._give()  # a device idles: not even those that arrive with it are waited for
        else:
            self.room()
        try:
            return await ticket.answer
        except asyncio.CancelledError:
            self._withdraw(ticket)
            raise
        finally:
            job.control.on_stop = job.control.on_follow = None
            job.progress.tell()

    def at_most_seconds(self, job: Job) -> float:
        """Return a bound of the time until the job would be done: everything, one by one."""
        return self.curves.at_most(job.key, job.units) * (self.under_way + 1)

    def predicted_seconds(self, job: Job, rank: int) -> float:
        """Return the time from now until the job would be done, behind all at least as urgent."""
        now = asyncio.get_running_loop().time()
        seconds = self._ahead(rank) + self.curves.seconds(job.key, 1, job.units, self._limit())
        job.expected = now, seconds
        return seconds * max(self._optimism, 1 + self.curves.of(job.key).doubt)

    # ── Giving jobs out ──────────────────────────────────────────────────────────────────────────

    def room(self) -> None:
        """Give jobs out once all that arrives now is here."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        self._scheduled = False
        while (slot := self._pool.freest()) and (given := self._next(slot)):
            head, cap, room = given
            tickets = self._backlog.take(head.key, self._fair(head, room))
            now = asyncio.get_running_loop().time()
            for ticket in tickets:
                ticket.job.exchange.timeline.mark("queue")
            cost = self.curves.of(head.key).cautious()
            slot.send(tickets, as_message(tickets, cap, cost, now + self._delivery_seconds))
            for ticket in tickets:
                if ticket.job.progress.listeners:
                    slot.follow(ticket)

    def _next(self, slot: Slot) -> tuple[Ticket, int, int] | None:
        """Return the most urgent ticket of which a worker can have more, its key's cap, and room.

        A worker has a batch in its model and the next, and of any key the next, so that none is
        kept from being chosen; what is made already takes no room.
        """
        hands = Counter(t.key for t in slot.outstanding.values() if t.made_at is None)
        for head in self._backlog.heads():
            cap = self.curves.of(head.key).cap(self._limit())
            room = max(2 * cap - hands.total(), cap - hands[head.key])
            if room > 0:
                return head, cap, room
        return None

    def _fair(self, head: Ticket, room: int) -> int:
        """Return how many of a key one worker gets, so that none is left idle."""
        idle = sum(slot.ready and not slot.outstanding for slot in self._pool.slots)
        return min(room, -(-self._backlog.waiting(head.key) // idle)) if idle > 1 else room

    # ── Hearing what becomes of them ─────────────────────────────────────────────────────────────

    def started(self, tickets: Sequence[Ticket]) -> None:
        """Hear that the model has these jobs now: there is room for the next."""
        for ticket in tickets:
            progress = ticket.job.progress
            progress.state, progress.steps = "running", ticket.job.steps
            progress.tell()
        self.room()

    def results(self, slot: Slot, message: Message) -> None:
        """Hear what came of jobs, and what their batch cost."""
        ran = message.fields["ran"]
        if ran is not None:
            self._learn(slot, ran)
        for fields, payload in zip(message.fields["results"], message.payloads, strict=True):
            ticket = slot.release(fields["id"])
            if ticket is not None:
                self._settle(ticket, fields, payload)
        self.room()

    def lost(self, slot: Slot, tickets: Sequence[Ticket]) -> None:
        """Hear that a worker is gone: jobs that its model had are lost, the others wait again."""
        now = asyncio.get_running_loop().time()
        running = [ticket for ticket in tickets if ticket.started and ticket.made_at is None]
        for ticket in tickets:  # made, and lost on the way
            self._ledger.enter("retry", ticket.device_seconds)
            ticket.device_seconds = 0.0
        for _ in running:
            self._ledger.enter("retry", (now - slot.started_at) / len(running))
        for ticket in tickets:
            ticket.holder, ticket.losses = None, ticket.losses + 1
            if ticket.answer.done():
                continue
            ticket.job.exchange.timeline.mark("denoise" if ticket.started else "queue")
            if ticket in running or ticket.losses > _MOST_LOSSES:
                ticket.answer.set_exception(WorkerLost())
            else:
                self._backlog.push(ticket)
        self.room()

    def _learn(self, slot: Slot, ran: dict[str, object]) -> None:
        tickets = [t for i in ran["ids"] if (t := slot.outstanding.get(i)) is not None]  # type: ignore[attr-defined]
        n, seconds = len(tickets), float(ran["seconds"])  # type: ignore[arg-type]
        if not tickets:
            return
        key, units = tickets[0].key, tickets[0].job.units
        self._meter.observe(BATCH_SIZE, str(ran["stop_reason"]), value=n)
        if ran.get("fits"):
            self.curves.lower(key, int(ran["fits"]))  # type: ignore[call-overload]
            self._ledger.enter("retry", seconds)
        else:
            for ticket in tickets:
                ticket.made_at = asyncio.get_running_loop().time()
                ticket.device_seconds += seconds / n
        if ran["whole"]:
            self.curves.learn(key, n, seconds, units)
            self.batch_seconds += 0.2 * (seconds - self.batch_seconds)
        curve = self.curves.of(key)
        cap = curve.cap(self._limit())
        self._meter.set(BATCH_LIMIT, value=cap)
        self._meter.set(BATCH_SPEEDUP, value=curve.speedup(cap))

    def _settle(self, ticket: Ticket, fields: dict[str, object], payload: bytes) -> None:
        """Give a job its answer, if anybody still waits for it."""
        outcome = as_result(ticket.job, fields, payload)
        self._ledger.settle(ticket, outcome)
        if ticket.made_at is not None:
            taken = asyncio.get_running_loop().time() - ticket.made_at
            self._delivery_seconds = wary(self._delivery_seconds, taken)
        if "invalidity" in fields:
            self._meter.add(OUTPUT_INVALID, str(fields["invalidity"]))
        if ticket.answer.done():
            return
        exchange = ticket.job.exchange
        exchange.timeline.split(fields["stages"], rest="transfer")  # type: ignore[arg-type]
        exchange.background_entropy = fields["entropy"]  # type: ignore[assignment]
        if fields["call"] is not None:
            exchange.calls += (as_call(fields["call"], exchange.instruction_type),)  # type: ignore[arg-type]
        self._compare(ticket.job)
        if isinstance(outcome, SafelightError):
            ticket.answer.set_exception(outcome)
        else:
            ticket.answer.set_result(outcome)

    def _compare(self, job: Job) -> None:
        """Learn from a job that took longer than was predicted when it was let in."""
        if job.expected is None:
            return
        then, seconds = job.expected
        ratio = (asyncio.get_running_loop().time() - then) / max(seconds, 1e-3)
        ratio = min(max(ratio, 1.0), _MOST_OPTIMISM)
        self._optimism = wary(self._optimism, ratio)

    # ── Stopping and following ───────────────────────────────────────────────────────────────────

    def _stop(self, ticket: Ticket, error: SafelightError) -> None:
        if not ticket.answer.done():
            self._compare(ticket.job)
            ticket.answer.set_exception(error)
            self._withdraw(ticket)

    def _withdraw(self, ticket: Ticket) -> None:
        """Take a job back that nobody waits for any more."""
        ticket.job.exchange.timeline.mark("denoise" if ticket.started else "queue")
        if ticket.holder is not None:
            ticket.holder.withdraw(ticket)
        elif not ticket.gone:
            self._backlog.remove(ticket)

    def _follow(self, ticket: Ticket) -> None:
        if ticket.holder is not None:
            ticket.holder.follow(ticket)

    # ── Predicting ───────────────────────────────────────────────────────────────────────────────

    def _ahead(self, rank: int | None) -> float:
        """Return the time until what is in the workers' hands is done, and what waits up to a rank.

        Of what a model has now, what it had time for already is taken off.
        """
        now, seconds, most = asyncio.get_running_loop().time(), self.curves.seconds, self._limit()
        total = sum(seconds(key, n, units, most) for key, n, units in self._backlog.ahead(rank))
        for slot in self._pool.slots:
            kinds = Counter((t.key, t.job.units, t.started) for t in slot.outstanding.values())
            for (key, units, started), number in kinds.items():
                needed = seconds(key, number, units, most)
                total += max(0.0, needed - (now - slot.started_at)) if started else needed
        return total / max(1, self._pool.ready_now())

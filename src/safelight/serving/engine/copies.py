"""Copy a share of requests to the second model after their answer was sent, and compare.

No caller notices: a copy begins when the service rests, and stops for a request. One copied
request waits or runs at a time.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Literal

import structlog

from safelight.errors import (
    Cancelled,
    HostOutOfMemory,
    ModelFailure,
    NotReady,
    OutOfMemory,
    Timeout,
    WorkerLost,
)
from safelight.guard.budget import Budget
from safelight.guard.pairs import Pair, plain
from safelight.guard.shadow import Comparison
from safelight.metrics.catalog import SHADOW, SHADOW_DIFFERENCE, SHADOW_LATENCY
from safelight.metrics.registry import Meter
from safelight.serving.engine.pairing import USE, Candidate, Run, copy_of, pair_of, resources
from safelight.serving.engine.rest import Rest
from safelight.serving.engine.slot import Slot
from safelight.serving.job import Handler, Job, Outcome
from safelight.settings import Settings, environment_name
from safelight.telemetry.counterpart import Counterpart
from safelight.telemetry.record import Record

_PENDING = 8  # requests whose answer is not sent yet
_LIMIT_BYTES = 4_000_000  # of one of them, with its output
_RECENT = 100  # pairs that are shown
_LOSSES = 3  # of the second model's workers in a row
_FIRST = 2  # runs of the second model whose time does not count: it is not warm yet
log = structlog.get_logger("safelight")

End = Literal["compared", "dropped", "stopped", "failed"]


class Copies:
    """Runs copies. `idle` returns whether no request waits or runs. Belongs to one event loop."""

    def __init__(
        self, settings: Settings, first: Handler, slot: Slot, meter: Meter, idle: Callable[[], bool]
    ) -> None:
        self.slot = slot
        self.comparison = Comparison()
        self.recent: deque[Pair] = deque(maxlen=_RECENT)
        self.counts: dict[str, int] = dict.fromkeys(("compared", "dropped", "stopped", "failed"), 0)
        self.ended = _never(settings)  # why no more copies are made
        self.budget = Budget(settings.shadow_seconds_per_hour)
        self.keep: Callable[[Counterpart], None] | None = None  # beside the request's record
        self._settings = settings
        self._first = first
        self._idle = idle
        self._meter = meter
        self.random = Random()
        self._pending: OrderedDict[str, Candidate] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._running: Job | None = None
        self._on_first = False  # the running copy is one of the first model
        self._copied = ""  # the id of the request whose copy runs
        self._freeing: asyncio.Task[None] | None = None
        self._again = True  # the third arm
        self.rest = Rest(idle)
        self._second_seconds = 0.0  # the second model's last copy
        self._losses = self._runs = 0
        self._charged = 0.0
        if slot.is_set:
            meter.start_at_zero(SHADOW)

    @property
    def finished(self) -> bool:
        """Return whether no copy runs and none will."""
        return bool(self.ended) and self._task is None

    # ── From the requests ────────────────────────────────────────────────────────────────────────

    def enter(self) -> None:
        """Stop a copy that is in the way of a request that arrives, at its next step."""
        self.rest.arrived()
        if self._running is not None and (self._on_first or self.slot.shares_device):
            self._running.control.stop(Cancelled())

    def offer(self, job: Job, outcome: Outcome | None) -> None:
        """Consider a request that the first model served, or failed (None)."""
        if self.ended or not self.slot.ready or job.place or job.use:
            return
        if len(job.image) + len(outcome.image if outcome else b"") > _LIMIT_BYTES:
            return
        if self.random.random() >= self._settings.shadow_ratio:
            return
        self._pending[job.request_id] = Candidate(job, outcome)
        if len(self._pending) > _PENDING:
            self._pending.popitem(last=False)
            self._count("dropped")

    def answered(self, record: Record) -> None:
        """Copy a request whose answer was sent, as soon as the service rests."""
        self.rest.answered()
        candidate = self._pending.pop(record.facts.id, None)
        if candidate is None or self.ended:
            return
        is_long = self._is_long(candidate.job)
        if self._task is not None or is_long or not self._may_pay():
            self.rest.missed += self.rest.is_wanted or is_long
            self._count("dropped")
            return
        self._copied = record.facts.id
        self._task = asyncio.create_task(self._copy(candidate), name="safelight-shadow")
        self._task.add_done_callback(self._done)

    def _is_long(self, job: Job) -> bool:
        """Return whether requests would often wait for a copy. The longest run so far counts."""
        seconds = max(job.progress.device_seconds, self._second_seconds)
        return self.slot.shares_device and not self.rest.fits(job, seconds)

    def forget(self, request_id: str) -> None:
        """Delete everything about a request; its sums name nobody and stay."""
        self._pending.pop(request_id, None)
        kept = [pair for pair in self.recent if pair.request_id != request_id]
        self.recent = deque(kept, _RECENT)
        if self._copied == request_id and self._task is not None:
            self._task.cancel()

    async def stop(self, reason: str) -> None:
        """Make no more copies."""
        self.ended = self.ended or reason
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # ── A copy ───────────────────────────────────────────────────────────────────────────────────

    def _may_run(self) -> bool:
        return (self._idle() or not self.slot.shares_device) and self._may_pay()

    def _may_pay(self) -> bool:
        spent = self.slot.ledger.spent[USE]
        self.budget.spend(spent - self._charged)
        self._charged = spent  # what a stopped copy cost is known later
        return self.slot.ready and self.budget.allows(asyncio.get_running_loop().time())

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._task, self._running, self._copied = None, None, ""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._count("failed")
            log.error("copy failed", exc_info=error)

    async def _copy(self, candidate: Candidate) -> None:
        """Run a request again on the second model, and every second one on the first too."""
        if self.slot.shares_device:
            await self.rest.wait(lambda: bool(self.ended))
        again = candidate.first is not None and self._again and self.comparison.pairs % 2 == 0
        arms: list[Literal["first", "second"]] = ["second", *(("first",) if again else ())]
        self.random.shuffle(arms)
        runs: dict[str, Run] = {}
        try:
            for arm in arms:
                if self.ended or not self._may_run() or (arm == "first" and not self._idle()):
                    raise Cancelled  # noqa: TRY301 - one place counts what did not come to an end
                runs[arm] = await self._run(candidate.job, arm)
        except (Cancelled, NotReady):
            self.rest.missed += 1
            self._count("stopped")
            return
        await self._compare(candidate, runs["second"], runs.get("first"))

    async def _run(self, job: Job, arm: Literal["first", "second"]) -> Run:
        """Run a copy of a job. Raises Cancelled if a request stopped it."""
        steps = self._settings.shadow_steps if arm == "second" else 0
        now = asyncio.get_running_loop().time()
        copy = copy_of(job, steps, now + self._settings.request_timeout_seconds)
        self._running, self._on_first = copy, arm == "first"
        handle: Handler = self._first if arm == "first" else self.slot
        try:
            outcome = await handle(copy)
        except (ModelFailure, WorkerLost, Timeout) as error:
            await self._failed(arm, error)
            return Run(None)
        finally:
            self._running = None
        if arm == "second":
            self._losses, self._runs = 0, self._runs + 1
            self._second_seconds = copy.progress.device_seconds
        warms_up = any(call.warm_up for call in copy.exchange.calls)
        is_cold = arm == "second" and self._runs <= _FIRST
        return Run(outcome, None if warms_up or is_cold else copy.progress.device_seconds)

    async def _failed(self, arm: str, error: Exception) -> None:
        """Stop the second model if it keeps dying, or takes the memory of the first."""
        if arm == "first" and isinstance(error, OutOfMemory | HostOutOfMemory):
            await self.out_of_memory()
        elif arm == "first" and isinstance(error, WorkerLost):
            self._again = False  # never twice: callers need this worker
        elif arm == "second" and isinstance(error, WorkerLost):
            self._losses += 1
            if self._losses >= _LOSSES:
                await self._give_up(f"Its worker was lost {self._losses} times in a row.")

    async def out_of_memory(self) -> bool:
        """Free the memory of the second model; return whether that may help the first.

        All who ask at once wait for the same end.
        """
        if self._freeing is None:
            if not self.slot.holds_memory:
                return False
            text = "The served model ran out of memory on the device that both share."
            self._freeing = asyncio.create_task(self._give_up(text), name="safelight-freeing")
            self._freeing.add_done_callback(self._freed)
        await asyncio.shield(self._freeing)
        return True

    def _freed(self, _task: "asyncio.Task[None]") -> None:
        self._freeing = None

    async def _give_up(self, problem: str) -> None:
        self.ended = problem
        await self.slot.stop(problem)

    # ── A pair ───────────────────────────────────────────────────────────────────────────────────

    async def _compare(self, candidate: Candidate, second: Run, again: Run | None) -> None:
        job, first = candidate.job, candidate.first
        pair, image = await pair_of(self.slot, job, first, second.outcome)
        if again is not None:
            own, _ = await pair_of(self.slot, job, first, again.outcome)
            self.comparison.add_again(own)
            pair = replace(
                pair, values={**pair.values, **resources(self.slot, second.seconds, again.seconds)}
            )
        self.comparison.add(pair)
        self.recent.append(pair)
        if self.keep is not None:
            self.keep(Counterpart(pair.request_id, self.slot.described, plain(pair.values), image))
        self._conclude(pair)

    def _conclude(self, pair: Pair) -> None:
        """Count the pair, and end the test when it is decided."""
        verdict = self.comparison.verdict()
        self.counts["compared"] += 1
        self._meter.add(SHADOW, verdict)
        rows = {row.measure: row for row in self.comparison.rows() if row.instruction_type == "all"}
        for name, metric in (("latency", SHADOW_LATENCY), ("image_difference", SHADOW_DIFFERENCE)):
            if name in rows and name in pair.values:
                self._meter.set(metric, value=rows[name].value)
        if verdict != "undecided":
            self.ended = f"It is decided: the second model is {verdict}."
        elif self.comparison.pairs >= self._settings.shadow_pairs:
            self.ended = f"{self.comparison.pairs} pairs decided nothing."
        if self.ended:
            log.info(
                "shadow test ended",
                **{"safelight.model.model": self.slot.name, "safelight.reason": self.ended},
            )

    def _count(self, end: End) -> None:
        self.counts[end] += 1
        self._meter.add(SHADOW, end)


def _never(settings: Settings) -> str:
    """Return why no copy will ever be made; empty if some will."""
    for name in ("shadow_ratio", "shadow_seconds_per_hour"):
        if not getattr(settings, name):
            return f"{environment_name(name)} is 0: nothing is copied."
    return ""

"""Give a rollout's share of the callers the second model, and carry its decisions out.

A request that the second model fails is run again on the first, so no caller pays for a rollout.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from time import time

import msgspec
import structlog

from safelight.errors import (
    ModelFailure,
    NotReady,
    RolloutConflict,
    SafelightError,
    Timeout,
    WorkerLost,
)
from safelight.guard.arms import SCORE, Arm
from safelight.guard.owners import cluster_of
from safelight.guard.rollout import ENDED, Decision, Plan, Rollout
from safelight.metrics.catalog import ROLLBACKS, ROLLOUT
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.serving.engine.slot import Slot
from safelight.serving.job import Handler, Job, Outcome
from safelight.telemetry.assessment import Assessment

_DRAIN_SECONDS = 30.0  # until the second model is ended after a rollback
_REMEMBERED = 10_000  # requests in the owners' records, before they fade
_AWAITED = 1000  # requests whose score may still come
log = structlog.get_logger("safelight")


class Split:
    """The innermost handler. Belongs to one event loop. `file` keeps the state for a restart."""

    def __init__(
        self,
        first: Handler,
        slot: Slot,
        meter: Meter,
        file: Path,
        *,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self.slot = slot
        self.rollout: Rollout | None = None
        self._first = first
        self._meter = meter
        self._file = file
        self._wall_clock = wall_clock
        self._guard = Guard("rollout", meter.probe_failed)
        self._draining: asyncio.Task[None] | None = None
        self._before = Arm()  # what the first model did for each owner
        self._clusters: OrderedDict[str, int | None] = OrderedDict()  # by request id
        if slot.is_set:
            meter.set(ROLLOUT, value=0.0)
            meter.start_at_zero(ROLLBACKS)

    @property
    def active(self) -> bool:
        """Return whether the second model serves callers, or will."""
        return self.rollout is not None and self.rollout.status not in ENDED

    @property
    def draining(self) -> bool:
        """Return whether the second model ends when its jobs are done."""
        return self._draining is not None

    async def __call__(self, job: Job) -> Outcome:
        """Run a job on the model that its owner gets now."""
        rollout = self.rollout
        if job.use:
            return await self._first(job)
        if rollout is None or not self.slot.ready or not rollout.serves(job.owner, job.request_id):
            return await self._on_first(job, rollout)
        try:
            outcome = await self.slot(job)
        except SafelightError as error:
            return await self._after_failure(job, rollout, error)
        self._count_second(rollout, job, ok=True)
        return outcome

    async def _on_first(self, job: Job, rollout: Rollout | None) -> Outcome:
        try:
            outcome = await self._first(job)
        except (ModelFailure, WorkerLost, Timeout):
            self._count_first(rollout, job, ok=False)
            raise
        self._count_first(rollout, job, ok=True)
        return outcome

    async def _after_failure(self, job: Job, rollout: Rollout, error: SafelightError) -> Outcome:
        """Run a job on the first model. If that fails too, the second one was not at fault.

        No error of the second model leaves this: the policies around would count it for the first.
        """
        if job.control.stopped is not None or job.deadline <= asyncio.get_running_loop().time():
            ended = job.control.stopped or Timeout(job.timeout_seconds)
            if isinstance(ended, Timeout):
                self._count_second(rollout, job, ok=False)
            raise ended from error
        exchange = job.exchange
        exchange.retries += ((error.reason, exchange.timeline.total_seconds),)
        # A job that its worker died of runs alone; one whose worker was told to end need not.
        is_suspect = isinstance(error, WorkerLost) and self.slot.state == "ready"
        try:
            outcome = await self._first(replace(job, alone=job.alone or is_suspect))
        except (ModelFailure, WorkerLost):
            rollout.ran_again(job.owner, ok=False)
            raise
        if not isinstance(error, NotReady):  # it was asked to stop
            rollout.ran_again(job.owner, ok=True)
            self._count_second(rollout, job, ok=False)
        return outcome

    def assessed(self, assessment: Assessment, *, by_second: bool) -> None:
        """Take the score of an output."""
        if assessment.score is None:
            return
        owner = self._clusters.pop(assessment.request_id, None)
        if not by_second:
            self._before.learn(SCORE, assessment.score, owner)
        if self.rollout is not None and self.active:
            arm = self.rollout.b if by_second else self.rollout.a
            arm.measure(SCORE, assessment.score, owner)

    def _count_first(self, rollout: Rollout | None, job: Job, *, ok: bool) -> None:
        with self._guard:
            seconds = _seconds_per_unit(job) if ok else None
            self._before.add(ok=ok, seconds_per_unit=seconds, owner=self._cluster(job))
            if self._before.n >= _REMEMBERED:
                self._before.fade()
            if rollout is not None and rollout is self.rollout and self.active:
                rollout.add_first(job.owner, ok=ok, seconds_per_unit=seconds)

    def _count_second(self, rollout: Rollout, job: Job, *, ok: bool) -> None:
        if rollout is not self.rollout or not self.active:
            return
        with self._guard:
            self._cluster(job)
            seconds = _seconds_per_unit(job) if ok else None
            rollout.add_second(job.owner, ok=ok, seconds_per_unit=seconds)
            self._act(rollout.decide(self._wall_clock()))

    def _cluster(self, job: Job) -> int | None:
        """Return the cluster of a job's owner, and keep it for the score, which comes later."""
        cluster = cluster_of(job.owner)
        self._clusters[job.request_id] = cluster
        if len(self._clusters) > _AWAITED:
            self._clusters.popitem(last=False)
        return cluster

    # ── Operators ────────────────────────────────────────────────────────────────────────────────

    def checked(self, plan: Plan) -> Plan:
        """Return a plan with the model's full name. Raises RolloutConflict if it cannot start."""
        slot = self.slot
        if self.active:
            raise RolloutConflict(
                "A rollout is in progress. Abort it first: safelight rollout abort."
            )
        if plan.model not in (slot.settings.model, slot.name, slot.described):
            raise RolloutConflict(
                f"The second model of this service is {slot.name or 'not set'}. Start the "
                "service with the model that you want: safelight serve A --shadow B."
            )
        if slot.state == "failed":
            raise RolloutConflict(f"The second model is not usable: {slot.problem}")
        return replace(plan, model=slot.settings.model)

    def start(self, plan: Plan) -> Rollout:
        """Begin a rollout of the second model, as it was checked."""
        self.rollout = Rollout(plan, before=deepcopy(self._before))
        self._act(self.rollout.start(self._wall_clock()))
        return self.rollout

    def pause(self) -> Rollout:
        """Stay at the present step. Raises RolloutConflict."""
        rollout = self._present()
        self._act(rollout.pause(self._wall_clock()))
        return rollout

    def resume(self) -> Rollout:
        """Decide again about the next step. Raises RolloutConflict."""
        rollout = self._present()
        if rollout.status != "paused":
            raise RolloutConflict("The rollout is not paused.")
        self._act(rollout.resume(self._wall_clock()))
        return rollout

    def promote(self) -> Rollout:
        """Go to the next step. Raises RolloutConflict."""
        rollout = self._present()
        if not self.slot.ready:
            raise RolloutConflict("The second model is not loaded yet.")
        self._act(rollout.promote(self._wall_clock()))
        return rollout

    def abort(self) -> Rollout:
        """Give all callers the first model again. Raises RolloutConflict."""
        if self.rollout is None or not self.active:
            raise RolloutConflict("No rollout is in progress.")
        self._act(self.rollout.abort(self._wall_clock()))
        return self.rollout

    def failed(self, problem: str) -> None:
        """Roll back because the second model is not usable any more."""
        if self.rollout is not None and self.active:
            self._act(self.rollout.roll_back(self._wall_clock(), problem))

    def _present(self) -> Rollout:
        if self.rollout is None or self.rollout.status not in ("running", "paused"):
            raise RolloutConflict(
                "No rollout is in progress. Start one: safelight rollout start B."
            )
        return self.rollout

    def _act(self, decision: Decision | None) -> None:
        """Carry a decision out: it holds from the next request on."""
        rollout = self.rollout
        if decision is None or rollout is None:
            return
        self._meter.set(ROLLOUT, value=rollout.percent / 100)
        if decision.action == "roll_back":
            self._meter.add(ROLLBACKS)
        log.info(
            "rollout decided",
            **{
                "safelight.model.model": self.slot.name,
                "safelight.decision": decision.action,
                "safelight.reason": decision.reason,
                "safelight.percent": decision.percent,
            },
        )
        self.save()
        if not self.active and self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="safelight-rollback")

    async def _drain(self) -> None:
        """End the second model when its jobs are done; those that last too long run elsewhere."""
        end = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        while (engine := self.slot.engine) is not None and engine.in_progress:
            if asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(0.1)
        self._draining = None
        if not self.active:
            await self.slot.stop()

    # ── Restart ──────────────────────────────────────────────────────────────────────────────────

    def save(self) -> None:
        """Write the state. A failure is logged: the rollout goes on."""
        if self.rollout is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(self.rollout))
            new.replace(self._file)
        except OSError as error:
            log.warning("rollout state not written", **{"error.message": str(error)})

    def restore(self) -> None:
        """Continue the rollout of before a restart, if it is one of this second model."""
        try:
            rollout = msgspec.json.decode(self._file.read_bytes(), type=Rollout)
        except FileNotFoundError:
            return
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("rollout state not read", **{"error.message": str(error)})
            return
        if rollout.plan.model != self.slot.settings.model:
            log.warning(
                "rollout state not read", **{"error.message": "It is one of another second model."}
            )
            return
        self.rollout = rollout
        self._meter.set(ROLLOUT, value=rollout.percent / 100)


def _seconds_per_unit(job: Job) -> float | None:
    """Return the device time of a job that ran once and alone; None for others.

    A share of a batch's time depends on the batch's size, and two models have other sizes.
    """
    calls, seconds = job.exchange.calls, job.progress.device_seconds
    ran_alone = bool(calls) and all(each.batch == 1 and not each.warm_up for each in calls)
    if not ran_alone or job.exchange.retries or seconds <= 0:
        return None
    return seconds / job.units

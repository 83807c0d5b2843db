"""The second model of a service: its slot, the copies that compare it, and its rollout."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from safelight.errors import BadSetting, RolloutConflict
from safelight.guard.rollout import Plan, Rollout
from safelight.metrics.catalog import QUEUE_DEPTH
from safelight.metrics.registry import Meter
from safelight.models.backend import shown_name
from safelight.serving.engine.batching import Batching
from safelight.serving.engine.copies import Copies
from safelight.serving.engine.pool import Pool
from safelight.serving.engine.shadowing import shadowing
from safelight.serving.engine.slot import Slot
from safelight.serving.engine.split import Split
from safelight.serving.job import Handler
from safelight.settings import Settings, environment_name
from safelight.telemetry.assessment import Assessment, Assessor

_CHECK_SECONDS = 0.2
_ASKED_SECONDS = 600.0  # for which a second model that was loaded for a rollout waits for it
_ROLLOUT = "A rollout began: callers compare the models now."


class SecondModel:
    """Everything about model B. `idle` returns whether no request waits or runs."""

    def __init__(
        self,
        settings: Settings,
        engine: Batching,
        pool: Pool,
        meter: Meter,
        idle: Callable[[], bool],
        assessors: Sequence[Assessor] = (),
    ) -> None:
        _check(settings)
        self._engine = engine
        self._settings = settings
        self._pool = pool
        self.slot = Slot(settings, engine.ledger, pool, (*assessors, self._assess_second))
        state = settings.state_folder / f"rollout-{settings.namespace}.json"
        self.split = Split(engine, self.slot, meter, state)
        self.copies = Copies(settings, engine, self.slot, meter, idle)
        if self.slot.is_set:
            depth = meter.child(QUEUE_DEPTH)
            depth.set_function(lambda: engine.waiting + self.slot.waiting)
        self._task: asyncio.Task[None] | None = None
        self._clock: Callable[[], float] = monotonic
        self._asked_at = -_ASKED_SECONDS

    @property
    def handler(self) -> Handler:
        """Return the innermost handler of the service; without a second model, the engine."""
        return shadowing(self.split, self.copies) if self.slot.is_set else self._engine

    def keeps_awake(self) -> str:
        """Return why the first model must not sleep; empty if it may."""
        return "" if self.slot.pool is None else "A second model is loaded beside it."

    def start(self) -> None:
        """Load the second model, if there is one, as soon as the first one serves."""
        if not self.slot.is_set:
            return
        self.split.restore()
        if self.split.active:
            self.copies.ended = _ROLLOUT
        self._task = asyncio.create_task(self._watch(), name="safelight-second-model")

    async def stop(self) -> None:
        """End the second model."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self.split.save()
        await self.copies.stop("The service stops.")
        await self.slot.stop()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            is_needed = self.split.active or not self.copies.ended or self._is_asked_for
            if self.slot.state == "off" and self._pool.ready and is_needed:
                self.slot.start()
            self.slot.check()
            if self.slot.state == "failed":
                self.copies.ended = self.copies.ended or self.slot.problem
                self.split.failed(self.slot.problem)
            elif self.slot.state == "ready" and not is_needed and self._has_no_work:
                await self.slot.stop()  # nobody needs its memory any more

    @property
    def _is_asked_for(self) -> bool:
        """Return whether an operator wanted to start a rollout lately."""
        return self._clock() - self._asked_at < _ASKED_SECONDS

    @property
    def _has_no_work(self) -> bool:
        """Return whether it runs neither copies nor jobs, and no rollback waits for its jobs."""
        engine = self.slot.engine
        is_busy = engine is not None and engine.in_progress > 0
        return self.copies.finished and not is_busy and not self.split.draining

    def assess_first(self, assessment: Assessment) -> None:
        """Take the assessment of an output of the first model."""
        self.split.assessed(assessment, by_second=False)

    def _assess_second(self, assessment: Assessment) -> None:
        self.split.assessed(assessment, by_second=True)

    def start_rollout(self, plan: Plan) -> Rollout:
        """Begin a rollout; it ends the comparison by copies. Raises RolloutConflict."""
        plan = self.split.checked(plan)
        if not self.slot.ready:
            self._asked_at = self._clock()  # it loads now, if it was ended
            raise RolloutConflict(
                "The second model is not loaded yet. Start the rollout when `safelight rollout "
                'status` shows it as "ready".'
            )
        rollout = self.split.start(plan)
        self._asked_at = -_ASKED_SECONDS  # it has what it waited for
        self.copies.ended = self.copies.ended or _ROLLOUT
        return rollout

    # ── For operators ────────────────────────────────────────────────────────────────────────────

    def shadow_state(self) -> dict[str, object]:
        """Return the comparison so far."""
        comparison = self.copies.comparison
        notes = (self.slot.note, self.copies.rest.note(comparison.pairs))
        return {
            "first": shown_name(self._settings.model),
            "second": self.slot.described,
            "state": self.slot.state,
            "problem": self.slot.problem,
            "note": " ".join(filter(None, notes)),
            "verdict": comparison.verdict(),
            "pairs": comparison.pairs,
            "limit": self._settings.shadow_pairs,
            "ended": self.copies.ended,
            "copies": self.copies.counts,
            "budget_seconds": round(self.copies.budget.left, 3),
            "rows": comparison.rows(),
            "recent": list(self.copies.recent),
        }

    def rollout_state(self, rollout: Rollout | None) -> dict[str, object]:
        """Return a rollout with the state of the second model."""
        waits = rollout is not None and rollout.status in ("running", "paused")
        return {
            "first": shown_name(self._settings.model),
            "second": self.slot.described,
            "state": self.slot.state,
            "problem": self.slot.problem,
            "status": rollout.status if rollout is not None else "none",
            "percent": rollout.percent if rollout is not None else 0,
            "figures": rollout.figures() if rollout is not None else {},
            "missing": rollout.missing() if rollout is not None and waits else "",
            "steps": rollout.plan.steps if rollout is not None else (),
            "decisions": rollout.decisions if rollout is not None else [],
        }


def _check(settings: Settings) -> None:
    """Raise BadSetting for settings that cannot work together."""
    if settings.shadow_compile and not settings.shadow:
        raise BadSetting(
            f"{environment_name('shadow_compile')} is set, and there is no second model to "
            "compile. Name one with --shadow, or compile the served model: SAFELIGHT_COMPILE."
        )
    if settings.shadow_steps > settings.step_limit:
        raise BadSetting(
            f"{environment_name('shadow_steps')} is {settings.shadow_steps}, and the limit of "
            f"steps is {settings.step_limit}."
        )

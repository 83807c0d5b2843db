"""Take broken workers out of service, and the whole instance if another one stays."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from safelight.guard.fitness import Decision, Other, decide, may_leave
from safelight.guard.verdicts import State
from safelight.serving.canary.check import Check

log = structlog.get_logger("safelight")
_ROUNDS = 2  # an instance first says that it wants to leave, and leaves in the next round
_ASK_ROUNDS = 5  # then it asks again, so that it returns if it is the last one


class Gate:
    """Whether this instance and its workers serve. `update` is called once a second.

    `others` returns the other instances that are ready. An instance that would be the last one to
    leave stays, and `is_forced`.
    """

    def __init__(
        self, instance: str, others: Callable[[], Awaitable[Sequence[Other]]], *, active: bool
    ) -> None:
        self.instance = instance
        self.is_leaving = self.is_out = self.is_forced = False
        self._others = others
        self._active = active
        self._rounds = 0

    async def update(self, checks: Sequence[Check], *, asleep: bool = False) -> None:
        """Decide again, from the health of each worker.

        A model that sleeps is not judged: a request must reach it, to wake it. While all workers
        load, nothing changes.
        """
        if not self._active:
            return
        if not (asleep or any(check.worker.ready for check in checks)):
            return
        workers = [(check.worker.ready, check.health.broken) for check in checks]
        decision = Decision() if asleep else decide(workers)
        for place, check in enumerate(checks):
            check.worker.is_out = place in decision.out
        await self._leave_or_stay(must_leave=decision.must_leave)
        for check in checks:
            self._replace(check)

    async def _leave_or_stay(self, *, must_leave: bool) -> None:
        self.is_leaving = must_leave
        if not must_leave:
            self._rounds = 0
            self._change(out=False, forced=False)
            return
        self._rounds += 1
        if self._rounds >= _ROUNDS and (self._rounds - _ROUNDS) % _ASK_ROUNDS == 0:
            leaves = may_leave(self.instance, await self._others())
            self._change(out=leaves, forced=not leaves)

    def _change(self, *, out: bool, forced: bool) -> None:
        if (out, forced) == (self.is_out, self.is_forced):
            return
        self.is_out, self.is_forced = out, forced
        if out:
            log.error("out of service: the model is broken")
        elif forced:
            log.error("the model is broken, but no other instance is ready")
        else:
            log.info("back in service")

    def _replace(self, check: Check) -> None:
        """Load a wrong model again, once, when its worker serves nobody."""
        if not check.health.broken:
            check.was_replaced = False
        unused = check.worker.is_out or self.is_out
        wrong = check.health.verdict is State.WRONG
        if unused and wrong and check.worker.is_idle and not check.was_replaced:
            check.was_replaced = True
            check.worker.replace("wrong")

"""The canary of the service: checks every worker, and decides who serves."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from time import time

from safelight.errors import NotReady
from safelight.guard.golden import ENROL_RUNS
from safelight.guard.verdicts import State
from safelight.metrics.catalog import (
    CANARY_DRIFT,
    CANARY_GOOD,
    CANARY_RUNS,
    CANARY_SECONDS,
    CANARY_WORKERS,
    READINESS_FORCED,
)
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.serving.canary.check import Check
from safelight.serving.canary.gate import Gate
from safelight.serving.canary.others import Others
from safelight.serving.canary.runs import Engine, Seen
from safelight.serving.engine.pool import Pool
from safelight.settings import Settings

_TICK_SECONDS, _HURRY_SECONDS = 1.0, 0.02
_OUT = (
    "The canary found that the model is broken, and took this instance out of service. See "
    "`safelight canary`; another instance serves."
)


class Canary:
    """Belongs to one event loop. With `canary_seconds=0` it does nothing."""

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        settings: Settings,
        meter: Meter,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.is_on = settings.canary_seconds > 0
        self.has_budget = settings.canary_ratio > 0
        self.checks = [
            Check(worker, engine, pool, settings, tell=self._count) for worker in pool.workers
        ]
        instance = secrets.token_hex(8)
        others = Others(settings, instance)
        self.gate = Gate(instance, others.ready, active=settings.canary_gate)
        self._pool = pool
        self._meter = meter
        self._sleep = sleep
        self._guard = Guard("canary", meter.probe_failed)
        if self.is_on:
            meter.start_at_zero(CANARY_RUNS)
            self._show()

    async def run(self) -> None:
        """Check all workers until cancelled."""
        if self.is_on:
            await asyncio.gather(self._govern(), *map(self._keep, self.checks))

    async def _keep(self, check: Check) -> None:
        while True:
            await self._sleep(_HURRY_SECONDS if check.hurries else _TICK_SECONDS)
            with self._guard:
                await check.step()

    async def _govern(self) -> None:
        while True:
            await self._sleep(_TICK_SECONDS)
            with self._guard:
                await self.gate.update(self.checks, asleep=self._pool.is_stopping)
                self._show()

    def admit(self) -> None:
        """Raise NotReady if this instance is out of service."""
        if self.gate.is_out:
            raise NotReady(_OUT)

    def standing(self) -> dict[str, object]:
        """Return what /readyz tells other instances."""
        return {"instance": self.gate.instance, "leaving": self.gate.is_leaving}

    # ── What it shows ────────────────────────────────────────────────────────────────────────────

    def _count(self, _check: Check, seen: Seen) -> None:
        self._meter.add(CANARY_RUNS, seen.depth, seen.verdict)
        if seen.seconds is not None:
            self._meter.set(CANARY_SECONDS, value=seen.seconds)
        if seen.drift is not None:
            self._meter.set(CANARY_DRIFT, value=min(seen.drift, 1e6))
        if seen.depth == "deep" and seen.verdict == State.GOOD:
            self._meter.set(CANARY_GOOD, value=time())
        self._show()

    def _show(self) -> None:
        states = Counter(_shown(check) for check in self.checks)
        for state in State:
            self._meter.set(CANARY_WORKERS, state, value=states[state])
        self._meter.set(READINESS_FORCED, value=float(self.gate.is_forced))

    def report(self) -> dict[str, object]:
        """Return the state of all workers, as plain values."""
        gate = self.gate
        return {
            "on": self.is_on,
            "instance": gate.instance,
            "in_service": not gate.is_out,
            "readiness_forced": gate.is_forced,
            "waits": any(check.is_asked and check.worker.ready for check in self.checks),
            "workers": [_report(check) for check in self.checks],
        }


def _shown(check: Check) -> State:
    return check.health.verdict if check.worker.ready else State.UNKNOWN


def _report(check: Check) -> dict[str, object]:
    last, info = check.last, check.worker.info
    return {
        "worker": check.worker.place.index,
        "device": info.device if info else check.worker.place.device,
        "fingerprint": info.fingerprint if info else "",
        "ready": check.worker.ready,
        "in_service": not check.worker.is_out,
        "verdict": _shown(check),
        "why": check.health.reason,
        "drift_ratio": last.drift if last else None,
        "device_seconds": last.seconds if last else None,
        "enrolled_at": check.enrolment.enrolled_at if check.enrolment else None,
        "enrolling": _progress(check.enrolled_runs),
        "goldens": {
            name: {
                "noise_floor": golden.floor,
                "limit": golden.limit if golden.limit <= 1 else None,
                "usual_seconds": golden.seconds,
                "slow_seconds": golden.slow_seconds,
            }
            for name, golden in (check.enrolment.goldens.items() if check.enrolment else ())
        },
    }


def _progress(runs: int | None) -> str | None:
    return None if runs is None else f"{runs} of {2 * ENROL_RUNS} runs"

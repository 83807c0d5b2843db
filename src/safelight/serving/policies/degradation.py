"""The degradation ladder: under load, reduce batches, queue, steps and size one by one.

Level n means that the first n rungs are active. A signal above its limit activates the next rung; a
signal well below it deactivates the last one. The level changes at most once per dwell time. Each
signal has a maximum level: slow batches never cost a caller steps or size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic

import structlog

from safelight.errors import Overloaded
from safelight.metrics.catalog import DEGRADATION_LEVEL, DEGRADED, LADDER, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import EditParameters, GenerateParameters, Handler, Job, Outcome

_LEVELS = {rung: level for level, rung in enumerate(LADDER, start=1)}
_RELEASE_SHARE = 0.8  # of its limit: below this, a signal no longer keeps the level
_STEPS_SHARE = 0.6
_MIN_STEPS = 4
_SIDE_SHARE = 0.75
_MIN_SIDE = 64
log = structlog.get_logger("safelight")


@dataclass(frozen=True, slots=True)
class Signal:
    """A measure of load: its limit, and the highest level that it may cause."""

    name: str
    limit: float
    max_level: int


def signals(vram_ratio: float, latency_seconds: float, backlog_ratio: float) -> tuple[Signal, ...]:
    """Return the signals with these limits."""
    return (
        Signal("latency", latency_seconds, _LEVELS["smaller_batches"]),
        Signal("vram", vram_ratio, _LEVELS["admit_less"]),
        Signal("backlog", backlog_ratio, _LEVELS["shed_low_priority"]),
    )


class Governor:
    """Holds the current level. A `pinned` level is set by the operator and does not change."""

    def __init__(
        self,
        watched: tuple[Signal, ...],
        meter: Meter,
        *,
        dwell_seconds: float,
        max_level: int = len(LADDER),
        pinned: int | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._signals = watched
        self._meter = meter
        self._dwell_seconds = dwell_seconds
        self._max_level = max_level
        self._clock = clock
        self._moved_at = float("-inf")
        self.pinned = pinned
        self.multiple: Callable[[], int] = lambda: 8  # pixels; sides must be a multiple of it
        self.level = pinned or 0
        meter.start_at_zero(DEGRADED)
        meter.set(DEGRADATION_LEVEL, value=self.level)

    def active(self, rung: str) -> bool:
        """Return whether a rung is active."""
        return self.level >= _LEVELS[rung]

    def update(self, readings: Mapping[str, float]) -> None:
        """Move by one rung, if the readings require it and the dwell time has passed."""
        now = self._clock()
        if self.pinned is not None:
            self._move(self.pinned, now)
        elif now - self._moved_at >= self._dwell_seconds:
            target = self._target(readings)
            if target != self.level:
                self._move(self.level + (1 if target > self.level else -1), now)

    def _target(self, readings: Mapping[str, float]) -> int:
        raising = [s.max_level for s in self._signals if readings[s.name] > s.limit]
        keeping = [
            s.max_level for s in self._signals if readings[s.name] > s.limit * _RELEASE_SHARE
        ]
        kept = min(self.level, max(keeping, default=0))
        return min(self._max_level, max(max(raising, default=0), kept))

    def _move(self, level: int, now: float) -> None:
        if level != self.level:
            self.level, self._moved_at = level, now
            self._meter.set(DEGRADATION_LEVEL, value=level)
            log.warning("degradation changed", **{"safelight.degradation_level": level})

    def batch_limit(self, limit: int) -> int:
        """Return the largest batch that is allowed now."""
        return max(1, limit // 2) if self.active("smaller_batches") else limit

    def queue_share(self) -> float:
        """Return the share of the queue that may be used now."""
        return 0.5 if self.active("admit_less") else 1.0


def degradation(handle: Handler, governor: Governor, meter: Meter) -> Handler:
    """Change or refuse a job as the active rungs require; its outcome lists the changes.

    Others fill the queue if the caller is modest: they are degraded, and it is not. An operator's
    level holds for all.
    """

    async def degraded(job: Job) -> Outcome:
        if job.is_modest and governor.pinned is None:
            return await handle(job)
        if governor.active("shed_low_priority") and job.priority == "low":
            meter.add(DEGRADED, "shed_low_priority")
            meter.add(REJECTED, "shed")
            raise Overloaded("Low-priority requests are refused at present. Retry later.", 30.0)
        lighter = lighten(job, governor)
        for action in lighter.degraded:
            meter.add(DEGRADED, action)
        return await handle(lighter)

    return degraded


def lighten(job: Job, governor: Governor) -> Job:
    """Return the job with fewer steps or a smaller size, if an active rung requires it."""
    if governor.level < _LEVELS["fewer_steps"]:
        return job
    parameters, size = job.parameters, job.size
    actions: list[str] = []
    if not isinstance(parameters, EditParameters | GenerateParameters):
        return job
    if governor.active("fewer_steps") and parameters.steps > _MIN_STEPS:
        steps = max(_MIN_STEPS, round(parameters.steps * _STEPS_SHARE))
        parameters = parameters.model_copy(update={"steps": steps})
        actions.append("fewer_steps")
    multiple = governor.multiple()
    if governor.active("smaller_size") and min(size) * _SIDE_SHARE >= max(_MIN_SIDE, multiple):
        width, height = (int(side * _SIDE_SHARE) // multiple * multiple for side in size)
        size = (width, height)
        actions.append("smaller_size")
    if not actions:
        return job
    return replace(job, parameters=parameters, size=size, degraded=tuple(actions))

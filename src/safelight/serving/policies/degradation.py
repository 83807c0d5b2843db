"""The degradation ladder: under load, reduce batches, queue, steps and size one by one.

Level n means that the first n rungs are active. A signal above its limit activates the next rung; a
signal that stays well below it deactivates the last one. The level rises at most once per dwell
time. It falls with patience: each fall that had to be undone doubles the calm time that the next
one needs, so that under a constant load the level does not flap. Each signal has a maximum level:
slow batches never cost a caller steps or size.
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
_SETTING = "the setting SAFELIGHT_DEGRADATION_LEVEL"
_RELEASE_SHARE = 0.8  # of its limit: below this, a signal no longer keeps the level
PATIENCE_LIMIT = 64  # dwell times of calm that a fall needs at most; one that lasts so long stood
_BACKLOG = "backlog"  # smaller batches would make it longer
_STEPS_SHARE = 0.6
_MIN_STEPS = 4
_SIDE_SHARE = 0.75
_MIN_SIDE = 64
_TEXTS = (
    "half the batch limit",
    "half the queue",
    f"{round(100 * _STEPS_SHARE)} % of the steps",
    f"{round(100 * _SIDE_SHARE)} % of each side",
    "low priorities are refused",
)
MEANINGS = {"full_quality": "full quality", **dict(zip(LADDER, _TEXTS, strict=True))}  # by level
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
        Signal(_BACKLOG, backlog_ratio, _LEVELS["shed_low_priority"]),
    )


class Governor:
    """Holds the current level. A `pinned` level is set by the operator and does not change.

    A pin is about quality only: admission, the circuit breaker and the splitting of batches that do
    not fit into memory act at every level.
    """

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
        self.max_level = max_level
        self._clock = clock
        self._moved_at = self._kept_at = self._fell_at = float("-inf")
        self._patience = self._calm_seconds = dwell_seconds  # after a rise, and now
        self._has_fallen = self._is_slow = False  # at the last change; by a signal but backlog
        self.pinned = pinned
        self.pinned_by = "" if pinned is None else _SETTING
        self._readings: Mapping[str, float] = {signal.name: 0.0 for signal in watched}
        self.multiple: Callable[[], int] = lambda: 8  # pixels; sides must be a multiple of it
        self.level = pinned or 0
        meter.start_at_zero(DEGRADED)
        meter.set(DEGRADATION_LEVEL, value=self.level)

    def active(self, rung: str) -> bool:
        """Return whether a rung is active."""
        return self.level >= _LEVELS[rung]

    def update(self, readings: Mapping[str, float]) -> None:
        """Move by one rung, if the readings require it and have done so for long enough."""
        now, self._readings = self._clock(), readings
        if self.pinned is not None:
            self._move(self.pinned, now)
            return
        target = self._target(readings)
        slow = any(readings[s.name] > s.limit for s in self._signals if _slows(s))
        self._is_slow = slow or (self._is_slow and self.level > 0)
        if target >= self.level:
            self._kept_at = now
        if target > self.level and now - self._moved_at >= self._dwell_seconds:
            self._rise(now)
        calm_since = max(self._moved_at, self._kept_at)
        if target < self.level and now - calm_since >= self._calm_seconds:
            self._fall(now, readings)

    def pin(self, level: int, by: str = "") -> None:
        """Hold a level, up to `max_level`, from now on. `by` is the name of the operator's key."""
        self.pinned, self.pinned_by = level, by
        self._move(level, self._clock())

    def release(self) -> None:
        """Choose the level by the signals again. What they do not ask for ends at once."""
        if self.pinned is None:
            return
        self.pinned, self.pinned_by = None, ""
        self._is_slow = any(_keeps(s, self._readings) for s in self._signals if _slows(s))
        self._move(min(self.level, self._target(self._readings)), self._clock())

    def _rise(self, now: float) -> None:
        """Activate a rung. A fall that is undone soon makes the next one wait twice as long."""
        if self._has_fallen:
            limit = PATIENCE_LIMIT * self._dwell_seconds
            factor = 0.5 if now - self._fell_at >= limit else 2
            self._patience = min(max(factor * self._patience, self._dwell_seconds), limit)
        self._has_fallen, self._calm_seconds = False, self._patience
        self._move(self.level + 1, now)

    def _fall(self, now: float, readings: Mapping[str, float]) -> None:
        """Deactivate a rung. The next fall needs half the calm, for a load that is gone."""
        self._calm_seconds = max(self._dwell_seconds, self._calm_seconds / 2)
        self._has_fallen, self._fell_at = True, now
        self._is_slow &= any(_keeps(s, readings) for s in self._signals if _slows(s))
        self._move(self.level - 1, now)

    def _target(self, readings: Mapping[str, float]) -> int:
        raising = [s.max_level for s in self._signals if readings[s.name] > s.limit]
        keeping = [s.max_level for s in self._signals if _keeps(s, readings)]
        kept = min(self.level, max(keeping, default=0))
        return min(self.max_level, max(max(raising, default=0), kept))

    def _move(self, level: int, now: float) -> None:
        if level != self.level:
            self.level, self._moved_at = level, now
            self._meter.set(DEGRADATION_LEVEL, value=level)
            log.warning("degradation changed", **{"safelight.degradation_level": level})

    def batch_limit(self, limit: int) -> int:
        """Return the largest batch that is allowed now.

        A long queue alone does not halve it: smaller batches make fewer images per second.
        """
        halves = self.active("smaller_batches") and (self._is_slow or self.pinned is not None)
        return max(1, limit // 2) if halves else limit

    def queue_share(self) -> float:
        """Return the share of the queue that may be used now."""
        return 0.5 if self.active("admit_less") else 1.0


def _keeps(signal: Signal, readings: Mapping[str, float]) -> bool:
    return readings[signal.name] > signal.limit * _RELEASE_SHARE


def _slows(signal: Signal) -> bool:
    """Return whether smaller batches help against the signal."""
    return signal.name != _BACKLOG


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

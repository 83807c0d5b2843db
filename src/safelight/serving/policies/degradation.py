"""The declared ladder: what gives way, in which order, when the service is pressed.

Level n means that the first n rungs are in force. A signal above its limit brings the next rung
into force, one well below takes the last one back; between two moves lies the dwell time. Each
signal brings the ladder only so far: slow batches never cost a caller steps or size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic

from safelight.errors import Overloaded
from safelight.metrics.catalog import DEGRADATION_LEVEL, DEGRADED, LADDER, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import EditParameters, GenerateParameters, Handler, Job, Outcome

_LEVELS = {rung: place for place, rung in enumerate(LADDER, start=1)}
_CALM = 0.8  # of its limit: below this a signal no longer presses
_STEPS_SHARE = 0.6
_FEWEST_STEPS = 4
_SIDE_SHARE = 0.75
_SMALLEST_SIDE = 64


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that presses: its limit, and the highest level that it brings about."""

    name: str
    limit: float
    most: int


def signals(vram_ratio: float, latency_seconds: float, backlog_ratio: float) -> tuple[Signal, ...]:
    """Return the signals, with these limits."""
    return (
        Signal("latency", latency_seconds, _LEVELS["smaller_batches"]),
        Signal("vram", vram_ratio, _LEVELS["admit_less"]),
        Signal("backlog", backlog_ratio, _LEVELS["shed_low_priority"]),
    )


class Governor:
    """Knows how many rungs are in force. `pinned` is an operator's word, and stands."""

    def __init__(
        self,
        watched: tuple[Signal, ...],
        meter: Meter,
        *,
        dwell_seconds: float,
        most: int = len(LADDER),
        pinned: int | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._signals = watched
        self._meter = meter
        self._dwell_seconds = dwell_seconds
        self._most = most
        self._clock = clock
        self._moved_at = float("-inf")
        self.pinned = pinned
        self.level = pinned or 0
        meter.start_at_zero(DEGRADED)
        meter.set(DEGRADATION_LEVEL, value=self.level)

    def in_force(self, rung: str) -> bool:
        """Tell whether a rung is in force."""
        return self.level >= _LEVELS[rung]

    def update(self, readings: Mapping[str, float]) -> None:
        """Move one rung, if the readings ask for it and the dwell time has passed."""
        now = self._clock()
        if self.pinned is not None:
            self._move(self.pinned, now)
        elif now - self._moved_at >= self._dwell_seconds:
            wanted = self._wanted(readings)
            if wanted != self.level:
                self._move(self.level + (1 if wanted > self.level else -1), now)

    def _wanted(self, readings: Mapping[str, float]) -> int:
        pressed = [s.most for s in self._signals if readings[s.name] > s.limit]
        uneasy = [s.most for s in self._signals if readings[s.name] > s.limit * _CALM]
        up = max(pressed, default=0)
        stay = min(self.level, max(uneasy, default=0))
        return min(self._most, max(up, stay))

    def _move(self, level: int, now: float) -> None:
        if level != self.level:
            self.level, self._moved_at = level, now
            self._meter.set(DEGRADATION_LEVEL, value=level)

    def batch_limit(self, limit: int) -> int:
        """Return the largest batch allowed now."""
        return max(1, limit // 2) if self.in_force("smaller_batches") else limit

    def queue_share(self) -> float:
        """Return the share of the queue that may be used now."""
        return 0.5 if self.in_force("admit_less") else 1.0


def degradation(handle: Handler, governor: Governor, meter: Meter) -> Handler:
    """Change or refuse a job as the rungs in force say; what was done stands in its outcome."""

    async def degraded(job: Job) -> Outcome:
        if governor.in_force("shed_low_priority") and job.priority == "low":
            meter.add(DEGRADED, "shed_low_priority")
            meter.add(REJECTED, "shed")
            raise Overloaded("Low priority is not served for the moment. Retry later.", 30.0)
        changed = lighten(job, governor)
        for action in changed.degraded:
            meter.add(DEGRADED, action)
        return await handle(changed)

    return degraded


def lighten(job: Job, governor: Governor) -> Job:
    """Return the job with fewer steps or a smaller size, where a rung in force asks for it."""
    if governor.level < _LEVELS["fewer_steps"]:
        return job
    asked, size = job.parameters, job.size
    done: list[str] = []
    if not isinstance(asked, EditParameters | GenerateParameters):
        return job
    if governor.in_force("fewer_steps") and asked.steps > _FEWEST_STEPS:
        steps = max(_FEWEST_STEPS, round(asked.steps * _STEPS_SHARE))
        asked = asked.model_copy(update={"steps": steps})
        done.append("fewer_steps")
    if governor.in_force("smaller_size") and min(size) * _SIDE_SHARE >= _SMALLEST_SIDE:
        width, height = (int(side * _SIDE_SHARE) // 8 * 8 for side in size)
        size = (width, height)
        done.append("smaller_size")
    return replace(job, parameters=asked, size=size, degraded=tuple(done)) if done else job

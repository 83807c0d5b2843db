"""A service in arithmetic: a queue, a device, and the real degradation ladder between them.

A job takes two seconds of the device at full quality. Once a second, jobs arrive by chance, the
device works, and the ladder gets its readings, as in `serving/app.py`.
"""

import random
from collections.abc import Callable
from itertools import pairwise

from safelight.metrics.registry import Meter
from safelight.serving.policies.admission import SHARE
from safelight.serving.policies.degradation import Governor, lighten, signals
from tests.reading import FakeClock
from tests.serving.jobs import a_job

TIMEOUT_SECONDS, QUEUE_JOBS, BATCH, DWELL_SECONDS = 120.0, 64, 8, 10.0
JOB_SECONDS = 2.0
JOB = a_job(steps=20, size=(512, 512))
Load = Callable[[int], float]


class Plant:
    """Serves a load: the seconds of work that arrive each second, 1 is what the device can do.

    Smaller batches make `batch_loss` of the device's work impossible. A batch takes `batch_seconds`
    of a limit of one second.
    """

    def __init__(
        self, *, seed: int = 1, batch_loss: float = 0.2, batch_seconds: float = 0.5
    ) -> None:
        self.clock, self.chance = FakeClock(), random.Random(seed)
        self.governor = Governor(
            signals(0.8, 1.0, 0.5), Meter("tests"), dwell_seconds=DWELL_SECONDS, clock=self.clock
        )
        self.batch_loss, self.batch_seconds = batch_loss, batch_seconds
        self.work, self.done, self.refused = 0.0, 0.0, 0

    def run(self, load: Load, seconds: int) -> list[int]:
        """Return the level after each second."""
        return [self._second(load(second)) for second in range(seconds)]

    def _second(self, load: float) -> int:
        for _ in range(self._arrivals(load / JOB_SECONDS)):
            self._arrive()
        halved = self.governor.batch_limit(BATCH) < BATCH
        done = min(self.work, 1 - self.batch_loss if halved else 1.0)
        self.work, self.done = self.work - done, self.done + done
        self.clock.now += 1
        self.governor.update(
            {
                "latency": (self.batch_seconds / (2 if halved else 1)) if self.work else 0.0,
                "vram": 0.0,
                "backlog": self.work / TIMEOUT_SECONDS,
            }
        )
        return self.governor.level

    def _arrivals(self, mean: float) -> int:
        return sum(self.chance.random() < mean / 20 for _ in range(20))

    def _arrive(self) -> None:
        light = lighten(JOB, self.governor)
        seconds = JOB_SECONDS * light.units / JOB.units
        room = QUEUE_JOBS * SHARE["normal"] * self.governor.queue_share() * seconds
        is_low = self.chance.random() < 0.2
        if (is_low and self.governor.active("shed_low_priority")) or self.work >= min(
            room, TIMEOUT_SECONDS - seconds
        ):
            self.refused += 1
        else:
            self.work += seconds


def changes(levels: list[int]) -> int:
    """Return how often the level changed."""
    return sum(before != after for before, after in pairwise(levels))


def busiest_hour(levels: list[int]) -> int:
    """Return the changes in the hour that has most of them."""
    return max(changes(levels[at : at + 3600]) for at in range(0, len(levels) - 3599, 60))

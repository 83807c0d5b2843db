"""Scenes of the truth test: a simulated service, its fault, and the expected finding."""

from dataclasses import dataclass, replace
from math import sin
from typing import Any

from safelight.stories.conditions import Conditions, Timeline
from safelight.stories.history import Simulation, scrapes

NOW = 1_772_454_000  # time of the diagnosis, arbitrary
LASTED = 600  # default duration of a fault until then, in seconds

EDIT = Conditions(rate=1.0)
TURBO = Conditions(
    rate=0.9,
    steps=8,
    step_seconds=0.06,
    types={"other": 0.7, "make_him_old": 0.3},
    vram_used=11e9,
    vram_reserved=12.5e9,
    vram_total=24e9,
    sizes={"1024x1024": 1.0},
    celsius=55,
)
PATIENT = Conditions(
    rate=0.3,
    steps=30,
    step_seconds=0.03,
    noise=0.35,
    vram_used=6e9,
    vram_reserved=7e9,
    cpu=0.55,
    host_used=20e9,
    batch_limit=4,
    sizes={"512x512": 0.6, "768x512": 0.4},
)


@dataclass(frozen=True)
class Scene:
    """A simulated service with a fault, or a healthy one.

    `cause` is the check that must come first, empty if no check may warn. `expression` is the
    expression that shows the fault: when it made half of its change, the fault is visible.
    """

    name: str
    cause: str
    conditions: Timeline
    expression: str = ""
    instances: int = 1
    namespace: str = "instructpix2pix"
    lasted: int = LASTED
    hours: float = 1.25

    @property
    def job(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def begin(self) -> int:
        return NOW - self.lasted

    def simulation(self, seed: int) -> Simulation:
        def conditions(instance: int, at: float) -> Conditions:
            now = self.conditions(instance, at - self.begin)
            return replace(now, rate=now.rate * (1 + 0.1 * sin(at / 900)))

        return Simulation(self.namespace, self.job, conditions, self.instances, seed)

    def times(self) -> list[int]:
        """Return the scrape times: every 15 s at last, less often before and yesterday."""
        day, begin = 86_400, NOW - int(self.hours * 3600)
        return scrapes(
            (NOW - day - 3600, NOW - day, 180), (begin, NOW - 960, 60), (NOW - 960, NOW + 1, 15)
        )


def then(base: Conditions, **changes: Any) -> Timeline:
    """Return conditions that change when the fault begins."""
    changed = replace(base, **changes)
    return lambda _, t: changed if t >= 0 else base


def at_one(which: int, base: Conditions, **changes: Any) -> Timeline:
    """Return conditions that change for one instance when the fault begins."""
    changed = replace(base, **changes)
    return lambda instance, t: changed if t >= 0 and instance == which else base


def growing(base: Conditions, name: str, per_hour: float, stair_seconds: float = 0) -> Timeline:
    """Return a level that grows from the fault's begin on, linearly or in steps."""

    def conditions(_: int, t: float) -> Conditions:
        elapsed = max(0.0, t)
        if stair_seconds:
            elapsed = elapsed // stair_seconds * stair_seconds
        return replace(base, **{name: getattr(base, name) + per_hour * elapsed / 3600})

    return conditions


def stages(base: Conditions, **seconds: float) -> dict[str, float]:
    """Return a service's stages with changed times."""
    return {**base.stages, **seconds}

"""What a scene of the truth test is: a service, what befalls it, and what a diagnosis must say."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import sin
from typing import Any

from safelight.stories.conditions import Conditions
from safelight.stories.history import Simulation

NOW = 1_772_454_000  # the moment of the diagnosis; when it is makes no difference
LASTED = 600  # seconds that a fault has lasted by then, unless said otherwise

Timeline = Callable[[int, float], Conditions]

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
    """A service in which something is wrong, or in which all is well.

    `cause` is the check that must come first, empty where nothing may be said. `figure` is what
    shows the fault on a board: once it has come half of its way, the fault is visible.
    """

    name: str
    cause: str
    conditions: Timeline
    figure: str = ""
    instances: int = 1
    namespace: str = "instructpix2pix"
    lasted: int = LASTED
    hours: float = 1.25
    tags: tuple[str, ...] = field(default=())

    @property
    def job(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def begin(self) -> int:
        return NOW - self.lasted

    def play(self, seed: int) -> Simulation:
        def conditions(instance: int, at: float) -> Conditions:
            now = self.conditions(instance, at - self.begin)
            return replace(now, rate=now.rate * (1 + 0.1 * sin(at / 900)))

        return Simulation(self.namespace, self.job, conditions, self.instances, seed)

    def times(self) -> list[int]:
        """Return when it was scraped: yesterday and long ago seldom, lately every 15 s."""
        from safelight.stories.history import scrapes

        day, long_ago = 86_400, NOW - int(self.hours * 3600)
        return scrapes(
            (NOW - day - 3600, NOW - day, 180), (long_ago, NOW - 960, 60), (NOW - 960, NOW + 1, 15)
        )


def then(base: Conditions, **changes: Any) -> Timeline:
    """Return that things are as `base` until the fault begins, and changed from then on."""
    changed = replace(base, **changes)
    return lambda _, t: changed if t >= 0 else base


def at_one(which: int, base: Conditions, **changes: Any) -> Timeline:
    """Return that one instance changes."""
    changed = replace(base, **changes)
    return lambda instance, t: changed if t >= 0 and instance == which else base


def growing(base: Conditions, name: str, per_hour: float, stair_seconds: float = 0) -> Timeline:
    """Return that a level grows from the fault's begin on: in a line, or by stairs."""

    def conditions(_: int, t: float) -> Conditions:
        since = max(0.0, t)
        if stair_seconds:
            since = since // stair_seconds * stair_seconds
        return replace(base, **{name: getattr(base, name) + per_hour * since / 3600})

    return conditions


def stages(base: Conditions, **seconds: float) -> dict[str, float]:
    """Return a service's stages, some of them changed."""
    return {**base.stages, **seconds}

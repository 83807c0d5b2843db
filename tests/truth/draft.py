"""Random parameters of one scene, and the changes that scenes consist of."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from safelight.stories.conditions import Conditions
from tests.truth import expressions as f
from tests.truth.scene import growing, stages

_STARTING_SECONDS = 15


@dataclass(frozen=True)
class Draft:
    """Random parameters of one scene: the service and its namespace."""

    random: Random
    base: Conditions
    ns: str

    def between(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def then(self, **changes: Any) -> dict[str, Any]:
        changed = replace(self.base, **changes)
        return {"conditions": lambda _, t: changed if t >= 0 else self.base}

    def at_one(self, instances: int, **changes: Any) -> dict[str, Any]:
        """Restart one random instance with changed conditions."""
        which = self.random.randrange(instances)
        changed = replace(self.base, **changes)

        def conditions(instance: int, t: float) -> Conditions:
            if t < 0 or instance != which:
                return self.base
            return replace(changed, starts=t < _STARTING_SECONDS)

        return {"conditions": conditions, "instances": instances, "which": which}

    def capacity(self, limit: int | None = None) -> float:
        """Return the images per second that the service can make with a batch size limit."""
        return 1 / (self.base.call_seconds * (0.55 / (limit or self.base.batch_limit) + 0.45))

    def slow_stage(self, name: str, low: float, high: float) -> dict[str, Any]:
        value = self.between(low, high)
        scene = self.then(stages=stages(self.base, **{name: value}))
        return scene | {"expression": f.stage(name, self.ns)}

    def grow(
        self, name: str, low: float, high: float, hours: float, stair: float = 0
    ) -> dict[str, Any]:
        conditions = growing(self.base, name, self.between(low, high), stair)
        return {"conditions": conditions, "lasted": int(hours * 3600), "hours": 4}

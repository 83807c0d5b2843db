"""What chance chose for one scene, and the changes that scenes are made of."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from safelight.stories.conditions import Conditions
from tests.truth import figures as f
from tests.truth.scene import growing, stages

_STARTING_SECONDS = 15


@dataclass(frozen=True)
class Drawn:
    """What chance chose for one scene: the service, its namespace, and how bad things are."""

    chance: Random
    base: Conditions
    ns: str

    def between(self, low: float, high: float) -> float:
        return self.chance.uniform(low, high)

    def then(self, **changes: Any) -> dict[str, Any]:
        changed = replace(self.base, **changes)
        return {"conditions": lambda _, t: changed if t >= 0 else self.base}

    def at_one(self, instances: int, **changes: Any) -> dict[str, Any]:
        """Return that one instance of several is started anew, and is other from then on."""
        which = self.chance.randrange(instances)
        changed = replace(self.base, **changes)

        def conditions(instance: int, t: float) -> Conditions:
            if t < 0 or instance != which:
                return self.base
            return replace(changed, starts=t < _STARTING_SECONDS)

        return {"conditions": conditions, "instances": instances, "which": which}

    def capacity(self, limit: int | None = None) -> float:
        """Return the pictures a second that the service can make, with a cap of batches."""
        return 1 / (self.base.call_seconds * (0.55 / (limit or self.base.batch_limit) + 0.45))

    def slow_stage(self, name: str, low: float, high: float) -> dict[str, Any]:
        value = self.between(low, high)
        told = self.then(stages=stages(self.base, **{name: value}))
        return told | {"figure": f.stage(name, self.ns)}

    def grow(
        self, name: str, low: float, high: float, hours: float, stair: float = 0
    ) -> dict[str, Any]:
        conditions = growing(self.base, name, self.between(low, high), stair)
        return {"conditions": conditions, "lasted": int(hours * 3600), "hours": 4}

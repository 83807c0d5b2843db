"""Random faults and healthy situations that judge the checks.

A seed selects the services, the size and the place of each fault: `make truth SEED=7`. Seeds
below 10 were used to choose the checks' limits.
"""

import os
from random import Random

from tests.truth import faults, quiet
from tests.truth.draft import Draft
from tests.truth.scene import EDIT, PATIENT, TURBO, Scene

SEED = int(os.environ.get("TRUTH_SEED", "20261121"))
_SERVICES = ((EDIT, "instructpix2pix"), (TURBO, "zimage"), (PATIENT, "instructpix2pix"))
_STEPS_NEEDED = {"slow_early_steps": 10, "slow_late_steps": 20}


def draw(seed: int) -> tuple[list[Scene], list[Scene]]:
    """Return the random faults and healthy situations of a seed."""
    random = Random(seed)
    faulty = [
        _scene(random, f"{number} {cause}", cause, how)
        for number, (cause, how) in enumerate(faults.KINDS, 1)
    ]
    healthy = [
        _scene(random, f"healthy {number} {name}", "", how)
        for number, (name, how) in enumerate(quiet.KINDS, 1)
    ]
    return faulty, healthy


def _scene(random: Random, name: str, cause: str, how: faults.Draw) -> Scene:
    needed = _STEPS_NEEDED.get(cause, 0)
    base, namespace = random.choice([s for s in _SERVICES if s[0].steps >= needed])
    fields = how(Draft(Random(random.random()), base, namespace))
    fields.pop("which", None)
    return Scene(name, cause, namespace=namespace, **fields)


FAULTS, HEALTHY = draw(SEED)

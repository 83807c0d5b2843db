"""Faults and quiet times that judge the checks: drawn by chance, so that nobody chose them.

A seed draws the service, how bad things are and where; another draws another set: `make truth
SEED=7`. Seeds below 10 were looked at while the checks' limits were chosen.
"""

import os
from random import Random

from tests.truth import faults, quiet
from tests.truth.drawn import Drawn
from tests.truth.scene import EDIT, PATIENT, TURBO, Scene

SEED = int(os.environ.get("TRUTH_SEED", "20261121"))
_SERVICES = ((EDIT, "instructpix2pix"), (TURBO, "zimage"), (PATIENT, "instructpix2pix"))
_STEPS_NEEDED = {"slow_early_steps": 10, "slow_late_steps": 20}


def draw(seed: int) -> tuple[list[Scene], list[Scene]]:
    """Return the faults and the quiet times that a seed draws."""
    chance = Random(seed)
    hurt = [
        _scene(chance, f"{number} {cause}", cause, how)
        for number, (cause, how) in enumerate(faults.KINDS, 1)
    ]
    well = [
        _scene(chance, f"well {number} {name}", "", how)
        for number, (name, how) in enumerate(quiet.KINDS, 1)
    ]
    return hurt, well


def _scene(chance: Random, name: str, cause: str, how: faults.Draw) -> Scene:
    needed = _STEPS_NEEDED.get(cause, 0)
    base, namespace = chance.choice([s for s in _SERVICES if s[0].steps >= needed])
    told = how(Drawn(Random(chance.random()), base, namespace))
    told.pop("which", None)
    return Scene(name, cause, namespace=namespace, **told)


FAULTS, WELL = draw(SEED)

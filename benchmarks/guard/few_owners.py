"""Rollouts to few owners who differ: some have inputs that often fail, are slow or score low.

Owners are sticky, so an equal B may serve only the hard ones. The statistics are real.
"""

import random
from dataclasses import dataclass

from safelight.guard.arms import Arm
from safelight.guard.owners import cluster_of
from safelight.guard.rollout import Plan, Rollout

OWNERS, HARD = 20, 3
STEPS = (25, 50, 100)
_USUAL_FAILURES, _HARD_FAILURES = 0.002, (0.1, 0.5)
_SPEED, _SCORE = 0.3, 0.1  # how much owners differ: as a logarithm, and in points / 100
_NOISE = 0.1  # of both, between requests of one owner


@dataclass(frozen=True)
class Second:
    """How the second model differs: its times, and the share of requests that only it fails."""

    slower: float = 1.0
    fails: float = 0.0


@dataclass(frozen=True)
class Owner:
    """A caller: its failure rate, the logarithm of its usual time, and its usual score."""

    name: str
    fails: float
    time: float
    score: float


def owners(chance: random.Random) -> list[Owner]:
    """Return the owners of a service."""
    found = []
    for number in range(OWNERS):
        fails = chance.uniform(*_HARD_FAILURES) if number < HARD else _USUAL_FAILURES
        name = f"{chance.random()}"  # so that another one is hard, and gets B first, each time
        found.append(Owner(name, fails, chance.gauss(0, _SPEED), chance.gauss(0.6, _SCORE)))
    return found


def rolled(second: Second, seed: int, *, earlier: int, requests: int = 1200) -> Rollout:
    """Roll a model out to the owners, each of whom had so many `earlier` requests.

    Failed requests of B run again on A, as in the service; one that A fails too is not B's fault.
    """
    chance = random.Random(seed)
    callers = owners(chance)
    rollout = Rollout(Plan("b", STEPS))
    for caller in callers * earlier:
        _first(rollout.before, caller, chance)
    rollout.start(0.0)
    for number in range(requests):
        caller = chance.choice(callers)
        if not rollout.serves(caller.name, ""):
            _counted(rollout, caller, chance)
        elif _served(rollout, second, caller, chance):
            rollout.decide(float(number))
        if rollout.status != "running":
            break
    return rollout


def _first(arm: Arm, caller: Owner, chance: random.Random) -> tuple[bool, float]:
    ok, seconds = chance.random() >= caller.fails, chance.lognormvariate(caller.time, _NOISE)
    cluster = cluster_of(caller.name)
    arm.add(ok=ok, seconds_per_unit=seconds, owner=cluster)
    if ok:
        arm.measure("score", chance.gauss(caller.score, _NOISE), cluster)
    return ok, seconds


def _counted(rollout: Rollout, caller: Owner, chance: random.Random) -> None:
    ok, seconds = chance.random() >= caller.fails, chance.lognormvariate(caller.time, _NOISE)
    rollout.add_first(caller.name, ok=ok, seconds_per_unit=seconds)
    if ok:
        score = chance.gauss(caller.score, _NOISE)
        rollout.a.measure("score", score, cluster_of(caller.name))


def _served(rollout: Rollout, second: Second, caller: Owner, chance: random.Random) -> bool:
    ok = chance.random() >= caller.fails and chance.random() >= second.fails
    if not ok:
        again = chance.random() >= caller.fails
        rollout.ran_again(caller.name, ok=again)
        if not again:
            return False
    seconds = second.slower * chance.lognormvariate(caller.time, _NOISE)
    rollout.add_second(caller.name, ok=ok, seconds_per_unit=seconds)
    if ok:
        score = chance.gauss(caller.score, _NOISE)
        rollout.b.measure("score", score, cluster_of(caller.name))
    return True

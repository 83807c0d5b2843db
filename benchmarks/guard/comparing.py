"""Measure how often shadow tests and rollouts decide rightly: `benchmarks.guard.comparing`.

The statistics are real; the two models are simulated. Prints each figure with its target, and
ends with 1 if one is missed.
"""

import random
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import log

from benchmarks.guard import few_owners
from benchmarks.guard.few_owners import Second
from safelight.guard.pairs import Pair
from safelight.guard.rollout import Plan, Rollout
from safelight.guard.shadow import Comparison

PAIRS, SEEDS = 500, 200
_LOOK_EVERY = 10  # pairs
_TYPES = {"make_him_old": 0.3, "add_sunglasses": 0.25, "change_background": 0.2, "style": 0.15}
_OTHER = "other"  # the remaining tenth
_RUN_NOISE, _PAUSE_SHARE, _PAUSE = 0.05, 0.01, 0.4  # of a run's time, as logarithms
_QUALITY_NOISE, _OWN_NOISE = 0.10, 0.02  # of a pair's scores: of B and A, of A and A
_INVALID = 0.01  # of both models


@dataclass(frozen=True)
class Twin:
    """How model B differs from A. The losses hold for one instruction type, or for all."""

    slower: float = 1.0
    score: float = 0.0
    invalid: float = 0.0
    kind: str = ""
    memory: float = 1.0
    bias: float = 0.0
    """How much slower copies are than first runs: of both models."""


@dataclass(frozen=True)
class Figure:
    """A measured figure beside its target."""

    name: str
    value: float
    target: float
    at_least: bool
    detail: str = ""

    @property
    def is_met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        mark = "ok    " if self.is_met else "MISSED"
        return f"{mark} {self.name:<62} {self.value:>7.3f}   {sign} {self.target:g}   {self.detail}"


# ── Shadow ───────────────────────────────────────────────────────────────────────────────────────


def pairs(twin: Twin, seed: int, number: int = PAIRS) -> Iterable[tuple[Pair, Pair | None]]:
    """Yield pairs of B and A; beside every second one a pair of A and A."""
    chance = random.Random(seed)
    for place in range(number):
        kind = _kind(chance)
        hit = twin.kind in ("", kind)
        again = place % 2 == 0
        values = _qualities(chance, _QUALITY_NOISE, -twin.score if hit else 0.0)
        values["validity"] = _validity(chance, twin.invalid if hit else 0.0)
        values["memory"] = log(twin.memory) + chance.gauss(0, 0.01)
        if again:
            values["latency"] = log(twin.slower) + _run(chance) - _run(chance)
        own = _qualities(chance, _OWN_NOISE, 0.0) | {"validity": _validity(chance, 0.0)}
        yield Pair("", kind, values), Pair("", kind, own) if again else None


def _kind(chance: random.Random) -> str:
    named = (*_TYPES, _OTHER)
    return chance.choices(named, (*_TYPES.values(), 1 - sum(_TYPES.values())))[0]


def _run(chance: random.Random) -> float:
    return chance.gauss(0, _RUN_NOISE) + _PAUSE * (chance.random() < _PAUSE_SHARE)


def _qualities(chance: random.Random, noise: float, loss: float) -> dict[str, float]:
    return {
        "score": chance.gauss(loss, noise),
        "structure": chance.gauss(0, noise),
        "adherence": chance.gauss(0, noise),
        "image_difference": abs(chance.gauss(noise, noise / 2)),
    }


def _validity(chance: random.Random, loss: float) -> float:
    first = chance.random() < _INVALID
    second = chance.random() < _INVALID + loss
    return float(first) - float(second)


def verdict(twin: Twin, seed: int, number: int = PAIRS) -> tuple[str, int]:
    """Return the overall verdict, and after how many pairs it came."""
    comparison = Comparison()
    for place, (pair, again) in enumerate(pairs(twin, seed, number), 1):
        comparison.add(pair)
        if again is not None:
            comparison.add_again(again)
        if place % _LOOK_EVERY == 0 and (found := comparison.verdict()) != "undecided":
            return found, place
    return "undecided", number


def share(twin: Twin, wanted: str, seeds: int) -> tuple[float, str]:
    """Return the share of seeds with a verdict, and how many pairs it took in the median."""
    found = [verdict(twin, seed) for seed in range(seeds)]
    after = sorted(place for name, place in found if name == wanted)
    detail = f"median {after[len(after) // 2]} pairs" if after else ""
    return len(after) / seeds, detail


def kayenta(seed: int, number: int) -> str:
    """Return the verdict on a model that takes 100 times as long for 7 of 10 requests."""
    chance, comparison = random.Random(seed), Comparison()
    for place in range(number):
        slow = log(100) if place % 10 < 7 else 0.0
        comparison.add(Pair("", _OTHER, {"latency": slow + chance.gauss(0, _RUN_NOISE)}))
    return comparison.verdict()


def of_shadow(seeds: int = SEEDS) -> list[Figure]:
    """Return the figures of shadow tests."""
    cases = (
        ("B is 5 % slower: worse within 500 pairs", Twin(slower=1.05)),
        (
            "B scores 10 points less on 20 % of the requests",
            Twin(score=0.1, kind="change_background"),
        ),
        ("B scores 10 points less on 15 % of the requests", Twin(score=0.1, kind="style")),
        ("10 points more of B's images are invalid", Twin(invalid=0.1)),
    )
    figures = []
    for name, twin in cases:
        value, detail = share(twin, "worse", seeds)
        figures.append(Figure(name, value, 0.95, at_least=True, detail=detail))
    equal = share(Twin(), "worse", seeds)[0]
    figures.append(Figure("an equal B is called worse", equal, 0.01, at_least=False))
    faster = share(Twin(slower=0.8), "better", seeds)
    figures.append(
        Figure(
            "B is 20 % faster: better within 500 pairs",
            faster[0],
            0.9,
            at_least=True,
            detail=faster[1],
        )
    )
    passed = sum(kayenta(seed, 10) == "better" for seed in range(seeds)) / seeds
    figures.append(Figure("Kayenta's failure passes after 10 pairs", passed, 0.0, at_least=False))
    seen = sum(kayenta(seed, 30) == "worse" for seed in range(seeds)) / seeds
    figures.append(Figure("Kayenta's failure is found after 30 pairs", seen, 0.95, at_least=True))
    return figures


# ── Rollout ──────────────────────────────────────────────────────────────────────────────────────

Request = Callable[[random.Random], tuple[bool, float]]


def healthy(chance: random.Random) -> tuple[bool, float]:
    """Return whether a request succeeds, and its time: a tenth varies, one of 500 fails."""
    return chance.random() >= 0.002, chance.lognormvariate(0, 0.1)


def slow(chance: random.Random) -> tuple[bool, float]:
    ok, seconds = healthy(chance)
    return ok, seconds * 2


def failing(chance: random.Random) -> tuple[bool, float]:
    ok, seconds = healthy(chance)
    return ok and chance.random() >= 0.3, seconds


def broken(_chance: random.Random) -> tuple[bool, float]:
    return False, 1.0


def rolled(model: Request, seed: int, requests: int = 20_000) -> Rollout:
    """Roll a model out to 400 callers; decide after each request of B."""
    chance = random.Random(seed)
    rollout = Rollout(Plan("b"))
    rollout.start(0.0)
    for number in range(requests):
        owner = f"owner-{chance.randrange(400)}"
        is_b = rollout.serves(owner, "")
        ok, seconds = (model if is_b else healthy)(chance)
        count = rollout.add_second if is_b else rollout.add_first
        count(owner, ok=ok, seconds_per_unit=seconds)
        if is_b:
            rollout.decide(float(number))
        if rollout.status != "running":
            break
    return rollout


def of_rollouts(seeds: int = SEEDS) -> list[Figure]:
    """Return the figures of rollouts."""
    figures = []
    for name, model in (("twice as slow", slow), ("fails 30 %", failing), ("broken", broken)):
        ends = [rolled(model, seed) for seed in range(seeds)]
        in_window = sum(
            end.status == "rolled_back" and end.place == 0 and end.b.n <= end.plan.least
            for end in ends
        )
        detail = f"after at most {max(end.b.n for end in ends)} requests"
        label = f"B {name}: rolled back in the first window of 50"
        figures.append(Figure(label, in_window / seeds, 0.95, at_least=True, detail=detail))
    few = max(1, seeds // 10)
    ends = [rolled(healthy, seed) for seed in range(few)]
    done = sum(end.status == "done" for end in ends) / few
    figures.append(Figure("an equal B reaches 100 %", done, 0.95, at_least=True))
    back = sum(end.status == "rolled_back" for end in ends) / few
    figures.append(Figure("an equal B is rolled back", back, 0.01, at_least=False))
    return figures + of_few_owners(seeds)


def of_few_owners(seeds: int = SEEDS) -> list[Figure]:
    """Return the figures of rollouts to 20 owners, 3 of whom have hard inputs."""
    back, equal = _few(Second(), seeds, requests=400)
    figures = [
        Figure("few owners: an equal B is rolled back", back, 0.01, at_least=False, detail=equal)
    ]
    for name, second in (
        ("fails all", Second(fails=1.0)),
        ("fails 30 %", Second(fails=0.3)),
        ("is twice as slow", Second(slower=2.0)),
    ):
        share, detail = _few(second, max(1, seeds // 2), requests=1200)
        label = f"few owners: B {name}: rolled back"
        figures.append(Figure(label, share, 0.98, at_least=True, detail=detail))
    return figures


def _few(second: Second, seeds: int, requests: int) -> tuple[float, str]:
    """Return the share of rollbacks among those where B served anyone, and when they came."""
    ends = [few_owners.rolled(second, seed, earlier=20, requests=requests) for seed in range(seeds)]
    ends = [end for end in ends if end.place or end.b.n]
    after = sorted(end.b.n for end in ends if end.status == "rolled_back")
    detail = f"median {after[len(after) // 2]}, at most {after[-1]} requests" if after else ""
    return len(after) / len(ends), detail


def main(seeds: int = SEEDS) -> int:
    """Print all figures; return 1 if one is missed, else 0."""
    figures = [*of_shadow(seeds), *of_rollouts(seeds)]
    print(f"Shadow and rollout, {seeds} seeds, {PAIRS} pairs")
    print("\n".join(map(str, figures)))
    return int(not all(figure.is_met for figure in figures))


if __name__ == "__main__":
    sys.exit(main())

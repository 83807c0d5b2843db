"""Each control loop under a constant load near its limit, a step and a ramp; the levels over time.

The levels are those that docs/engine.md shows.
"""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from safelight.errors import CircuitOpen, ModelError
from safelight.metrics.catalog import CIRCUIT_OPEN
from safelight.metrics.registry import Meter
from safelight.serving.job import Job, Outcome
from safelight.serving.policies.breaker import breaker
from tests.reading import FakeClock, value
from tests.serving.jobs import a_job, an_outcome
from tests.serving.policies.plant import Load, Plant, busiest_hour, changes

HOUR = 3600
DOCS = Path(__file__).parents[3] / "docs/engine.md"
CHANGES_PER_HOUR = 30
RECOVERY_SECONDS = 600


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


def step(second: int) -> float:
    """Half of what the device can do for 20 minutes, twice as much for 40, and half again."""
    return 2.0 if 20 * 60 <= second < 60 * 60 else 0.5


def ramp(second: int) -> float:
    """From nothing to twice what the device can do within an hour, and back."""
    return 2.0 * (1 - abs(second - HOUR) / HOUR) if second < 2 * HOUR else 0.0


LOADS: dict[str, tuple[Load, int]] = {"step": (step, 100 * 60), "ramp": (ramp, 150 * 60)}


def drawn(name: str) -> list[str]:
    """Return the load and the level of a plant, a character for every two minutes."""
    load, seconds = LOADS[name]
    levels = Plant().run(load, seconds)
    shades = "▁▂▃▄▅▆▇█"
    bars = (shades[min(7, round(load(at + 60) / 2 * 7))] for at in range(0, seconds, 120))
    highest = (max(levels[at : at + 120]) for at in range(0, seconds, 120))
    return [f"{name} load   {''.join(bars)}", f"{name} level  {''.join(map(str, highest))}"]


@pytest.mark.parametrize("name", LOADS)
def test_the_documented_levels_are_those_of_the_ladder(name: str) -> None:
    for row in drawn(name):
        assert row in DOCS.read_text()


# ── The degradation ladder ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("load", [0.9, 1.0, 1.05, 1.2, 1.5])
@pytest.mark.parametrize(("batch_loss", "batch_seconds"), [(0.2, 0.5), (0.2, 1.3), (0.0, 1.3)])
def test_under_a_constant_load_near_a_limit_the_level_does_not_flap(
    load: float, batch_loss: float, batch_seconds: float
) -> None:
    for seed in range(2):
        plant = Plant(seed=seed, batch_loss=batch_loss, batch_seconds=batch_seconds)
        assert busiest_hour(plant.run(lambda _: load, 3 * HOUR)) <= CHANGES_PER_HOUR


@pytest.mark.parametrize(("name", "ends"), [("step", 60 * 60), ("ramp", 90 * 60)])
def test_the_level_rises_with_the_load_and_falls_to_zero_by_itself(name: str, ends: int) -> None:
    """Both loads are above what the device can do until `ends`."""
    load, seconds = LOADS[name]
    levels = Plant().run(load, seconds)

    assert max(levels) >= 2
    assert changes(levels) <= 12
    assert not any(levels[ends + RECOVERY_SECONDS :])


def test_a_load_that_left_after_hours_near_the_limit_is_forgotten_within_half_an_hour() -> None:
    plant = Plant()
    plant.run(lambda _: 1.05, 3 * HOUR)

    assert not any(plant.run(lambda _: 0.3, HOUR)[HOUR // 2 :])


@pytest.mark.parametrize("seed", range(3))
def test_a_long_queue_alone_does_not_halve_the_batches_that_would_empty_it(seed: int) -> None:
    """Halved batches would do 0.6 of the work: a load of 0.9 would keep them halved for ever."""
    plant = Plant(seed=seed, batch_loss=0.4)
    plant.work = 100.0  # a burst
    levels = plant.run(lambda _: 0.9, 3 * HOUR)

    assert max(levels[:60]) >= 1
    assert not any(levels[HOUR:][-HOUR // 2 :])
    assert plant.governor.batch_limit(8) == 8


def test_slow_batches_are_halved_and_stay_so_while_a_queue_holds_the_level() -> None:
    plant = Plant(batch_seconds=1.3)
    plant.run(lambda _: 1.0, HOUR)

    assert plant.governor.level >= 1
    assert plant.governor.batch_limit(8) == 4


# ── The circuit breaker ──────────────────────────────────────────────────────────────────────────


class Failing:
    """A model of which a share of the jobs fails, behind a breaker; four callers, a job a second.

    They send for `seconds`; the result is how often the circuit opened, and the jobs refused.
    """

    REST_SECONDS = 15.0

    def __init__(self, seed: int = 1) -> None:
        self.clock, self.meter, self.chance = FakeClock(), Meter("tests"), random.Random(seed)
        self.share = 0.0
        self.handle = breaker(
            self._model, failures=5, rest_seconds=15.0, meter=self.meter, clock=self.clock
        )

    async def _model(self, job: Job) -> Outcome:
        if self.chance.random() < self.share:
            raise ModelError("ValueError")
        return an_outcome()

    async def send(self, share: float, seconds: int) -> tuple[int, int]:
        self.share, openings, refused, was_open = share, 0, 0, False
        for number in range(seconds):
            self.clock.now += 1
            try:
                await self.handle(a_job(str(number), owner=f"caller {number % 4}"))
            except ModelError:
                pass
            except CircuitOpen:
                refused += 1
            is_open = value(self.meter, CIRCUIT_OPEN) > 0
            openings += is_open and not was_open
            was_open = is_open
        return openings, refused


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_model_that_fails_now_and_then_opens_the_circuit_at_most_once_a_rest(
    share: float, seed: int
) -> None:
    openings, _ = asyncio.run(Failing(seed).send(share, HOUR // 6))

    assert openings <= HOUR // 6 / Failing.REST_SECONDS


def test_a_model_that_always_fails_is_tried_now_and_then_and_the_circuit_stays_open() -> None:
    openings, refused = asyncio.run(Failing().send(1.0, HOUR // 6))

    assert openings == 1
    assert refused >= HOUR // 6 / 2


def test_the_circuit_closes_by_itself_once_the_model_works_again() -> None:
    async def scenario() -> None:
        failing = Failing()
        await failing.send(1.0, HOUR // 6)
        await failing.send(0.0, int(2 * Failing.REST_SECONDS))
        assert value(failing.meter, CIRCUIT_OPEN) == 0
        assert await failing.send(0.0, 60) == (0, 0)

    asyncio.run(scenario())

"""Measure the canary: what it finds, what it costs: `python -m benchmarks.guard.canary`.

Breaks a real model (the demo that edits images) in fourteen ways while a service has it loaded, and
counts the runs until each is found; then measures how long requests wait for a run. Prints each
figure with its target, and ends with 1 if one is missed.
"""

import asyncio
import logging
import random
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import structlog

from benchmarks.guard.comparing import Figure
from safelight.guard.golden import ENROL_RUNS, Print, Run, enrol
from safelight.guard.turns import Turns
from safelight.guard.verdicts import GOOD_RUNS, Deep, Health, State
from safelight.serving.app import Service
from safelight.serving.canary.check import Check
from tests.serving.canary.breaking import KINDS, LOADED, STEP_SECONDS
from tests.serving.running import client, edit, engine, eventually

_MODEL, _SLOW = (f"tests.serving.canary.breaking:{name}" for name in ("edit", "slow"))
_RUNS, _SEEDS, _DAY = 3, 100, 86_400
_WAITS = 10
_INTERVAL, _RATIO = 60.0, 0.01  # the defaults


def _check(service: Service, folder: Path) -> Check:
    """Return a check whose next run is always due."""
    changes = {"state_folder": folder, "canary_seconds": 1e-6, "canary_ratio": 1.0}
    settings = service.settings.model_copy(update=changes)
    check = Check(service.pool.workers[0], service.engine, service.pool, settings)
    check._turns = Turns(1e-6, 1.0, _balance=3600.0)
    return check


async def _found(folder: Path) -> tuple[int, list[str]]:
    """Return how many kinds there are, and those that three runs did not find."""
    missed = []
    async with engine(model=_MODEL, seconds=600) as service:
        check = _check(service, folder)
        while check.enrolment is None:
            await check.step()
        (backend,) = LOADED
        for kind in KINDS:
            with kind(backend):
                for run in range(1, _RUNS + 1):
                    await check.step()
                    if check.health.broken:
                        print(f"       found after {run}: {kind.__doc__}")
                        break
                else:
                    missed.append(kind.__name__)
            for _ in range(GOOD_RUNS + _RUNS):
                await check.step()
    LOADED.clear()
    return len(KINDS), missed


async def _waits(folder: Path) -> list[float]:
    """Return how long requests that met a run took longer than one that met none, in steps."""
    waits = []
    async with engine(model=_SLOW, seconds=600) as service, client(service) as speaking:
        worker, check = service.pool.workers[0], _check(service, folder)
        began = time.perf_counter()
        await edit(speaking, "quick", steps=1)
        alone = time.perf_counter() - began
        for _ in range(_WAITS):
            run = asyncio.create_task(check.step())
            await eventually(lambda: worker.probe is not None and worker.probe.started)
            began = time.perf_counter()
            await edit(speaking, "quick", steps=1)
            waits.append((time.perf_counter() - began - alone) / STEP_SECONDS)
            await run
    return waits


def _false_alarms() -> int:
    """Return the wrong and slow verdicts on a healthy model in simulated days."""
    alarms = 0
    for seed in range(_SEEDS):
        chance, health = random.Random(seed), Health()
        golden = enrol([_noisy(chance) for _ in range(ENROL_RUNS)])
        for _ in range(int(_DAY / _INTERVAL)):
            run = _noisy(chance)
            wrong, slow = golden.drift(run.output) > 1, run.seconds > golden.slow_seconds
            before = health.verdict
            health.ran(Deep(State.WRONG if wrong else State.SLOW if slow else State.GOOD))
            alarms += health.verdict is not State.GOOD and before is not health.verdict
    return alarms


def _noisy(chance: random.Random) -> Run:
    """Return a run of a healthy model: rounding noise, and one run in 200 takes thrice as long."""
    levels = bytes(100 + (chance.random() < 0.05) for _ in range(192))
    seconds = 0.3 * chance.lognormvariate(0, 0.05) * (3 if chance.random() < 0.005 else 1)
    return Run(Print(str(chance.random()), levels), seconds)


def _share_of_a_day(cost: float) -> float:
    """Return the share of a day's device time that runs of so many seconds take."""
    turns, spent = Turns(_INTERVAL, _RATIO), 0.0
    for now in range(0, _DAY, 5):
        if turns.due(float(now), cost):
            turns.spend(float(now), cost, ran=True)
            spent += cost
    return spent / _DAY


def main() -> int:
    """Print all figures; return 1 if one is missed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with TemporaryDirectory() as folder:
        number, missed = asyncio.run(_found(Path(folder, "one")))
        waits = asyncio.run(_waits(Path(folder, "two")))
    share = max(_share_of_a_day(cost) for cost in (0.05, 0.5, 5.0))
    detail = f"missed: {', '.join(missed)}" if missed else f"{number} of {number}"
    figures = (
        Figure("canary: kinds of broken models found in 3 runs", number - len(missed), 12, True),
        Figure("canary: kinds not found", len(missed), 0, False, detail),
        Figure("canary: false alarms in 100 simulated days", _false_alarms(), 0, False),
        Figure("canary: share of a day's device time, once enrolled", share, 0.01, False),
        Figure(
            "canary: wait of a request that meets a run, in steps (median)",
            median(waits),
            1.0,
            False,
        ),
        Figure("canary: the longest such wait, in steps", max(waits), 1.25, False),
    )
    for figure in figures:
        print(figure)
    return int(not all(figure.is_met for figure in figures))


if __name__ == "__main__":
    sys.exit(main())

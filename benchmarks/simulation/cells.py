"""One cell of the table: jobs in an open loop, through the real policies and the real engine."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from unittest.mock import patch

from benchmarks.simulation.device import STEPS, Costs, Device
from benchmarks.simulation.loop import VirtualLoop
from benchmarks.simulation.optimum import optimum
from safelight.errors import Overloaded, Timeout
from safelight.serving.app import assemble
from safelight.serving.engine.batching import Batching
from safelight.serving.engine.launch import Place
from safelight.serving.engine.pool import Pool
from safelight.serving.job import EditParameters, Handler, Job
from safelight.serving.policies.degradation import Governor
from safelight.serving.wire.process import OnMessage
from safelight.settings import Settings, load
from safelight.telemetry.meter import service_meter
from safelight.telemetry.record import Exchange
from safelight.telemetry.timeline import Timeline

SERVICE_SECONDS = 0.1  # the time of one edit alone
LARGEST = 8  # of a batch, which then takes 2.4 times as long as one edit
_A, _B = 0.8 * SERVICE_SECONDS, 0.2 * SERVICE_SECONDS
_TRANSFER_SECONDS, _ENCODE_SECONDS = 0.0002, 0.002
_WARM_UP_JOBS = 40  # of each of 8 callers, who wait for their answers
_FAR_SECONDS = 60.0


@dataclass(frozen=True)
class Cell:
    """The jitter of a batch's time as a share, the deadline in service times, and the load.

    The load is in times the capacity, which is the throughput in batches of the largest size.
    """

    jitter: float
    deadline: float
    load: float


@dataclass(frozen=True)
class Result:
    """Goodput as a share of the optimum, and of the capacity; late jobs, of those accepted.

    `wasted` is the share of the device's time that went to jobs that were late after all.
    """

    of_optimum: float
    of_capacity: float
    late: float
    wasted: float


@dataclass(frozen=True)
class Load:
    """What happens: when jobs arrive, their deadline, and the noise of each batch. In seconds."""

    arrivals: Sequence[float]
    deadline: float
    factors: Sequence[float]
    warm_up: Sequence[float]


def cost(n: int) -> float:
    """Return the seconds of a batch of n edits, without noise."""
    return _A + _B * n


def simulate(cell: Cell, *, service_times: float = 100.0, seed: int = 1) -> Result:
    """Run a cell for so many service times, on a warm service."""
    seconds = service_times * SERVICE_SECONDS
    work = _load(cell, seconds, Random(f"{cell} {seed}"))
    loop = VirtualLoop()
    try:
        answers, batches = loop.run_until_complete(_served(work))
    finally:
        loop.close()
    overhead = 2 * _TRANSFER_SECONDS + _ENCODE_SECONDS
    best = optimum(work.arrivals, work.deadline - overhead, cost, LARGEST, work.factors)
    done, late = (sum(a == kind for a in answers.values()) for kind in ("in time", "late"))
    wasted = sum(s * sum(answers[i] == "late" for i in ids) / len(ids) for ids, s in batches)
    return Result(
        done / best,
        done / (seconds * LARGEST / cost(LARGEST)),
        late / max(1, done + late),
        wasted / sum(seconds for _, seconds in batches),
    )


def _load(cell: Cell, seconds: float, chance: Random) -> Load:
    """Return jobs that arrive at random, independently of each other."""
    per_second = cell.load * LARGEST / cost(LARGEST)
    arrivals = [chance.expovariate(per_second)]
    while arrivals[-1] < seconds:
        arrivals.append(arrivals[-1] + chance.expovariate(per_second))
    low, high = 1 - cell.jitter, 1 + cell.jitter
    factors = [chance.uniform(low, high) for _ in range(len(arrivals) + 1)]
    warm_up = [chance.uniform(low, high) for _ in range(LARGEST * _WARM_UP_JOBS)]
    return Load(arrivals[:-1], cell.deadline * SERVICE_SECONDS, factors, warm_up)


async def _served(work: Load) -> tuple[dict[str, str], list[tuple[list[str], float]]]:
    """Return how each job was answered, and the batches after the warm-up."""
    devices: list[Device] = []

    async def launch(settings: Settings, place: Place, on_message: OnMessage) -> Device:
        costs = Costs(cost, _TRANSFER_SECONDS, _ENCODE_SECONDS, iter(work.warm_up))
        devices.append(Device(costs, on_message))
        return devices[-1]

    meter = service_meter("simulation")
    settings = load(model="simulated", batch_limit=LARGEST, degradation_level=0, hang_seconds=3600)
    pool, governor = Pool(settings, meter), Governor((), meter, dwell_seconds=1, pinned=0)
    engine = Batching(pool, meter, limit=lambda: settings.batch_limit)
    handle = assemble(engine, engine, governor, settings, meter)
    with patch("safelight.serving.engine.worker_handle.launch", launch):
        pool.start(engine.receive)
        await asyncio.sleep(1.0)
    device = devices[0]
    await asyncio.gather(*(_caller(handle, number) for number in range(LARGEST)))
    await asyncio.sleep(1.0)
    device.costs.factors = iter(work.factors)
    device.batches.clear()
    answers = await _open_loop(handle, work)
    await asyncio.sleep(10 * work.deadline)  # the last batch ends
    await pool.stop()
    return answers, device.batches


async def _caller(handle: Handler, caller: int) -> None:
    for number in range(_WARM_UP_JOBS):
        await _answer(handle, f"warm-{caller}-{number}", _FAR_SECONDS)


async def _open_loop(handle: Handler, work: Load) -> dict[str, str]:
    """Send all jobs at their times, and return their answers."""
    loop, answers = asyncio.get_running_loop(), {}
    start = loop.time()
    for number, at in enumerate(work.arrivals):
        await asyncio.sleep(max(0.0, start + at - loop.time()))
        name = f"job-{number}"
        answers[name] = asyncio.create_task(_answer(handle, name, work.deadline))
    return dict(zip(answers, await asyncio.gather(*answers.values()), strict=True))


async def _answer(handle: Handler, name: str, deadline: float) -> str:
    """Send one job; return how it was answered. A job that is given up is late too."""
    loop = asyncio.get_running_loop()
    due = loop.time() + deadline
    parameters = EditParameters(instruction="make him old", steps=STEPS)
    exchange = Exchange(Timeline())
    job = Job(name, b"", (64, 64), parameters, 1, due, exchange, timeout_seconds=deadline)
    try:
        await handle(job)
    except Overloaded:
        return "refused"
    except Timeout:
        return "late"
    return "in time" if loop.time() <= due else "late"

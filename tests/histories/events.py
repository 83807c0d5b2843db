"""What happens to healthy services. Each event changes a world, and says in words what it did.

None of them needs anybody: no request fails by the service's fault, but for a few within the
objective, and no low-priority request counts.
"""

from collections.abc import Callable

import numpy as np

from safelight.metrics import catalog as c
from tests.histories.exposition import DOWN, UNLISTED
from tests.histories.history import World
from tests.histories.service import Replica
from tests.histories.worlds import listed_during

Event = Callable[[World, np.random.Generator], str]


def _minute(world: World, rng: np.random.Generator, room: float = 120.0) -> float:
    """Return a random minute that leaves some minutes before the end."""
    last = world.grid.times[-1] / 60
    return float(rng.uniform(20, max(21.0, last - room)))


def deploy(world: World, rng: np.random.Generator) -> str:
    """Restart all replicas, one after the other; a single one while no caller sends requests."""
    minute, load = _minute(world, rng), float(rng.uniform(1.5, 5))
    service = world.service
    begin, at = minute, minute
    if len(service.replicas) == 1:
        service.rate[world.grid.during(minute - 1, minute + load + 2)] = 0
    for number in range(len(service.replicas)):
        service.restart(number, at, load, float(rng.choice([0, 1])))
        warm_ups = np.where(world.grid.during(at + load, at + load + 3), 1.0, 0.0)
        service.add(
            c.WARM_UPS, (), np.floor(rng.uniform(0, 2, world.grid.steps)) * warm_ups, number
        )
        at += load + float(rng.uniform(1, 3))
    return f"deploy from minute {begin:.0f} to {at:.0f}"


def crash(world: World, rng: np.random.Generator) -> str:
    """Crash one replica, which starts again at once; the others serve meanwhile."""
    minute, service = _minute(world, rng), world.service
    number = int(rng.integers(len(service.replicas)))
    if len(service.replicas) == 1:
        return "no crash: there is one replica, so it would be an incident"
    service.restart(number, minute, float(rng.uniform(1, 3)), 1)
    return f"crash of replica {number} at minute {minute:.0f}"


def target_gap(world: World, rng: np.random.Generator) -> str:
    """Remove a target from the list of targets, and add it again, without a restart."""
    minute, length = _minute(world, rng), float(rng.uniform(1, 9))
    replica = world.service.replicas[-1]
    replica.life[world.grid.during(minute, minute + length)] = UNLISTED
    return f"{replica.instance} is not scraped for {length:.0f} minutes from minute {minute:.0f}"


def scrape_fails(world: World, rng: np.random.Generator) -> str:
    """Let a few single scrapes time out."""
    for replica in world.service.replicas:
        for place in rng.integers(10, world.grid.steps - 10, 3):
            replica.life[place] = DOWN
    return "three single scrapes of each replica fail"


def autoscaling(world: World, rng: np.random.Generator) -> str:
    """Add three replicas for some hours of much traffic."""
    begin, hours = _minute(world, rng, 300), float(rng.uniform(1, 4))
    service, grid = world.service, world.grid
    machine = service.replicas[0].machine
    end = begin + 60 * hours
    load = float(rng.uniform(1.5, 4))
    for number in range(3):
        start = begin + 2 * number
        new = Replica(
            f"world{world.number}-pod{number}:8000", np.zeros(grid.steps, dtype=np.int64),
            np.ones(grid.steps, dtype=np.int64), machine,
        )  # fmt: skip
        listed_during(new, grid, start, end + 3 * number, load)
        service.replicas.append(new)
    service.rate[grid.during(begin + load + 5, end - 5)] *= 2.5
    return f"three more replicas from minute {begin:.0f} to {end:.0f}"


def load_step(world: World, rng: np.random.Generator) -> str:
    begin, hours = _minute(world, rng, 200), float(rng.uniform(0.5, 3))
    service = world.service
    room = 0.6 * len(service.replicas) / float(service.call_seconds.max())
    during = world.grid.during(begin, begin + 60 * hours)
    service.rate[during] = np.minimum(service.rate[during] * 3 + 0.02, room)
    return f"three times the traffic from minute {begin:.0f} for {hours:.1f} hours"


def batch_job(world: World, rng: np.random.Generator) -> str:
    """Let a low-priority client keep many requests in flight, as the queue allows."""
    begin, hours, held = _minute(world, rng, 200), float(rng.uniform(0.5, 3)), rng.integers(8, 60)
    world.service.batch[world.grid.during(begin, begin + 60 * hours)] = float(held)
    return f"{held} low-priority requests in flight from minute {begin:.0f} for {hours:.1f} hours"


def ending_job(world: World, rng: np.random.Generator) -> str:
    """Let a client send a job of normal priority, which then is done."""
    begin, hours = _minute(world, rng, 200), float(rng.uniform(0.7, 2))
    service = world.service
    each = 0.3 * len(service.replicas) / float(service.call_seconds.max())
    service.rate[world.grid.during(begin, begin + 60 * hours)] += each
    return f"a job of {each:.2f} requests/s from minute {begin:.0f} for {hours:.1f} hours"


def _callers(status: int, error: str, refusal: str = "") -> Event:
    def event(world: World, rng: np.random.Generator) -> str:
        begin, length = _minute(world, rng), float(rng.uniform(10, 90))
        share = float(rng.uniform(0.2, 0.7))
        world.service.fail(begin, begin + length, share, status, error, refusal=refusal)
        return f"{share:.0%} {error} from minute {begin:.0f} for {length:.0f} minutes"

    return event


def cancelling(world: World, rng: np.random.Generator) -> str:
    begin, length = _minute(world, rng), float(rng.uniform(10, 90))
    world.service.fail(begin, begin + length, 0.25, 499, "cancelled", seconds=0.5)
    return f"25 % cancelled while they wait, from minute {begin:.0f} for {length:.0f} minutes"


def single_failures(world: World, rng: np.random.Generator) -> str:
    """Let three requests of the whole history fail, each alone."""
    for minute in rng.uniform(10, world.grid.times[-1] / 60 - 10, 3):
        at = world.grid.at(minute)
        world.service.rate[at] = max(world.service.rate[at], 1 / world.grid.step_seconds)
        world.service.fail(minute, minute + 1, 0.7, 500, "model_error", kind="make_him_old")
    return "three moments with a failure"


def busy_gpu(world: World, rng: np.random.Generator) -> str:
    """Let another program keep the GPU busy and hot, within its limits."""
    begin, hours = _minute(world, rng), float(rng.uniform(1, 8))
    machine = world.machines[0]
    machine.gpu_busy[world.grid.during(begin, begin + 60 * hours)] = 1.0
    machine.gpu_used[:] = 0.97 * machine.gpu_total
    machine.celsius[:] = np.minimum(machine.celsius, 48)
    return f"a GPU at 100 % from minute {begin:.0f} for {hours:.1f} hours, its memory at 97 %"


def busy_host(world: World, rng: np.random.Generator) -> str:
    """Let another program use the processors, the memory and the disk, but leave enough."""
    begin, hours = _minute(world, rng), float(rng.uniform(0.5, 6))
    machine, during = world.machines[0], world.grid.during(begin, begin + 60 * hours)
    machine.cpu[during] = 0.95
    machine.memory_used[during] = 0.88 * machine.memory_total
    machine.disk_busy[world.grid.during(begin, begin + 25)] = 0.97
    return f"processors at 95 %, memory at 88 % from minute {begin:.0f} for {hours:.1f} hours"


def cold_cache(world: World, rng: np.random.Generator) -> str:
    """Let a caller now and then ask for a large image, which takes four seconds."""
    world.service.large = 0.035
    world.service.call_seconds *= 1.15 / float(world.service.call_seconds.mean())
    return "3.5 % of the requests are for large images, of about 4 seconds"


def quiet(world: World, rng: np.random.Generator) -> str:
    world.service.rate *= 0.03
    return "hardly any traffic"


EVENTS: dict[str, Event] = {
    "deploy": deploy,
    "crash": crash,
    "gap of one target": target_gap,
    "single failed scrapes": scrape_fails,
    "autoscaling": autoscaling,
    "load step": load_step,
    "low-priority job": batch_job,
    "job that ends": ending_job,
    "wrong parameters": _callers(422, "invalid_parameter"),
    "bad uploads": _callers(415, "unsupported_media_type"),
    "too large uploads": _callers(413, "body_too_large"),
    "rate limit": _callers(429, "rate_limited", "rate_limited"),
    "no key": _callers(401, "unauthorized", "unauthorized"),
    "cancelled": cancelling,
    "single failures": single_failures,
    "busy GPU": busy_gpu,
    "busy host": busy_host,
    "large images": cold_cache,
    "hardly any traffic": quiet,
}

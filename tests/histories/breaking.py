"""How each incident changes a healthy world, from one minute until another."""

from collections.abc import Callable

import numpy as np

from safelight.metrics import catalog as c
from safelight.metrics.metric import Metric
from tests.histories.exposition import DOWN, UNLISTED, Flags, Floats
from tests.histories.history import Monitoring, World
from tests.histories.machine import GIB

Breaking = Callable[[World, float, float], None]
Silencing = Callable[[Monitoring, float, float], None]


def _since(world: World, begin: float) -> Floats:
    """Return the minutes since the beginning, 0 before it."""
    return np.maximum(0.0, world.grid.times / 60 - begin)


def _during(world: World, begin: float, end: float) -> Flags:
    return world.grid.during(begin, end)


def _failing(share: float, error: str, status: int = 500, **more: object) -> Breaking:
    def breaking(world: World, begin: float, end: float) -> None:
        world.service.fail(begin, end, share, status, error, **more)

    return breaking


def _slower(factor: float) -> Breaking:
    def breaking(world: World, begin: float, end: float) -> None:
        world.service.call_seconds[_during(world, begin, end)] *= factor

    return breaking


def _counted(metric: Metric, *labels: str, every_minutes: float = 1, number: float = 1) -> Breaking:
    """Return a breaking that adds to a counter of the first replica, at once and again."""

    def breaking(world: World, begin: float, end: float) -> None:
        added, step = world.grid.full(0), world.grid.step_seconds
        first = world.grid.at(begin)
        added[first : world.grid.at(end) : max(1, round(every_minutes * 60 / step))] = number
        world.service.add(metric, labels, added)

    return breaking


def _level(metric: Metric, usual: float, broken: float) -> Breaking:
    def breaking(world: World, begin: float, end: float) -> None:
        levels = np.where(_during(world, begin, end), broken, usual)
        world.service.replicas[0].levels[metric] = levels

    return breaking


def _monitoring_counter(name: str) -> Silencing:
    def breaking(monitoring: Monitoring, begin: float, end: float) -> None:
        counted = getattr(monitoring, name)
        counted[monitoring.grid.at(begin) : monitoring.grid.at(end) : 4] = 1.0

    return breaking


def queue_grows(world: World, begin: float, end: float) -> None:
    world.service.rate[_during(world, begin, end)] *= 4


def queue_full(world: World, begin: float, end: float) -> None:
    world.service.fail(begin, end, 0.3, 503, "overloaded", seconds=0.01, refusal="queue_full")


def never_loads(world: World, begin: float, end: float) -> None:
    for replica in world.service.replicas:
        replica.ready[_during(world, begin, end)] = 0
    _counted(c.WORKER_RESTARTS, "load_failed", every_minutes=4)(world, begin, end)


def hangs(world: World, begin: float, end: float) -> None:
    world.service.replicas[0].stuck = _during(world, begin, end)


def loop_blocked(world: World, begin: float, end: float) -> None:
    world.service.replicas[0].blocked = np.where(_during(world, begin, end), 0.6, 0.002)


def down(world: World, begin: float, end: float) -> None:
    world.service.replicas[0].life[_during(world, begin, end)] = DOWN


def black_images(world: World, begin: float, end: float) -> None:
    world.service.restart(0, begin - 5, 2, 0)
    service, during = world.service, _during(world, begin, end)
    service.fail(begin, end, 0.3, 500, "invalid_output", seconds=0.8, device=True)
    added = np.where(during, 0.3 * service.rate * world.grid.step_seconds, 0.0)
    service.add(c.OUTPUT_INVALID, ("black",), world.rng.poisson(added).astype(float))


def route_fails(world: World, begin: float, end: float) -> None:
    world.service.route_failing = np.where(_during(world, begin, end), 1.0, 0.0)


def throttled(world: World, begin: float, end: float) -> None:
    world.machines[0].throttled["hardware_thermal"] = _during(world, begin, end).astype(float)
    _slower(1.6)(world, begin, end)


def hot(world: World, begin: float, end: float) -> None:
    world.machines[0].celsius[_during(world, begin, end)] = 90


def memory_errors(world: World, begin: float, end: float) -> None:
    world.machines[0].uncorrected[world.grid.at(begin)] = 1


def gpu_gone(world: World, begin: float, end: float) -> None:
    world.machines[0].gpu_missing = _during(world, begin, end)
    probe_silent(world, begin, end)


def probe_silent(world: World, begin: float, end: float) -> None:
    age = np.where(_during(world, begin, end), 4 + 60 * _since(world, begin), 4.0)
    world.service.replicas[0].probe_age = age


def _vram(bytes_per_hour: float) -> Breaking:
    def breaking(world: World, begin: float, end: float) -> None:
        machine, replica = world.machines[0], world.service.replicas[0]
        grown = _since(world, begin) / 60 * bytes_per_hour
        machine.gpu_total = 16 * GIB
        replica.vram = 4.2e9 + grown + 4e8 * (world.rng.random(world.grid.steps) < 0.5)
        machine.gpu_used = np.minimum(0.999 * machine.gpu_total, 7e9 + grown)

    return breaking


def host_leak(world: World, begin: float, end: float) -> None:
    machine = world.machines[0]
    machine.memory_total = 32 * GIB
    machine.memory_used = 14 * GIB + _since(world, begin) / 60 * 8 * GIB


def process_leak(world: World, begin: float, end: float) -> None:
    grown = _since(world, begin) / 60 * 6e8
    world.service.replicas[0].levels["process_resident_memory_bytes"] = 3e8 + grown


def disk_fills(world: World, begin: float, end: float) -> None:
    machine = world.machines[0]
    machine.filesystem_size = 400 * GIB
    machine.filesystem_used = 240 * GIB + _since(world, begin) / 60 * 70 * GIB


def descriptors(world: World, begin: float, end: float) -> None:
    used: Floats = np.minimum(1020.0, 60 + 76 * _since(world, begin))
    world.service.replicas[0].levels["process_open_fds"] = np.round(used)


def crash_loop(world: World, begin: float, end: float) -> None:
    for number in range(int(end - begin)):
        world.service.restart(0, begin + number, 0.5, 0.25)


def missing(world: World, begin: float, end: float) -> None:
    for replica in world.service.replicas:
        replica.life[_during(world, begin, end)] = UNLISTED


def traffic_stops(world: World, begin: float, end: float) -> None:
    world.service.rate[_during(world, begin, end)] = 0


def alertmanager_gone(monitoring: Monitoring, begin: float, end: float) -> None:
    monitoring.alertmanagers[monitoring.grid.during(begin, end)] = 0


def circuit_open(world: World, begin: float, end: float) -> None:
    _failing(0.97, "circuit_open", 503, refusal="circuit_open")(world, begin, end)
    _level(c.CIRCUIT_OPEN, 0, 1)(world, begin, end)


def _model(state: str) -> Breaking:
    def breaking(world: World, begin: float, end: float) -> None:
        world.service.replicas[0].model[state] = _during(world, begin, end)

    return breaking


def never_idle(world: World, begin: float, end: float) -> None:
    late = np.clip(_since(world, begin) * 60, 30, None)
    world.service.replicas[0].canary_age = np.where(_during(world, begin, end), late, 30.0)


def wasted(world: World, begin: float, end: float) -> None:
    during = _during(world, begin, end)
    world.service.fail(begin, end, 0.6, 499, "cancelled", seconds=0.6, device=True)
    spent = np.where(during, 0.6 * world.grid.step_seconds, 0.0)
    world.service.add(c.DEVICE_SECONDS, ("cancelled",), spent)


BREAKING: dict[str, Breaking] = {
    "first failures ever": _failing(1.0, "internal_error"),
    "failures of a small service": _failing(1.0, "internal_error"),
    "slow model": _slower(3),
    "slow steps": _slower(25),
    "queue grows": queue_grows,
    "queue is full": queue_full,
    "GPU out of memory": _failing(0.2, "cuda_oom", seconds=0.4, device=True),
    "worker killed again and again": _counted(c.WORKER_RESTARTS, "died", every_minutes=2),
    "worker never loads": never_loads,
    "worker hangs": hangs,
    "requests of one replica stuck": hangs,
    "event loop blocked": loop_blocked,
    "event loop deadlocked": down,
    "black images": black_images,
    "one type at 62 %": _failing(0.38, "model_error", kind="add_hat", device=True),
    "one route fails": route_fails,
    "GPU throttled": throttled,
    "GPU hot": hot,
    "GPU memory errors": memory_errors,
    "GPU gone": gpu_gone,
    "VRAM leak": _vram(1e9),
    "VRAM full soon": _vram(5e9),
    "host memory leak": host_leak,
    "API process leak": process_leak,
    "disk fills up": disk_fills,
    "file descriptors run out": descriptors,
    "crash loop": crash_loop,
    "target down": down,
    "Prometheus refuses the page": down,
    "service missing": missing,
    "traffic stops": traffic_stops,
    "records lost": _counted(c.RECORDS, "lost"),
    "log lines lost": _counted(c.LOG_LINES_LOST),
    "probe fails": _counted(c.PROBE_FAILURES, "nvml"),
    "probe silent": probe_silent,
    "slow exposition": _level(c.EXPOSITION_SECONDS, 0.012, 2.5),
    "circuit open": circuit_open,
    "model file swapped": _model("wrong"),
    "device slower": _model("slow"),
    "no idle time for the canary": never_idle,
    "rollout rolled back": _counted(c.ROLLBACKS),
    "second model worse": _counted(c.SHADOW, "worse"),
    "timeouts": _failing(0.3, "timeout", 504, seconds=60.0, device=True),
    "recompilation storm": _counted(c.WARM_UPS, every_minutes=0.25, number=2),
    "device time wasted": wasted,
    "guidance ignored": _counted(c.GUIDANCE_OVERRIDDEN, "image_guidance_scale", every_minutes=0.25,
                                 number=20),
    "budget burns fast": _failing(0.4, "model_error", device=True),
    "budget burns": _failing(0.1, "model_error", device=True),
    "budget burns slowly": _failing(0.045, "model_error", device=True),
}  # fmt: skip

# What breaks in the monitoring itself.
SILENCING: dict[str, Silencing] = {
    "Alertmanager gone": alertmanager_gone,
    "notifications fail": _monitoring_counter("notification_failures"),
    "relay refused": _monitoring_counter("relay_refusals"),
    "rules fail": _monitoring_counter("rule_failures"),
}

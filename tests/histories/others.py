"""What else one Prometheus scrapes: itself, Alertmanager, the relay, DCGM and another team."""

import numpy as np

from safelight.metrics import catalog as c
from tests.histories.exposition import DOWN, Flags, Floats, Grid, Target
from tests.histories.machine import Machine

_GROUPS = ("instructpix2pix-budgets", "instructpix2pix-service", "instructpix2pix-failures")
_DCGM_UNKNOWN = 9223372036854775807.0


def _target(grid: Grid, job: str, instance: str, seen: Flags) -> Target:
    return Target(grid, job, instance, np.zeros(grid.steps, dtype=np.int64), seen, 1e6)


def prometheus(
    grid: Grid, seen: Flags, rng: np.random.Generator, alertmanagers: Floats, failing: Floats
) -> Target:
    """Return Prometheus' own page. Another team's rules fail now and then, ours by `failing`."""
    target = _target(grid, "prometheus", "localhost:9090", seen)
    name = "prometheus_rule_evaluation_failures_total"
    for group in _GROUPS:
        target.counter(name, failing, True, rule_group=f"/etc/prometheus/safelight.yml;{group}")
    theirs = (rng.random(grid.steps) < 0.05).astype(float)
    target.counter(name, theirs, True, rule_group="/etc/prometheus/shop.yml;checkout")
    target.gauge("prometheus_notifications_alertmanagers_discovered", alertmanagers)
    return target


def alertmanager(grid: Grid, seen: Flags, failing: Floats) -> Target:
    """Return Alertmanager's page, with failed notifications to the relay."""
    target = _target(grid, "alertmanager", "localhost:9093", seen)
    for integration in ("webhook", "email", "slack", "pagerduty"):
        for reason in ("clientError", "serverError", "other"):
            counted = (
                failing if (integration, reason) == ("webhook", "serverError") else grid.full(0)
            )
            target.counter(
                "alertmanager_notifications_failed_total", counted, True,
                integration=integration, reason=reason,
            )  # fmt: skip
    return target


def relay(grid: Grid, seen: Flags, refused: Floats, rng: np.random.Generator) -> Target:
    """Return the page of the relay to group chats."""
    target = _target(grid, "safelight-relay", "localhost:9199", seen)
    for channel in c.CHANNEL.values or ():
        for outcome in c.DELIVERY.values or ():
            counted = grid.full(0)
            if channel == "dingtalk" and outcome == "delivered":
                counted = (rng.random(grid.steps) < 0.01).astype(float)
            if (channel, outcome) == ("dingtalk", "refused"):
                counted = refused
            target.counter(c.NOTIFICATIONS, counted, True, channel=channel, outcome=outcome)
    return target


def dcgm(machine: Machine, seen: Flags, host: str) -> Target:
    """Return the page of NVIDIA's exporter for the GPU of a machine."""
    target = _target(machine.grid, "dcgm", f"{host}:9400", seen)
    mib, busy = 2.0**20, machine.gpu_busy
    used = np.minimum(machine.gpu_total, machine.gpu_used)
    for name, values in (
        ("GPU_UTIL", np.round(100 * busy)),
        ("MEM_COPY_UTIL", np.round(60 * busy)),
        ("FB_USED", np.round(used / mib)),
        ("FB_FREE", np.round((machine.gpu_total - used) / mib)),
        ("FB_RESERVED", machine.grid.full(420)),
        ("GPU_TEMP", np.round(machine.celsius + 30 * busy)),
        ("POWER_USAGE", 70 + 230 * busy),
        ("TOTAL_ENERGY_CONSUMPTION", 1e9 + np.cumsum(1000 * (70 + 230 * busy))),
        ("SM_CLOCK", machine.grid.full(1700)),
        ("MEM_CLOCK", machine.grid.full(_DCGM_UNKNOWN)),
        ("XID_ERRORS", machine.grid.full(31)),  # of a program, before the exporter started
    ):
        target.gauge(f"DCGM_FI_DEV_{name}", values, gpu="0", UUID=machine.uuid, Hostname=host)
    return target


def another_team(grid: Grid, seen: Flags, rng: np.random.Generator) -> Target:
    """Return a service of another team: it restarts, fails and leaks as it likes."""
    life = np.cumsum(rng.random(grid.steps) < 0.004)
    life = np.where(rng.random(grid.steps) < 0.01, DOWN, life)
    target = Target(grid, "shop", "shop:8000", life.astype(np.int64), seen)
    age = grid.times - target.started
    target.gauge("process_resident_memory_bytes", 3e8 + 1e5 * age)
    target.gauge("process_open_fds", grid.full(950))
    target.gauge("process_max_fds", grid.full(1024))
    for status, rate in (("200", 2.0), ("500", 0.3), ("404", 0.1)):
        number = rng.poisson(rate * grid.step_seconds, grid.steps)
        target.counter(
            c.HTTP_REQUESTS, number, False, handler="/checkout", method="POST", status=status
        )
    return target

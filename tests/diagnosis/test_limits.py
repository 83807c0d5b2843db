"""Limits that alerts and checks share: a change of a limit changes both."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from safelight.diagnosis.checks.table import CHECKS
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans
from safelight.diagnosis.prometheus import Series
from safelight.diagnosis.queries import RESIDENT, Statistic, Window, key
from safelight.metrics import catalog as c
from safelight.metrics.metric import Metric
from safelight.rules.alerts import alerts
from safelight.rules.thresholds import DEFAULTS, Thresholds, default_limits
from safelight.units import duration, percent, size

NOW = 1e9
HOUR = 3600
HERE = {"instance": "a:1"}
Rows = list[tuple[dict[str, str], float]]
Facts = dict[str, Rows]
BY_NAME = {check.name: check for check in CHECKS}
SUM, COUNT, LAST, THIRD = Statistic.SUM, Statistic.COUNT, Statistic.LAST, Window.LAST_THIRD


@dataclass(frozen=True)
class Case:
    """Evidence for which a check has another verdict if a limit has another value."""

    check: str
    limit: str
    value: float
    now: Facts
    curves: Mapping[str, list[Series]] = field(default_factory=dict)
    before: Facts = field(default_factory=dict)


def requests(reason: str = "none", failed: float = 0.0, rate: float = 1.0) -> Facts:
    """Return requests per second of two types; those of `other` fail with a reason."""
    rows = [
        ({"instruction_type": "make_him_old", "error": "none"}, rate / 2),
        ({"instruction_type": "other", "error": "none"}, rate / 2 - failed),
        ({"instruction_type": "other", "error": reason}, failed),
    ]
    return {
        key(c.REQUESTS): rows,
        key(c.REQUEST_SECONDS, COUNT): [({}, rate)],
        key(c.REQUEST_SECONDS, SUM): [({}, rate)],
    }


def refusals(share: float) -> Facts:
    return {**requests(), key(c.REJECTED): [({"reason": "queue_full"}, share)]}


def full_device() -> Facts:
    busy: Facts = {
        key(c.DEVICE_SECONDS, window=THIRD): [({"use": "useful"}, 0.99)],
        key(c.WORKERS_READY): [({}, 1)],
    }
    return {**refusals(0.08), **busy}


def more_traffic() -> Facts:
    return {**refusals(0.08), key(c.REQUESTS, window=THIRD): [({}, 4.0)]}


def curve(per_hour: float, start: float = 4e9, hours: float = 4) -> Series:
    """Return a level that grows steadily until now."""
    minutes = range(int(60 * hours) + 1)
    points = ((NOW - 60 * (minutes[-1] - m), start + per_hour * m / 60) for m in minutes)
    return Series({**HERE, "device": "cuda:0"}, tuple(points))


def at_edge(name: Metric | str, per_hour: float) -> dict[str, list[Series]]:
    statistic = Statistic.VALUE if isinstance(name, str) else Statistic.MIN
    return {key(name, statistic): [curve(per_hour)]}


def storage(used: Metric, total: Metric, share: float) -> Facts:
    size_bytes = 100e9
    return {key(used, LAST): [({}, share * size_bytes)], key(total): [({}, size_bytes)]}


def filling(used: Metric) -> dict[str, list[Series]]:
    """Return a curve that reaches 70 of 100 GB and is full in three hours."""
    return {key(used, Statistic.MIN): [curve(10e9, start=30e9)]}


LEAK = {**at_edge(c.VRAM_USED, 300e6), key(c.VRAM_RESERVED, Statistic.MIN): [curve(1.2e9)]}
CACHE = {
    key(c.VRAM_USED, Statistic.MIN): [curve(0.0)],
    key(c.VRAM_RESERVED, Statistic.MIN): [curve(300e6)],
}
GPU_FULL: Facts = {key(c.GPU_MEMORY_TOTAL): [({"gpu": "0"}, 5.4e9)]}
FRAGMENTS: Facts = {
    key(c.VRAM_RESERVED, window=THIRD): [({"device": "cuda:0"}, 8.5e9)],
    key(c.VRAM_USED, Statistic.MAX): [({"device": "cuda:0"}, 4e9)],
    key(c.GPU_MEMORY_TOTAL): [({"gpu": "0"}, 10e9)],
}
COMPILED: Facts = {
    key(c.WARM_UPS): [({}, 0.02)],
    key(c.INFERENCE_SECONDS, COUNT): [({"precision": "float16"}, 0.1)],
    key(c.INFERENCE_SECONDS, SUM): [({"precision": "float16"}, 0.1)],
}
HOT: Facts = {key(c.GPU_TEMPERATURE, window=THIRD): [({"gpu": "0"}, 80.0)]}
CPU: Facts = {key(c.HOST_CPU, window=THIRD): [({}, 0.8)]}
DISK: Facts = {key(c.HOST_DISK_BUSY, window=THIRD): [({"disk": "sda"}, 0.8)]}
RESTARTS: Facts = {
    key(c.WORKER_RESTARTS): [({"reason": "died"}, 3 / 300)],
    key(c.WORKERS_READY, Statistic.MIN): [({}, 1)],
}
SILENT: Facts = {key(c.PROBE_TIMESTAMP, LAST): [({"probe": "nvml"}, NOW - 90)]}
INVALID: Facts = {**requests(), key(c.OUTPUT_INVALID): [({"reason": "black"}, 0.03)]}
MEMORY = storage(c.HOST_MEMORY_USED, c.HOST_MEMORY_TOTAL, 0.8)
FILES = storage(c.HOST_FILESYSTEM_USED, c.HOST_FILESYSTEM_SIZE, 0.8)
HALF_MEMORY = storage(c.HOST_MEMORY_USED, c.HOST_MEMORY_TOTAL, 0.7)
HALF_FILES = storage(c.HOST_FILESYSTEM_USED, c.HOST_FILESYSTEM_SIZE, 0.7)
BLOCKED: Facts = {key(c.HTTP_LAG, SUM): [({}, 0.3)], key(c.HTTP_LAG, COUNT): [({}, 7.0)]}
CORRUPTED = requests("structure_corruption", 0.08)

CASES = (
    Case("traffic_shift", "refused_ratio", 0.1, more_traffic(), before=requests(rate=0.2)),
    Case("device_saturated", "refused_ratio", 0.1, full_device()),
    Case("queue_saturated", "refused_ratio", 0.1, refusals(0.08)),
    Case("cold_compile", "warm_ups", 100, COMPILED),
    Case("throttled_card", "gpu_celsius", 75, HOT),
    Case("vram_leak", "vram_growth_bytes_per_hour", 400e6, {}, LEAK),
    Case("vram_leak", "forecast_seconds", 300, GPU_FULL, LEAK),
    Case("cache_growth", "vram_growth_bytes_per_hour", 400e6, {}, CACHE),
    Case("fragmentation", "gpu_memory_high_ratio", 0.8, FRAGMENTS),
    Case("process_growth", "process_growth_bytes_per_hour", 400e6, {}, at_edge(RESIDENT, 200e6)),
    Case("failing_instruction", "instruction_success_ratio", 0.5, requests("model_error", 0.2)),
    Case(
        "failing_instruction",
        "success_ratio",
        0.5,
        requests("model_error", 0.07),
        before=requests("model_error", 0.001),
    ),
    Case("failing_instruction", "least_requests", 200, requests("model_error", 0.4)),
    Case("failing_instruction", "least_missed", 200, requests("model_error", 0.4)),
    Case("invalid_outputs", "output_invalid_ratio", 0.05, INVALID),
    Case("invalid_outputs", "least_missed", 100, INVALID),
    Case("errors_rise", "success_ratio", 0.8, requests("model_error", 0.1)),
    Case("errors_rise", "timeout_ratio", 0.2, requests("timeout", 0.1)),
    Case("errors_rise", "refused_ratio", 0.2, requests("overloaded", 0.1)),
    Case("errors_rise", "least_missed", 100, requests("model_error", 0.1)),
    Case("structure_corruption", "success_ratio", 0.8, CORRUPTED),
    Case("structure_corruption", "least_missed", 100, CORRUPTED),
    Case("event_loop_blocked", "event_loop_blocked_ratio", 0.4, BLOCKED),
    Case("host_cpu", "host_ratio", 0.7, CPU),
    Case("host_memory", "host_ratio", 0.7, MEMORY),
    Case("host_memory", "host_forecast_seconds", HOUR, HALF_MEMORY, filling(c.HOST_MEMORY_USED)),
    Case("disk_busy", "host_ratio", 0.7, DISK),
    Case("filesystem_full", "host_ratio", 0.7, FILES),
    Case(
        "filesystem_full",
        "disk_forecast_seconds",
        HOUR,
        HALF_FILES,
        filling(c.HOST_FILESYSTEM_USED),
    ),
    Case("crash_loop", "worker_restarts", 5, RESTARTS),
    Case("monitoring_gap", "probe_silent_seconds", 60, SILENT),
)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.limit}")


def reading(facts: Facts) -> Reading:
    return Reading(
        {name: [({**HERE, **labels}, n) for labels, n in rows] for name, rows in facts.items()}
    )


def verdict(case: Case, limits: Thresholds) -> list[tuple[str, str, str]]:
    """Return the severity, subject and text of each sign of the case's check."""
    facts, before = reading(case.now), reading(case.before)
    evidence = Evidence(
        Service("zimage", "job"), NOW, Spans(), facts, before, Reading(), case.curves, limits
    )
    signs = BY_NAME[case.check].judge(evidence)
    return [(sign.severity.word, sign.subject, sign.verdict) for sign in signs]


def changed(case: Case) -> Thresholds:
    return Thresholds.model_validate({case.limit: case.value})


def test_there_is_a_case_for_every_limit_of_every_check() -> None:
    declared = {(check.name, limit) for check in CHECKS for limit in check.limits}
    assert {(case.check, case.limit) for case in CASES} == declared


@each_case
def test_a_limit_changes_the_verdict_of_the_check(case: Case) -> None:
    assert verdict(case, DEFAULTS) != verdict(case, changed(case))


@each_case
def test_a_limit_changes_an_alert(case: Case) -> None:
    before, after = ({a.expr for a in alerts("one", t)} for t in (DEFAULTS, changed(case)))
    assert before != after


@pytest.mark.parametrize(
    ("name", "limit"), [(check.name, limit) for check in CHECKS for limit in check.limits]
)
def test_the_formula_of_a_check_has_its_default_limits(name: str, limit: str) -> None:
    value = getattr(DEFAULTS, limit)
    texts = {f"{value:g}", percent(value), percent(1 - value), duration(value), size(value)}
    assert any(text in BY_NAME[name].formula for text in texts)


def test_the_default_limits_of_a_service_are_those_of_its_family() -> None:
    assert default_limits("zimage").request_p95_seconds == 1.5
    assert default_limits("other") == DEFAULTS

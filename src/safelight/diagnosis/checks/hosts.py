"""Checks of the host: processor, memory, disk load and file systems."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from safelight.diagnosis.checks.common import (
    growth,
    mean_latency,
    steady_growth,
    usual_high,
    usual_text,
)
from safelight.diagnosis.confidence import confidence_of, until
from safelight.diagnosis.evidence import Evidence, Reading, Where, labels_of
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import Statistic, Window
from safelight.diagnosis.slope import Trend
from safelight.metrics.catalog import (
    DISK,
    HOST_CPU,
    HOST_DISK_BUSY,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    MOUNTPOINT,
    STAGE,
    STAGE_SECONDS,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import DEFAULTS, Thresholds
from safelight.units import duration, percent, share, size

_CERTAINLY_CPU = 0.99
_ABOVE_USUAL, _HALF_ABOVE, _FAR_ABOVE = 0.2, 0.1, 0.5
_SLOWER, _STAGES_SLOWER = 1.25, 2  # times the usual time
_CERTAINLY_FULL, _CRITICAL = 0.98, 0.97
_MIN_SPAN_SECONDS = 900  # of a rise: shorter rises are bursts
_MIN_MEMORY = 0.5  # below, memory grows because programs start or the kernel caches files
_CPU_STAGES = ("validate", "transfer", "decode", "check", "encode")


def _cpu(evidence: Evidence) -> Iterator[Sign]:
    window, limit = evidence.now.sums_by(INSTANCE, HOST_CPU), evidence.limits.host_ratio
    recent = evidence.now.sums_by(INSTANCE, HOST_CPU, window=Window.LAST_THIRD)
    for instance, load in sorted(recent.items()):
        used = max(load, window.get(instance, 0.0))
        usual = usual_high(evidence, partial(_sum, metric=HOST_CPU, where={INSTANCE: instance}))
        slower = growth(evidence, mean_latency)
        rose = usual is not None and used >= usual + _HALF_ABOVE
        slow_stages = (growth(evidence, _cpu_stage_seconds) or 1.0) >= _STAGES_SLOWER
        hurts = (rose and (slower or 1.0) >= _SLOWER) or slow_stages
        if used < limit or (usual is not None and used < usual + _ABOVE_USUAL and not hurts):
            continue
        effect = f", and requests take {slower:.1f} times as long" if slower and hurts else ""
        unusual = usual is not None and used >= usual + _FAR_ABOVE
        yield Sign(
            Severity.WARNING if hurts or unusual else Severity.INFO,
            confidence_of(used, limit, _CERTAINLY_CPU),
            f"the processor of {instance} is {share(used)} in use{effect}",
            (
                Exhibit(
                    share(used) + usual_text(None if usual is None else share(usual)),
                    evidence.queries.select(HOST_CPU),
                ),
            ),
            subject=instance,
        )


def _cpu_stage_seconds(reading: Reading) -> float | None:
    """Return the mean time of all stages that need the processor, in seconds."""
    means = [reading.mean(STAGE_SECONDS, where={STAGE: stage}) for stage in _CPU_STAGES]
    return sum(mean for mean in means if mean is not None) or None


def _sum(reading: Reading, metric: Metric, where: Where) -> float | None:
    return reading.sum(metric, where=where)


@dataclass(frozen=True, slots=True)
class _Store:
    """Storage that can fill up; below `min_share` its growth is ignored.

    `forecast` is how far ahead it must become full to be a fault, in seconds.
    """

    used: Metric
    size: Metric
    forecast: Callable[[Thresholds], float]
    min_share: float = 0.0


_MEMORY = _Store(
    HOST_MEMORY_USED, HOST_MEMORY_TOTAL, lambda limits: limits.host_forecast_seconds, _MIN_MEMORY
)
_FILESYSTEM = _Store(
    HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE, lambda limits: limits.disk_forecast_seconds
)


def _host_memory(evidence: Evidence) -> Iterator[Sign]:
    for instance in sorted(evidence.now.sums_by(INSTANCE, HOST_MEMORY_USED, Statistic.LAST)):
        where = {INSTANCE: instance}
        yield from _filling(evidence, _MEMORY, where, f"the memory of {instance}")


def _filesystem_full(evidence: Evidence) -> Iterator[Sign]:
    for labels, _ in evidence.now.select(HOST_FILESYSTEM_USED, Statistic.LAST):
        where = labels_of(labels, INSTANCE, MOUNTPOINT)
        name = f"the file system {where.get(MOUNTPOINT, '')} of {where.get(INSTANCE, '')}"
        yield from _filling(evidence, _FILESYSTEM, where, name)


def _filling(evidence: Evidence, store: _Store, where: Where, name: str) -> Iterator[Sign]:
    """Find storage that is almost full, or will be soon."""
    used = evidence.now.sum(store.used, Statistic.LAST, where=where)
    total = evidence.now.sum(store.size, where=where)
    if used is None or not total:
        return
    limit, ahead = evidence.limits.host_ratio, store.forecast(evidence.limits)
    curves = evidence.curve(store.used, Statistic.MIN, where)
    rise = steady_growth(evidence, curves[0]) if curves else None
    ends = rise.seconds_to(total) if rise and used > store.min_share * total else None
    soon = rise is not None and ends is not None and _is_soon(rise, ends[0], ahead)
    if used < limit * total and not soon:
        return
    forecast = f", full in {until(ends)}" if ends else ""
    yield Sign(
        Severity.CRITICAL if used > _CRITICAL * total else Severity.WARNING,
        max(confidence_of(used / total, limit, _CERTAINLY_FULL), 0.75 if soon else 0.0),
        f"{name} is {share(used / total)} full{forecast}",
        (
            Exhibit(
                f"{size(used)} of {size(total)}", evidence.queries.fraction(store.used, store.size)
            ),
        ),
        subject=where.get(INSTANCE, ""),
    )


def _is_soon(line: Trend, seconds_left: float, ahead: float) -> bool:
    return seconds_left < ahead and line.span_seconds >= _MIN_SPAN_SECONDS


def _disk_busy(evidence: Evidence) -> Iterator[Sign]:
    limit = evidence.limits.host_ratio
    for labels, recent in evidence.now.select(HOST_DISK_BUSY, window=Window.LAST_THIRD):
        where = labels_of(labels, INSTANCE, DISK)
        busy = max(recent, evidence.now.rate(HOST_DISK_BUSY, where=where))
        usual = usual_high(evidence, partial(_sum, metric=HOST_DISK_BUSY, where=where))
        if busy < limit or (usual is not None and busy < usual + _ABOVE_USUAL):
            continue
        slower = growth(evidence, mean_latency) or 1.0
        effect = f", and requests take {slower:.1f} times as long" if slower > _SLOWER else ""
        yield Sign(
            Severity.WARNING,
            confidence_of(busy, limit - 0.1, 1.0),
            f"the disk {where.get(DISK, '')} of {where.get(INSTANCE, '')} is busy "
            f"{share(busy)} of the time{effect}",
            (
                Exhibit(
                    share(busy) + usual_text(None if usual is None else share(usual)),
                    evidence.queries.rate(HOST_DISK_BUSY),
                ),
            ),
            subject=where.get(INSTANCE, ""),
        )


_SLOW_WORK = frozenset(
    {
        "slow_decode",
        "slow_encode",
        "slow_transfer",
        "input_output_bottleneck",
        "slow_steps",
        "slow_node",
        "device_starved",
        "queue_saturated",
        "device_saturated",
    }
)
_STEADY = f"steady for >= {duration(_MIN_SPAN_SECONDS)}"
_HIGH = f">= {percent(DEFAULTS.host_ratio)}"

HOST_CHECKS = (
    Check(
        "host_cpu",
        "The host's processor is full",
        _cpu,
        f"host_cpu_utilization_ratio is {_HIGH} over the window or its last third, and it is "
        f"higher than usual by >= {percent(_ABOVE_USUAL)}, or higher by >= {percent(_HALF_ABOVE)} "
        f"while requests take >= {_SLOWER:g} times the usual time, or the service's own processor "
        f"stages take >= {_STAGES_SLOWER:g} times the usual time. Without past data only the "
        "first condition holds",
        (
            "Find the programs that use it (top). Move other programs to another host.",
            "Give the host more cores.",
        ),
        "Stop the other program for a minute. Decoding and encoding must become fast again.",
        ("more or larger images to decode",),
        _SLOW_WORK,
        ("host_ratio",),
    ),
    Check(
        "host_memory",
        "The host's memory is almost full",
        _host_memory,
        f"host_memory_used_bytes is {_HIGH} of the total; or growth that fills it within "
        f"{duration(DEFAULTS.host_forecast_seconds)}, {_STEADY}, once > {percent(_MIN_MEMORY)} is "
        "in use",
        (
            "Stop programs that are not needed. Restart the program that grows.",
            "Give the host more memory.",
        ),
        "Run ps --sort -rss twice. Check whether the largest process grows.",
        ("many small programs; files that the kernel caches do not count",),
        _SLOW_WORK | {"crash_loop", "disk_busy"},
        ("host_ratio", "host_forecast_seconds"),
    ),
    Check(
        "disk_busy",
        "The disk is the bottleneck",
        _disk_busy,
        f"host_disk_busy_seconds_total grows by {_HIGH} of the time, over the window or its "
        f"last third, and by >= {percent(_ABOVE_USUAL)} of the time more than usual",
        (
            "Find the programs that read or write (iotop): swapping, logs, a model that reloads.",
            "Put models, logs and the data of Prometheus on separate disks.",
        ),
        "Stop that program for a minute and watch the rate.",
        ("memory is short, so the host swaps",),
        frozenset({"slow_transfer", "input_output_bottleneck", "device_starved", "slow_upload"}),
        ("host_ratio",),
    ),
    Check(
        "filesystem_full",
        "A file system is almost full",
        _filesystem_full,
        f"host_filesystem_used_bytes is {_HIGH} of the size; or growth that fills it within "
        f"{duration(DEFAULTS.disk_forecast_seconds)}, {_STEADY}",
        ("Delete old models and old logs. Shorten the retention of Prometheus (--retention).",),
        "Run du -x --max-depth=2 on it twice, ten minutes apart.",
        ("a deleted file that a process still has open",),
        frozenset({"monitoring_gap"}),
        ("host_ratio", "disk_forecast_seconds"),
    ),
)

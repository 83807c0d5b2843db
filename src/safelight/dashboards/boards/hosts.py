"""Panels of a host and of the service's processes."""

from dataclasses import replace

from safelight.dashboards.board import Panel, Query
from safelight.dashboards.boards.common import COUNT, NOW, SHARE, by, lines, on_cards
from safelight.metrics.catalog import (
    DISK,
    HOST_CPU,
    HOST_DISK_BUSY,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    MOUNTPOINT,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import Thresholds
from safelight.units import duration

_ON = by(INSTANCE)


def host(limits: Thresholds) -> tuple[Panel, ...]:
    """Return the panels of CPU, memory, disks and file systems."""
    soon, later = limits.host_forecast_seconds, limits.disk_forecast_seconds
    memory = _ahead("2h", soon, HOST_MEMORY_USED, HOST_MEMORY_TOTAL)
    files = _ahead("6h", later, HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE)
    now = on_cards(lambda q: q.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL))
    space = on_cards(lambda q: q.fraction(HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE))
    on = f"{_ON} {by(MOUNTPOINT)}"
    return (
        lines(
            "Are the host's CPUs busy?",
            "Share of the time of all cores. The line is the limit of HostCpuBusy.",
            SHARE,
            Query(on_cards(lambda q: q.select(HOST_CPU)), _ON),
            limit=limits.host_ratio,
        ),
        lines(
            "Does the host's memory run out?",
            f"Share of used memory, now and in {duration(soon)} by the last two hours. The line "
            "is the limit of HostMemoryHigh.",
            SHARE,
            Query(now, f"{_ON} now"),
            Query(memory, f"{_ON} in {duration(soon)}"),
            limit=limits.host_ratio,
        ),
        lines(
            "Do the disks run full?",
            f"Share of used space, now and in {duration(later)} by the last six hours. The line "
            "is the limit of HostFilesystemFull.",
            SHARE,
            Query(space, f"{on} now"),
            Query(files, f"{on} in {duration(later)}"),
            limit=limits.host_ratio,
        ),
        _disks(limits),
    )


def _disks(limits: Thresholds) -> Panel:
    busy = on_cards(lambda q: f"rate({q.select(HOST_DISK_BUSY)}[{q.window}])")
    return lines(
        "Are the disks busy?",
        "Share of the time in which a disk is busy. The line is the limit of HostDiskBusy.",
        SHARE,
        Query(busy, f"{_ON} {by(DISK)}"),
        limit=limits.host_ratio,
    )


def _ahead(window: str, seconds: int, used: Metric, total: Metric) -> str:
    """Return the share that will be used, by a linear regression over a window."""
    return on_cards(
        lambda q: f"{replace(q, window=window).forecast(used, seconds)} / {q.select(total)}"
    )


def processes(limits: Thresholds) -> tuple[Panel, ...]:
    """Return the panels of the API process."""
    used, limit = NOW.foreign("process_open_fds"), NOW.foreign("process_max_fds")
    return (
        lines(
            "Does the API process leak memory?",
            "Memory of the API process. Workers are separate processes. It should not grow.",
            "bytes",
            Query(NOW.foreign("process_resident_memory_bytes"), _ON),
        ),
        lines(
            "Does the API process lack file descriptors?",
            "Share of used descriptors. The line is the limit of FileDescriptorsNearlyGone.",
            SHARE,
            Query(f"{used} / {limit}", _ON),
            limit=limits.descriptors_ratio,
        ),
        lines(
            "How much CPU does the API process use?",
            "Cores. At 1, the event loop is the bottleneck.",
            COUNT,
            Query(f"rate({NOW.foreign('process_cpu_seconds_total')}[{NOW.window}])", _ON),
        ),
        lines(
            "Does the service restart again and again?",
            "Time since the start. A sawtooth means repeated restarts.",
            "s",
            Query(f"time() - {NOW.foreign('process_start_time_seconds')}", _ON),
        ),
    )

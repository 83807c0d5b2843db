"""Panels of a host and of the service's processes."""

from dataclasses import replace

from safelight.dashboards.board import Panel, Query
from safelight.dashboards.boards.common import CARDS, COUNT, NOW, SHARE, by, lines
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
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import Thresholds
from safelight.units import duration

_ON = by(INSTANCE)


def host(limits: Thresholds) -> tuple[Panel, ...]:
    """Return the panels of CPU, memory, disks and file systems."""
    soon, later = limits.host_forecast_seconds, limits.disk_forecast_seconds
    memory = replace(CARDS, window="2h").forecast(HOST_MEMORY_USED, soon)
    files = replace(CARDS, window="6h").forecast(HOST_FILESYSTEM_USED, later)
    on = f"{_ON} {by(MOUNTPOINT)}"
    return (
        lines(
            "Are the host's CPUs busy?",
            "Share of the time of all cores. The line is the limit of HostCpuBusy.",
            SHARE,
            Query(CARDS.select(HOST_CPU), _ON),
            limit=limits.host_ratio,
        ),
        lines(
            "Does the host's memory run out?",
            f"Share of used memory, now and in {duration(soon)} by the last two hours. The line "
            "is the limit of HostMemoryHigh.",
            SHARE,
            Query(CARDS.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL), f"{_ON} now"),
            Query(f"{memory} / {CARDS.select(HOST_MEMORY_TOTAL)}", f"{_ON} in {duration(soon)}"),
            limit=limits.host_ratio,
        ),
        lines(
            "Do the disks run full?",
            f"Share of used space, now and in {duration(later)} by the last six hours. The line "
            "is the limit of HostFilesystemFull.",
            SHARE,
            Query(CARDS.fraction(HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE), f"{on} now"),
            Query(f"{files} / {CARDS.select(HOST_FILESYSTEM_SIZE)}", f"{on} in {duration(later)}"),
            limit=limits.host_ratio,
        ),
        lines(
            "Are the disks busy?",
            "Share of the time. The line is the limit of HostDiskBusy.",
            SHARE,
            Query(f"rate({CARDS.select(HOST_DISK_BUSY)}[{NOW.window}])", f"{_ON} {by(DISK)}"),
            limit=limits.host_ratio,
        ),
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

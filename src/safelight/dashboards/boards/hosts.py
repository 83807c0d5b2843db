"""Dashboard of the hosts: CPU, memory, disks, network, and the services' processes."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query
from safelight.dashboards.boards.common import COUNT, NOW, SHARE, by, lines, row, shared_board
from safelight.metrics.catalog import (
    DISK,
    HOST_CPU,
    HOST_DISK_BUSY,
    HOST_DISK_READ,
    HOST_DISK_WRITTEN,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    HOST_RECEIVED,
    HOST_SENT,
    MOUNTPOINT,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import Thresholds
from safelight.units import duration

_BYTES, _FLOW = "bytes", "Bps"
_ON = by(INSTANCE)


def hosts(limits: Thresholds) -> Board:
    """Return the dashboard of the hosts."""
    return shared_board(
        "Hosts",
        "Do the hosts have enough CPU, memory, disk and network capacity?",
        row("CPU and memory", *_memory(limits)),
        row("Disks", *_disks(limits)),
        row("Network and file systems", *_network(limits)),
        row("Processes of the services", *_processes(limits)),
        of=HOST_CPU,
    )


def _per_second(metric: Metric) -> str:
    return f"rate({NOW.select(metric)}[{NOW.window}])"


def _memory(limits: Thresholds) -> tuple[Panel, ...]:
    ahead = replace(NOW, window="2h").forecast(HOST_MEMORY_USED, limits.host_forecast_seconds)
    return (
        lines(
            "CPU",
            "Share of the time of all cores. The line is the limit of HostCpuBusy.",
            SHARE,
            Query(NOW.select(HOST_CPU), _ON),
            limit=limits.host_ratio,
        ),
        lines(
            "Memory",
            "Share of the memory that is not available to programs.",
            SHARE,
            Query(NOW.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL), _ON),
            limit=limits.host_ratio,
        ),
        lines(
            "Memory forecast",
            f"Used memory in {duration(limits.host_forecast_seconds)}, by the last two hours.",
            _BYTES,
            Query(ahead, f"{_ON} forecast"),
            Query(NOW.select(HOST_MEMORY_TOTAL), f"{_ON} total"),
        ),
    )


def _disks(limits: Thresholds) -> tuple[Panel, ...]:
    on = f"{_ON} {by(DISK)}"
    return (
        lines("Read", "Bytes read from each disk.", _FLOW, Query(_per_second(HOST_DISK_READ), on)),
        lines(
            "Written",
            "Bytes written to each disk.",
            _FLOW,
            Query(_per_second(HOST_DISK_WRITTEN), on),
        ),
        lines(
            "Busy",
            "Share of the time in which the disk is busy. The line is the limit of HostDiskBusy.",
            SHARE,
            Query(_per_second(HOST_DISK_BUSY), on),
            limit=limits.host_ratio,
        ),
    )


def _network(limits: Thresholds) -> tuple[Panel, ...]:
    ahead = limits.disk_forecast_seconds
    forecast = replace(NOW, window="6h").forecast(HOST_FILESYSTEM_USED, ahead)
    on = f"{_ON} {by(MOUNTPOINT)}"
    return (
        lines(
            "Network",
            "Bytes received and sent on all interfaces.",
            _FLOW,
            Query(_per_second(HOST_RECEIVED), f"{_ON} in"),
            Query(_per_second(HOST_SENT), f"{_ON} out"),
        ),
        lines(
            "File systems",
            "Share of used space. The line is the limit of HostFilesystemFull.",
            SHARE,
            Query(NOW.fraction(HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE), on),
            limit=limits.host_ratio,
        ),
        lines(
            "File system forecast",
            f"Share of used space in {duration(ahead)}, by the last six hours.",
            SHARE,
            Query(f"{forecast} / {NOW.select(HOST_FILESYSTEM_SIZE)}", on),
        ),
    )


def _processes(limits: Thresholds) -> tuple[Panel, ...]:
    used, limit = NOW.foreign("process_open_fds"), NOW.foreign("process_max_fds")
    return (
        lines(
            "CPU of a service",
            "CPU cores that the API process uses. Workers are separate processes.",
            COUNT,
            Query(f"rate({NOW.foreign('process_cpu_seconds_total')}[{NOW.window}])", _ON),
        ),
        lines(
            "Memory of a service",
            "Memory of the API process. It should not grow.",
            _BYTES,
            Query(NOW.foreign("process_resident_memory_bytes"), _ON),
        ),
        lines(
            "File descriptors",
            "Share of used descriptors. The line is the limit of FileDescriptorsNearlyGone.",
            SHARE,
            Query(f"{used} / {limit}", _ON),
            limit=limits.descriptors_ratio,
        ),
        lines(
            "Uptime",
            "Time since the service started. A sawtooth means repeated restarts.",
            "s",
            Query(f"time() - {NOW.foreign('process_start_time_seconds')}", _ON),
        ),
    )

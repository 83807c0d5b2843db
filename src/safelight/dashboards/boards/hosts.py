"""The board of the machines: processor, memory, disks, network, and what the services take."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query
from safelight.dashboards.boards.common import COUNT, NOW, SHARE, by, lines, machines, row
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

_BYTES, _FLOW = "bytes", "Bps"
_ON = by(INSTANCE)


def hosts(limits: Thresholds) -> Board:
    """Return the board of the machines."""
    return machines(
        "Hosts",
        "Has the machine room for the service: processor, memory, disk and network?",
        row("Processor and memory", *_memory(limits)),
        row("Disks", *_disks(limits)),
        row("Network and file systems", *_network(limits)),
        row("The services' own processes", *_processes(limits)),
        of=HOST_CPU,
    )


def _per_second(metric: Metric) -> str:
    return f"rate({NOW.select(metric)}[{NOW.window}])"


def _memory(limits: Thresholds) -> tuple[Panel, ...]:
    ahead = replace(NOW, window="2h").forecast(HOST_MEMORY_USED, limits.host_forecast_seconds)
    return (
        lines(
            "Processor",
            "Share of all cores' time in use; the line is where HostCpuBusy begins.",
            SHARE,
            Query(NOW.select(HOST_CPU), _ON),
            limit=limits.host_ratio,
        ),
        lines(
            "Memory",
            "Share of the machine's memory that cannot be given to a program now.",
            SHARE,
            Query(NOW.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL), _ON),
            limit=limits.host_ratio,
        ),
        lines(
            "Memory ahead",
            f"In {limits.host_forecast_seconds // 60} minutes by the last two hours, beside what "
            "there is.",
            _BYTES,
            Query(ahead, f"{_ON} ahead"),
            Query(NOW.select(HOST_MEMORY_TOTAL), f"{_ON} has"),
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
            "Share of time in which the disk was at work; the line is where HostDiskBusy begins.",
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
            "Bytes of all interfaces, in and out.",
            _FLOW,
            Query(_per_second(HOST_RECEIVED), f"{_ON} in"),
            Query(_per_second(HOST_SENT), f"{_ON} out"),
        ),
        lines(
            "File systems",
            "Share in use; the line is where HostFilesystemFull begins.",
            SHARE,
            Query(NOW.fraction(HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE), on),
            limit=limits.host_ratio,
        ),
        lines(
            "File systems ahead",
            f"Share in use in {ahead // 3600} hours, by the last six: 100 % is full.",
            SHARE,
            Query(f"{forecast} / {NOW.select(HOST_FILESYSTEM_SIZE)}", on),
        ),
    )


def _processes(limits: Thresholds) -> tuple[Panel, ...]:
    used, most = NOW.foreign("process_open_fds"), NOW.foreign("process_max_fds")
    return (
        lines(
            "Processor of a service",
            "Cores that the API process uses; its workers are processes of their own.",
            COUNT,
            Query(f"rate({NOW.foreign('process_cpu_seconds_total')}[{NOW.window}])", _ON),
        ),
        lines(
            "Memory of a service",
            "What the API process holds: it should not grow.",
            _BYTES,
            Query(NOW.foreign("process_resident_memory_bytes"), _ON),
        ),
        lines(
            "File descriptors",
            "Share in use; the line is where FileDescriptorsNearlyGone begins.",
            SHARE,
            Query(f"{used} / {most}", _ON),
            limit=limits.descriptors_ratio,
        ),
        lines(
            "Since the start",
            "Time since the service was started; a saw is a service that keeps dying.",
            "s",
            Query(f"time() - {NOW.foreign('process_start_time_seconds')}", _ON),
        ),
    )

"""Alerts on the host: processors, memory, disks and file systems."""

from collections.abc import Callable
from dataclasses import replace

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
from safelight.metrics.promql import Queries
from safelight.rules.machines import AS_MACHINE, per_machine
from safelight.rules.rule import AS_SHARE, Alert, Runbook, Scope, Severity
from safelight.rules.thresholds import Thresholds
from safelight.units import percent

# A busy machine can be healthy.
_BUSY = ("HostCpuBusy", "HostDiskBusy", "HostMemoryHigh")


def _cpu_busy(queries: Queries, limits: Thresholds) -> Alert:
    return _host_alert(
        "HostCpuBusy",
        per_machine(queries.select(HOST_CPU)),
        limits,
        "of the CPU time is used",
        Runbook(
            means="Decoding, encoding and the API compete for CPU time with other programs.",
            look=(
                "Which process? If it is the worker on a host with a GPU, the model runs on the "
                "CPU."
            ),
            do="Move the other program, or give the service more cores.",
        ),
    )


def _memory_full(queries: Queries, limits: Thresholds) -> Alert:
    return _host_alert(
        "HostMemoryHigh",
        per_machine(queries.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL)),
        limits,
        "of the memory is used",
        Runbook(
            means="If memory runs out, the kernel kills a process, most likely the worker.",
            look="process_resident_memory_bytes over time, and other programs on the host.",
            do=(
                "Stop programs that are not needed, lower the queue limit (queued images are in "
                "memory), or add memory."
            ),
        ),
    )


def _memory_gone(queries: Queries, limits: Thresholds) -> Alert:
    limit = percent(limits.host_memory_full_ratio)
    used = per_machine(queries.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL))
    return Alert(
        "HostMemoryFull",
        f"{used} > {limits.host_memory_full_ratio:g}",
        for_seconds=120,
        severity="warning",
        scope=Scope.HOST,
        summary=f"{AS_MACHINE}: more than {limit} of the memory is used",
        description=f"{AS_SHARE} of the memory of {AS_MACHINE} is used. The limit is {limit}.",
        runbook=Runbook(
            means="The kernel will soon kill a process, most likely the worker.",
            look="process_resident_memory_bytes, and other programs on the host.",
            do="Stop programs that are not needed. Restart the program that grows.",
        ),
    )


def _disk_busy(queries: Queries, limits: Thresholds) -> Alert:
    shorter = replace(queries, window="2m")
    return _host_alert(
        "HostDiskBusy",
        per_machine(f"rate({shorter.select(HOST_DISK_BUSY)}[{shorter.window}])", DISK),
        limits,
        "of the time disk {{ $labels.disk }} is busy",
        Runbook(
            means="Loading a model and writing logs must wait for this disk.",
            look="Bytes read and written (host_disk_*_bytes_total), and whether the host swaps.",
            do="Find the program that reads or writes. Keep models on a faster disk.",
        ),
    )


def _filesystem_full(queries: Queries, limits: Thresholds) -> Alert:
    return _host_alert(
        "HostFilesystemFull",
        per_machine(queries.fraction(HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE), MOUNTPOINT),
        limits,
        "of the space on {{ $labels.mountpoint }} is used",
        Runbook(
            means="If it is full, logs, Prometheus' data and downloads cannot be written.",
            look="The model cache, Prometheus' data folder, logs.",
            do="Delete models that are no longer served, or shorten Prometheus' retention.",
        ),
    )


def _host_alert(name: str, ratio: str, limits: Thresholds, state: str, runbook: Runbook) -> Alert:
    limit = percent(limits.host_ratio)
    severity: Severity = "info" if name in _BUSY else "warning"
    return Alert(
        name,
        f"{ratio} > {limits.host_ratio:g}",
        for_seconds=120,
        severity=severity,
        scope=Scope.HOST,
        summary=f"{AS_MACHINE}: more than {limit} {state}",
        description=f"{AS_SHARE} {state} on {AS_MACHINE}. The limit is {limit}.",
        runbook=runbook,
    )


HOST_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _cpu_busy,
    _memory_full,
    _memory_gone,
    _disk_busy,
    _filesystem_full,
)

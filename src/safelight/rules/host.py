"""Alerts on the machine: processors, memory, disks."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    HOST_CPU,
    HOST_DISK_BUSY,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
)
from safelight.metrics.promql import Queries
from safelight.rules.rule import AS_INSTANCE, AS_JOB, AS_SHARE, Alert, Runbook
from safelight.rules.thresholds import Thresholds

_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _cpu_busy(queries: Queries, limits: Thresholds) -> Alert:
    return _host_alert(
        "HostCpuBusy",
        f"{queries.select(HOST_CPU)} > {limits.host_ratio:g}",
        "processors",
        Runbook(
            means="Decoding, encoding and the API share these cores with the rest of the machine.",
            look=(
                "Which process? If it is the worker on a machine with a card, work meant for the "
                "card runs on the processor."
            ),
            do="Move the other program, or give the service more cores.",
        ),
    )


def _memory_full(queries: Queries, limits: Thresholds) -> Alert:
    return _host_alert(
        "HostMemoryHigh",
        f"{queries.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL)} > {limits.host_ratio:g}",
        "memory",
        Runbook(
            means="When memory ends the kernel kills a process, most likely the worker.",
            look=(
                "process_resident_memory_bytes of the service over time; other programs on the "
                "machine."
            ),
            do=(
                "Stop what is not needed, lower the queue's limit (waiting pictures are kept in "
                "memory), or add memory."
            ),
        ),
    )


def _disk_busy(queries: Queries, limits: Thresholds) -> Alert:
    brisk = replace(queries, window="2m")
    return _host_alert(
        "HostDiskBusy",
        f"rate({brisk.select(HOST_DISK_BUSY)}[{brisk.window}]) > {limits.host_ratio:g}",
        "time of disk {{ $labels.disk }}",
        Runbook(
            means="Whoever loads a model or writes a log waits for this disk.",
            look="Bytes read and written (host_disk_*_bytes_total), and whether memory is swapped.",
            do="Find the writer; keep models on a faster disk.",
        ),
    )


def _filesystem_full(queries: Queries, limits: Thresholds) -> Alert:
    return _host_alert(
        "HostFilesystemFull",
        f"{queries.fraction(HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE)} > {limits.host_ratio:g}",
        "space on {{ $labels.mountpoint }}",
        Runbook(
            means="When it is full, logs, Prometheus' data and downloads stop.",
            look="The model cache, Prometheus' data folder, logs.",
            do="Remove models no longer served, or shorten Prometheus' retention.",
        ),
    )


def _host_alert(name: str, expr: str, what: str, runbook: Runbook) -> Alert:
    return Alert(
        name,
        expr,
        for_seconds=120,
        severity="warning",
        summary=f"{_ON}: little of the machine's {what} is left",
        description=f"{AS_SHARE} of the {what} is in use on {_ON}.",
        runbook=runbook,
    )


HOST_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _cpu_busy,
    _memory_full,
    _disk_busy,
    _filesystem_full,
)

"""Alerts on the service's process, and forecasts of the host's memory and file systems."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    BUILD_INFO,
    CGROUP_MEMORY_LIMIT,
    CGROUP_MEMORY_USED,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    HTTP_LAG,
    LOG_LINES_LOST,
    LOOP_BEAT_SECONDS,
    MOUNTPOINT,
)
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, Queries
from safelight.rules.machines import AS_MACHINE, per_machine
from safelight.rules.rule import (
    AS_BYTES,
    AS_COUNT,
    AS_INSTANCE,
    AS_JOB,
    AS_SHARE,
    Alert,
    Runbook,
    Scope,
)
from safelight.rules.thresholds import Thresholds
from safelight.units import duration, percent, size

_ON = f"{AS_INSTANCE} ({AS_JOB})"
_MOUNT = "{{ $labels.mountpoint }}"
_HOUR = 3600
_RECENT_WINDOW = "10m"


def _ours(queries: Queries, window: str = "5m") -> str:
    """Return the condition of a target of ours: others expose the same metrics of their process."""
    return f"on (job, instance) last_over_time({queries.select(BUILD_INFO)}[{window}])"


def _loop_blocked(queries: Queries, limits: Thresholds) -> Alert:
    blocked = queries.late_share(HTTP_LAG, LOOP_BEAT_SECONDS, (JOB, INSTANCE))
    limit = limits.event_loop_blocked_ratio
    return Alert(
        "EventLoopBlocked",
        f"{blocked} > {limit:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.PROCESS,
        summary=f"{_ON}: handlers block the event loop more than {percent(limit)} of the time",
        description=f"The event loop of {_ON} is blocked {AS_SHARE} of the time.",
        runbook=Runbook(
            means=(
                "An `async def` handler computes, or waits without awaiting. Meanwhile the process "
                "serves no other request, not even the readiness probe."
            ),
            look=(
                "http_event_loop_lag_seconds: how long is one blocking? The slowest route "
                "(http_request_duration_seconds by handler) is the first suspect. A full processor "
                "also delays the loop (host alerts)."
            ),
            do=(
                "Write the handler without async: it then runs in a thread. Or call the model with "
                "`await asyncio.to_thread(pipe, prompt)`."
            ),
        ),
    )


def _descriptors(queries: Queries, limits: Thresholds) -> Alert:
    used, limit = queries.foreign("process_open_fds"), queries.foreign("process_max_fds")
    return Alert(
        "FileDescriptorsNearlyGone",
        f"{used} / {limit} > {limits.descriptors_ratio:g} and {_ours(queries)}",
        for_seconds=120,
        severity="warning",
        scope=Scope.PROCESS,
        summary=(
            f"{_ON}: more than {percent(limits.descriptors_ratio)} of the file descriptors are used"
        ),
        description=f"{AS_SHARE} of the file descriptors of {_ON} are used.",
        runbook=Runbook(
            means="Without a free file descriptor, the kernel refuses new connections.",
            look="http_requests_inprogress, and connections that stay open (ss -tp).",
            do="Raise the limit (ulimit -n), or close idle connections earlier in the proxy.",
        ),
    )


def _restarted(queries: Queries, limits: Thresholds) -> Alert:
    started = queries.foreign("process_start_time_seconds")
    return Alert(
        "ServiceRestarting",
        f"changes({started}[30m]) > {limits.service_restarts:g} and {_ours(queries, '30m')}",
        for_seconds=0,
        severity="warning",
        scope=Scope.PROCESS,
        summary=f"{_ON}: the service restarts again and again",
        description=f"{_ON} started {AS_COUNT} times in 30 minutes.",
        runbook=Runbook(
            means="The API process ends. All queued requests are lost each time.",
            look="The last lines of its log, and the out-of-memory killer in the kernel log.",
            do="Roll back the last change, or give the process more memory.",
        ),
    )


def _memory_grows(queries: Queries, limits: Thresholds) -> Alert:
    used = queries.foreign("process_resident_memory_bytes")
    limit = limits.process_growth_bytes_per_hour
    long, short = (f"{_HOUR} * deriv({used}[{window}]) > {limit:.10g}" for window in ("2h", "20m"))
    return Alert(
        "ServiceMemoryGrows",
        f"{long} and {short} and {used} offset 2h and {_ours(queries)}",
        for_seconds=1800,
        severity="warning",
        scope=Scope.PROCESS,
        summary=f"{_ON}: the API process grows by more than {size(limit)} per hour",
        description=f"The memory of the API process of {_ON} grows by {AS_BYTES} per hour.",
        runbook=Runbook(
            means="The API process needs a constant amount of memory. It keeps objects too long.",
            look="queue_depth (queued images are in memory) and safelight_exposition_lines.",
            do="Restart it at a quiet time. Report the bug, with the time at which it began.",
        ),
    )


def _container_memory(queries: Queries, limits: Thresholds) -> Alert:
    limit = percent(limits.container_memory_ratio)
    used = queries.fraction(CGROUP_MEMORY_USED, CGROUP_MEMORY_LIMIT)
    return Alert(
        "ContainerMemoryHigh",
        f"{used} > {limits.container_memory_ratio:g}",
        for_seconds=120,
        severity="warning",
        scope=Scope.PROCESS,
        summary=f"{_ON}: more than {limit} of the container's memory is used",
        description=f"{_ON} uses {AS_SHARE} of its container's memory. The limit is {limit}.",
        runbook=Runbook(
            means="At the limit, the kernel kills a process in the container.",
            look="process_resident_memory_bytes, and queue_depth (queued images are in memory).",
            do="Raise the container's memory limit, or lower the queue limit.",
        ),
    )


def _will_be_full(queries: Queries, used: Metric, size_of: Metric, ahead: int, *by: Label) -> str:
    """Return the condition that the forecasts of two hours and of the last minutes exceed a size.

    A rise that has ended, such as loading a model, is only in the two hours.
    """
    limit = per_machine(queries.select(size_of), *by)
    long, recent = (
        per_machine(replace(queries, window=each).forecast(used, ahead), *by)
        for each in ("2h", _RECENT_WINDOW)
    )
    known = per_machine(f"{queries.select(used)} offset 1h", *by)  # a young trend is noise
    return f"{long} > {limit} and {recent} > {limit} and {known}"


def _filesystem_ahead(queries: Queries, limits: Thresholds) -> Alert:
    seconds = limits.disk_forecast_seconds
    full = _will_be_full(queries, HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE, seconds, MOUNTPOINT)
    return Alert(
        "FilesystemExhaustionAhead",
        full,
        for_seconds=1800,
        severity="warning",
        scope=Scope.HOST,
        summary=f"{AS_MACHINE}: {_MOUNT} will be full within {duration(seconds)}",
        description=(
            f"If the growth of the last 2 hours continues, {_MOUNT} of "
            f"{AS_MACHINE} will be full within {duration(seconds)}."
        ),
        runbook=Runbook(
            means="The file system is not full yet, but will be soon.",
            look="Prometheus' data folder, the model cache, logs.",
            do="Delete files that are not needed.",
        ),
    )


def _memory_ahead(queries: Queries, limits: Thresholds) -> Alert:
    seconds = limits.host_forecast_seconds
    ahead = _will_be_full(queries, HOST_MEMORY_USED, HOST_MEMORY_TOTAL, seconds)
    half = f"0.5 * {per_machine(queries.select(HOST_MEMORY_TOTAL))}"
    return Alert(
        "HostMemoryExhaustionAhead",
        f"{ahead} and {per_machine(queries.select(HOST_MEMORY_USED))} > {half}",
        for_seconds=900,
        severity="warning",
        scope=Scope.HOST,
        summary=f"{AS_MACHINE}: the host's memory will be full within {duration(seconds)}",
        description=(
            f"If the growth of the last 2 hours continues, the memory of {AS_MACHINE} will be "
            f"full within {duration(seconds)}."
        ),
        runbook=Runbook(
            means="If memory runs out, the kernel kills a process, most likely the worker.",
            look="ServiceMemoryGrows, and other programs on the host.",
            do="Stop programs that are not needed. Restart the program that grows.",
        ),
    )


def _log_lost(queries: Queries, _: Thresholds) -> Alert:
    longer = replace(queries, window="15m")
    return Alert(
        "LogLinesLost",
        f"{longer.increase(LOG_LINES_LOST, (JOB,))} > 0",
        for_seconds=0,
        severity="warning",
        scope=Scope.PROCESS,
        summary=f"{AS_JOB}: log lines were not written",
        description=(
            f"{AS_JOB} lost {AS_COUNT} log lines in {longer.window}. Requests were not affected."
        ),
        runbook=Runbook(
            means="The disk is full, or no process reads the log pipe.",
            look="HostFilesystemFull, and the process at the other end of the pipe.",
            do="Free disk space, or restart the process that reads the log.",
        ),
    )


PROCESS_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _loop_blocked,
    _descriptors,
    _restarted,
    _memory_grows,
    _filesystem_ahead,
    _memory_ahead,
    _container_memory,
    _log_lost,
)

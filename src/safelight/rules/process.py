"""Alerts on the service's process and on what its machine runs out of."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    BUILD_INFO,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    LOG_LINES_LOST,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import JOB, Queries
from safelight.rules.rule import AS_BYTES, AS_INSTANCE, AS_JOB, AS_NUMBER, AS_SHARE, Alert, Runbook
from safelight.rules.thresholds import Thresholds, minutes

_ON = f"{AS_INSTANCE} ({AS_JOB})"
_HOUR = 3600


def _descriptors(queries: Queries, limits: Thresholds) -> Alert:
    held, most = queries.foreign("process_open_fds"), queries.foreign("process_max_fds")
    return Alert(
        "FileDescriptorsNearlyGone",
        f"{held} / {most} > {limits.descriptors_ratio:g}",
        for_seconds=120,
        severity="warning",
        summary=f"{_ON}: few file descriptors are left",
        description=f"{AS_SHARE} of the file descriptors of {_ON} are in use.",
        runbook=Runbook(
            means="Without one no connection can be taken: callers will be refused by the kernel.",
            look="http_requests_inprogress; connections that stay open (ss -tp).",
            do="Raise the limit (ulimit -n), or close idle connections earlier at the proxy.",
        ),
    )


def _restarted(queries: Queries, limits: Thresholds) -> Alert:
    started = queries.foreign("process_start_time_seconds")
    return Alert(
        "ServiceRestarting",
        f"changes({started}[30m]) > {limits.service_restarts:g}",
        for_seconds=0,
        severity="warning",
        summary=f"{_ON}: the service keeps being started anew",
        description=f"{_ON} was started {AS_NUMBER} times in 30 minutes.",
        runbook=Runbook(
            means="The API process itself ends; each time all that waited is lost.",
            look="Its log's last lines; the kernel's log for the out-of-memory killer.",
            do="Roll back the last change; give it the memory that it asks for.",
        ),
    )


def _grows(queries: Queries, limits: Thresholds) -> Alert:
    held = queries.foreign("process_resident_memory_bytes")
    limit = limits.process_growth_bytes_per_hour
    return Alert(
        "ServiceMemoryGrows",
        f"{_HOUR} * deriv({held}[2h]) > {limit:g} and {_HOUR} * deriv({held}[20m]) > {limit:g}"
        f" and on (job, instance) {queries.select(BUILD_INFO)}",
        for_seconds=1800,
        severity="warning",
        summary=f"{_ON}: the service's own memory grows and grows",
        description=f"The process of {_ON} grows by {AS_BYTES} an hour.",
        runbook=Runbook(
            means="Something is kept that should not be: the API process needs a constant amount.",
            look="queue_depth (waiting pictures are kept), safelight_exposition_lines.",
            do="Restart it outside the rush, and report it with the time at which it began.",
        ),
    )


def _goes_on(queries: Queries, used: Metric, whole: Metric, window: str, ahead: int) -> str:
    """Return that it will be full by the long window, and by the last minutes still.

    A jump that has ended, as of a model that was loaded, is in the long window alone.
    """
    limit = queries.select(whole)
    long, short = (replace(queries, window=each).forecast(used, ahead) for each in (window, "10m"))
    return f"{long} > {limit} and {short} > {limit}"


def _filesystem_ahead(queries: Queries, limits: Thresholds) -> Alert:
    seconds = limits.disk_forecast_seconds
    ahead = _goes_on(queries, HOST_FILESYSTEM_USED, HOST_FILESYSTEM_SIZE, "6h", seconds)
    return Alert(
        "FilesystemExhaustionAhead",
        ahead,
        for_seconds=1800,
        severity="warning",
        summary=f"{_ON}: {{{{ $labels.mountpoint }}}} will be full",
        description=(
            f"As it went in the last 6 hours, {{{{ $labels.mountpoint }}}} of {_ON} is full in "
            f"{minutes(limits.disk_forecast_seconds)}."
        ),
        runbook=Runbook(
            means="It is not full yet; at this speed it soon is.",
            look="Prometheus' data folder, the model cache, logs.",
            do="Remove what is not needed while there is time.",
        ),
    )


def _memory_ahead(queries: Queries, limits: Thresholds) -> Alert:
    seconds = limits.host_forecast_seconds
    ahead = _goes_on(queries, HOST_MEMORY_USED, HOST_MEMORY_TOTAL, "2h", seconds)
    half = f"0.5 * {queries.select(HOST_MEMORY_TOTAL)}"
    return Alert(
        "HostMemoryExhaustionAhead",
        f"{ahead} and {queries.select(HOST_MEMORY_USED)} > {half}",
        for_seconds=900,
        severity="warning",
        summary=f"{_ON}: the machine's memory will be used up",
        description=(
            f"As it went in the last 2 hours, the memory of {_ON} ends within "
            f"{minutes(limits.host_forecast_seconds)}."
        ),
        runbook=Runbook(
            means="When memory ends the kernel kills a process, most likely the worker.",
            look="ServiceMemoryGrows; other programs on the machine.",
            do="Stop what is not needed; restart what grows.",
        ),
    )


def _log_lost(queries: Queries, _: Thresholds) -> Alert:
    patient = replace(queries, window="15m")
    return Alert(
        "LogLinesLost",
        f"{patient.increase(LOG_LINES_LOST, (JOB,))} > 0",
        for_seconds=0,
        severity="warning",
        summary=f"{AS_JOB}: log lines could not be written",
        description=f"{AS_JOB} lost {AS_NUMBER} log lines in {patient.window}; requests went on.",
        runbook=Runbook(
            means="The disk is full, or who reads the log has gone.",
            look="HostFilesystemFull; the process at the other end of the pipe.",
            do="Make room, or restart the log's reader.",
        ),
    )


PROCESS_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _descriptors,
    _restarted,
    _grows,
    _filesystem_ahead,
    _memory_ahead,
    _log_lost,
)

"""Alerts on the engine: queue, deadlines, degradation, circuit breaker and use of the devices."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    CIRCUIT_OPEN,
    DEGRADATION_LEVEL,
    DEVICE_SECONDS,
    ERROR,
    QUEUED_WORK,
    REQUESTS,
    STEP_SECONDS,
    USE,
    WARM_UPS,
    WASTED_USE,
)
from safelight.metrics.promql import JOB, Matchers, Queries
from safelight.rules.failures import NOT_LOW, failed
from safelight.rules.rule import (
    AS_COUNT,
    AS_INSTANCE,
    AS_JOB,
    AS_NUMBER,
    AS_SECONDS,
    AS_SHARE,
    Alert,
    Runbook,
    Scope,
)
from safelight.rules.thresholds import Thresholds
from safelight.units import duration, percent

_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _queued_work(queries: Queries, limits: Thresholds) -> Alert:
    limit = duration(limits.queued_work_seconds)
    return Alert(
        "WorkPilesUp",
        f"sum by (job, instance) ({queries.select(QUEUED_WORK, NOT_LOW)})"
        f" > {limits.queued_work_seconds:g}",
        for_seconds=120,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{_ON}: a new request would wait longer than {limit}",
        description=(
            f"The queued and running requests of {_ON} will take {AS_SECONDS} (estimate, without "
            f"low priority). The limit is {limit}."
        ),
        runbook=Runbook(
            means="More requests are queued than the model can serve soon. Deadlines are at risk.",
            look="queue_depth, batch_size compared with batch_size_limit, workers_ready.",
            do="Add a worker or a replica. If callers cannot wait so long, lower the queue limit.",
        ),
    )


def _deadlines_missed(queries: Queries, limits: Thresholds) -> Alert:
    limit = percent(limits.timeout_ratio)
    timeouts: Matchers = {ERROR: "timeout"}
    number = replace(queries, window="15m").increase(REQUESTS, (JOB,), timeouts)
    return Alert(
        "DeadlinesMissed",
        f"{queries.share(REQUESTS, timeouts, (JOB,))} > {limits.timeout_ratio:g}"
        f" and {number} >= {limits.least_missed:g}"
        f" and {failed(queries, '15m')} >= {limits.least_missed:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: more than {limit} of the requests miss their deadline",
        description=f"{AS_SHARE} of the requests of {AS_JOB} ended with a timeout.",
        runbook=Runbook(
            means="Requests reach their deadline before the model finishes them.",
            look="queued_work_seconds and step_latency_seconds: is the model slower than before?",
            do="Add a worker, allow fewer steps or smaller images, or use longer deadlines.",
        ),
    )


def _degraded(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "ServiceDegraded",
        f"{queries.select(DEGRADATION_LEVEL)} > 0",
        for_seconds=600,
        severity="info",
        scope=Scope.SERVICE,
        summary=f"{_ON}: quality is reduced because of load",
        description=f"{AS_NUMBER} steps of the degradation ladder are active on {_ON}.",
        runbook=Runbook(
            means="The service reduces the quality of each request, so that it can serve all.",
            look="degraded_total by action, and the signal that is above its limit.",
            do="If this happens every day, the service is too small for its traffic: add capacity.",
        ),
    )


def _circuit_open(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "CircuitOpen",
        f"{queries.select(CIRCUIT_OPEN)} > 0",
        for_seconds=60,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{_ON}: the circuit breaker refuses requests after repeated failures",
        description=(
            f"The circuit breaker of {_ON} has been open for a minute (state {AS_NUMBER}: 1 is "
            "open, 0.5 is half open)."
        ),
        runbook=Runbook(
            means="The model failed repeatedly. Requests are refused without running the model.",
            look="The first error in the log, and request_total by error just before.",
            do="Repair or roll back the model. The breaker closes at the first success.",
        ),
    )


def _wasted(queries: Queries, limits: Thresholds) -> Alert:
    longer = replace(queries, window="15m")
    wasted: Matchers = {USE: WASTED_USE}
    return Alert(
        "DeviceTimeWasted",
        f"{longer.share(DEVICE_SECONDS, wasted, (JOB,))} > {limits.wasted_ratio:g}"
        f" and {longer.increase(DEVICE_SECONDS, (JOB,), wasted)} > {limits.wasted_seconds:g}",
        for_seconds=600,
        severity="warning",
        scope=Scope.SERVICE,
        summary=(
            f"{AS_JOB}: more than {percent(limits.wasted_ratio)} of the device time is wasted"
        ),
        description=f"{AS_SHARE} of the device time of {AS_JOB} led to no response.",
        runbook=Runbook(
            means="The device works, but its results are discarded.",
            look="device_seconds_total by use.",
            do=(
                "`deadline`: admit fewer requests. `cancelled`: clients disconnect too early. "
                "`invalid`: see OutputsInvalid. `retry`: see WorkersRestarting."
            ),
        ),
    )


def _steps_slow(queries: Queries, limits: Thresholds) -> Alert:
    p95 = queries.quantile(0.95, STEP_SECONDS, (JOB,))
    limit = duration(limits.step_p95_seconds)
    return Alert(
        "StepsSlow",
        f"{p95} > {limits.step_p95_seconds:g}",
        for_seconds=600,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: P95 of denoising steps is above {limit}",
        description=f"P95 of a denoising step of {AS_JOB} is {AS_SECONDS}. The limit is {limit}.",
        runbook=Runbook(
            means="The device is slower than this service requires.",
            look="GpuThrottled, the GPU's clock, and whether the model runs on the CPU.",
            do="Cool the GPU or raise its power limit. Set the alert's limit for your model.",
        ),
    )


def _recompiling(queries: Queries, limits: Thresholds) -> Alert:
    longer = replace(queries, window="30m")
    return Alert(
        "ModelRecompiles",
        f"{longer.increase(WARM_UPS, (JOB,))} > {limits.warm_ups:g}",
        for_seconds=0,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: torch.compile runs repeatedly",
        description=(
            f"torch.compile ran in {AS_COUNT} calls of {AS_JOB} in {longer.window}. The limit is "
            f"{limits.warm_ups:g}."
        ),
        runbook=Runbook(
            means="Each new image or batch size is compiled, and callers wait for it.",
            look="request_images_total by image_size: how many sizes do callers request?",
            do="Restrict the image sizes, or serve without compilation.",
        ),
    )


ENGINE_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _queued_work,
    _deadlines_missed,
    _degraded,
    _circuit_open,
    _wasted,
    _steps_slow,
    _recompiling,
)

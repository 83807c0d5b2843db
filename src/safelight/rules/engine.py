"""Alerts on the engine: what waits, what is given up, what the devices' time is good for."""

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
)
from safelight.metrics.promql import JOB, Queries
from safelight.rules.rule import (
    AS_INSTANCE,
    AS_JOB,
    AS_NUMBER,
    AS_SECONDS,
    AS_SHARE,
    Alert,
    Runbook,
)
from safelight.rules.thresholds import Thresholds, percent

_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _work_waits(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "WorkPilesUp",
        f"{queries.select(QUEUED_WORK)} > {limits.queued_work_seconds:g}",
        for_seconds=120,
        severity="warning",
        summary=f"{_ON}: a new request would wait longer than {limits.queued_work_seconds:g} s",
        description=f"All that waits or runs on {_ON} will take {AS_SECONDS}, by what was learned.",
        runbook=Runbook(
            means="More work has been let in than is done soon; deadlines begin to be missed.",
            look="queue_depth, batch_size beside batch_size_limit, workers_ready.",
            do="Add a worker or a replica; lower the queue's limit if nobody waits that long.",
        ),
    )


def _too_late(queries: Queries, limits: Thresholds) -> Alert:
    share = queries.share(REQUESTS, {ERROR: "~timeout|too_late"}, (JOB,))
    return Alert(
        "DeadlinesMissed",
        f"{share} > {limits.timeout_ratio:g}",
        for_seconds=300,
        severity="warning",
        summary=f"{AS_JOB}: more than {percent(limits.timeout_ratio)} of requests are too late",
        description=f"{AS_SHARE} of the requests of {AS_JOB} ended at their deadline.",
        runbook=Runbook(
            means="Callers give up, or are told at once that it cannot be done in their time.",
            look="queued_work_seconds, and the time of a step: is the model slower than it was?",
            do="Add a worker; allow fewer steps or smaller sides; ask for longer deadlines.",
        ),
    )


def _degraded(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "ServiceDegraded",
        f"{queries.select(DEGRADATION_LEVEL)} > 0",
        for_seconds=600,
        severity="info",
        summary=f"{_ON}: quality has given way to load for ten minutes",
        description=f"{AS_NUMBER} rungs of the ladder are in force on {_ON}.",
        runbook=Runbook(
            means="The service makes less of each request, so that it can serve them all.",
            look="degraded_total by action; which signal is over its limit: latency, memory, work.",
            do="If it is so every day, the service is too small for its traffic.",
        ),
    )


def _circuit_open(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "CircuitOpen",
        f"{queries.select(CIRCUIT_OPEN)} > 0",
        for_seconds=60,
        severity="critical",
        summary=f"{_ON}: the model is left alone after failures",
        description=f"The breaker of {_ON} has been open (or half, {AS_NUMBER}) for a minute.",
        runbook=Runbook(
            means="The model failed again and again; requests are refused without trying it.",
            look="The first error in the log; request_total by error just before.",
            do="Mend or roll back the model. The breaker closes by itself at the first success.",
        ),
    )


def _wasted(queries: Queries, limits: Thresholds) -> Alert:
    patient = replace(queries, window="15m")
    wasted = patient.share(DEVICE_SECONDS, {USE: "!useful"}, (JOB,))
    return Alert(
        "DeviceTimeWasted",
        f"{wasted} > {limits.wasted_ratio:g}",
        for_seconds=600,
        severity="warning",
        summary=f"{AS_JOB}: much of the devices' time is for nobody",
        description=f"{AS_SHARE} of the device seconds of {AS_JOB} gave no answer.",
        runbook=Runbook(
            means="The device works, and what it makes is thrown away.",
            look="device_seconds_total by use: cancelled, deadline, invalid, failed, retry.",
            do=(
                "deadline: admit less. cancelled: clients give up too early. invalid: see "
                "OutputsInvalid. retry: see WorkersRestarting."
            ),
        ),
    )


def _steps_slow(queries: Queries, limits: Thresholds) -> Alert:
    p95 = queries.quantile(0.95, STEP_SECONDS, (JOB,))
    return Alert(
        "StepsSlow",
        f"{p95} > {limits.step_p95_seconds:g}",
        for_seconds=600,
        severity="warning",
        summary=f"{AS_JOB}: a denoising step takes long",
        description=f"P95 of a step of {AS_JOB} is {AS_SECONDS}.",
        runbook=Runbook(
            means="The device itself is slower than this service is meant to be.",
            look="GpuThrottled; the card's clock; whether the model runs on the processor.",
            do="Cool the card, give it its power; set the limit to what your model needs.",
        ),
    )


def _recompiling(queries: Queries, limits: Thresholds) -> Alert:
    patient = replace(queries, window="30m")
    return Alert(
        "ModelRecompiles",
        f"{patient.increase(WARM_UPS, (JOB,))} > {limits.warm_ups:g}",
        for_seconds=0,
        severity="warning",
        summary=f"{AS_JOB}: torch.compile is at work again and again",
        description=f"{AS_NUMBER} calls of {AS_JOB} compiled in {patient.window}.",
        runbook=Runbook(
            means="Each new size or batch is compiled anew; callers wait for it.",
            look="request_images_total by image_size: how many sizes are asked for?",
            do="Fix the sizes that clients may ask for, or serve without compilation.",
        ),
    )


ENGINE_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _work_waits,
    _too_late,
    _degraded,
    _circuit_open,
    _wasted,
    _steps_slow,
    _recompiling,
)

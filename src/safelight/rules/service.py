"""Alerts on what callers notice: latency, errors, refusals and queueing."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    ERROR,
    INFERENCE_SECONDS,
    QUEUED_SECONDS,
    REJECTED,
    REQUEST_SECONDS,
    REQUESTS,
)
from safelight.metrics.promql import JOB, Matchers, Queries
from safelight.reasons import NO_ERROR
from safelight.rules.recording import HTTP_ERRORS, HTTP_FAILED, HTTP_P95
from safelight.rules.rule import AS_JOB, AS_SECONDS, AS_SHARE, Alert, Runbook, Scope
from safelight.rules.thresholds import Thresholds
from safelight.units import duration, percent


def _of_service(queries: Queries) -> str:
    """Return the condition that keeps only the jobs of this namespace, for shared metrics."""
    return f" and on (job) {queries.service()}"


def _request_p95_high(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.request_p95_seconds
    return Alert(
        "RequestP95High",
        f"{queries.quantile(0.95, REQUEST_SECONDS, (JOB,))} > {limit:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: P95 of requests is above {duration(limit)}",
        description=f"P95 of {AS_JOB} is {AS_SECONDS}. The limit is {duration(limit)}.",
        runbook=Runbook(
            means="Callers wait too long: 5 % of the requests take longer than the limit.",
            look=(
                "Which stage grew (request_stage_duration_seconds)? `queue`: traffic exceeds the "
                "capacity. `denoise`: compare steps, image size and the GPU's clock. Other stages: "
                "check input and output."
            ),
            do=(
                "If the queue grew, add a worker or admit fewer requests. If denoising grew, lower "
                "the maximum number of steps."
            ),
        ),
    )


def _http_p95_high(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.http_p95_seconds
    return Alert(
        "HighP95Latency",
        f"{HTTP_P95} > {limit:g}{_of_service(queries)}",
        for_seconds=600,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: {{{{ $labels.handler }}}} has been slow for ten minutes",
        description=(
            f"P95 of {{{{ $labels.handler }}}} in {AS_JOB} is {AS_SECONDS}. The limit is "
            f"{duration(limit)}."
        ),
        runbook=Runbook(
            means="5 % of the requests to a route take longer than many clients wait.",
            look=(
                "Do its requests stay in progress (http_requests_inprogress)? Is the host busy "
                "(host alerts)? If a worker hangs, workers_ready falls."
            ),
            do=(
                "Restart a worker that makes no progress. If the model is meant to be this slow, "
                "raise the limit."
            ),
        ),
    )


def _http_errors(queries: Queries, limits: Thresholds) -> Alert:
    limit = percent(limits.http_error_ratio)
    return Alert(
        "HighAPIErrorRate",
        f"{HTTP_ERRORS} > {limits.http_error_ratio:g}"
        f" and {HTTP_FAILED} >= {limits.least_missed:g}{_of_service(queries)}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: more than {limit} of the responses have a 5xx status",
        description=f"{AS_SHARE} of the responses of {AS_JOB} have a 5xx status.",
        runbook=Runbook(
            means="The service fails valid requests.",
            look=(
                "Which reason is most frequent (request_total by error)? Which route "
                "(http_requests_total by handler)? The log has one line per failure, with the same "
                "reason."
            ),
            do=(
                "`cuda_oom`: lower sizes or the batch limit. `worker_lost`: see NoWorkerReady. "
                "`overloaded`: admit fewer requests or add a worker."
            ),
        ),
    )


def _success_low(queries: Queries, limits: Thresholds) -> Alert:
    failed: Matchers = {ERROR: f"!{NO_ERROR}"}
    longer = replace(queries, window="15m")
    return Alert(
        "SuccessRatioLow",
        # Uses failures: a service that never succeeded has no success counter.
        f"{queries.share(REQUESTS, failed, (JOB,))} > {1 - limits.success_ratio:g}"
        f" and {longer.increase(REQUESTS, (JOB,), failed)} >= {limits.least_missed:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: fewer than {percent(limits.success_ratio)} of the requests succeed",
        description=(
            f"{AS_SHARE} of the requests to the model of {AS_JOB} fail, including invalid requests."
        ),
        runbook=Runbook(
            means=(
                "Too many requests return no valid image. Unlike HighAPIErrorRate, this counts "
                "callers' mistakes too."
            ),
            look=(
                "Errors by reason, then success by instruction type. If one type fails, check its "
                "prompts and the taxonomy. If all types fail, check the model and its host."
            ),
            do=(
                "If invalid requests increase, inform the client's owner of the limit. If the "
                "service fails, see HighAPIErrorRate."
            ),
        ),
    )


def _refused(queries: Queries, limits: Thresholds) -> Alert:
    ratio = f"{queries.rate(REJECTED, (JOB,))} / {queries.rate(REQUESTS, (JOB,))}"
    return Alert(
        "RequestsRefused",
        f"{ratio} > {limits.refused_ratio:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: more than {percent(limits.refused_ratio)} of the requests are refused",
        description=(
            f"{AS_SHARE} of the requests to {AS_JOB} were refused before they reached the model."
        ),
        runbook=Runbook(
            means="More requests arrive than the service accepts. Callers receive 429 or 503.",
            look=(
                'The reason: rejected_total{reason="queue_full"} is a full queue, '
                'rejected_total{reason="too_late"} a deadline that cannot be met, '
                'rejected_total{reason="not_ready"} a model that still loads.'
            ),
            do=(
                "Add a worker or a replica, or distribute the traffic. If callers can wait, raise "
                "the queue limit."
            ),
        ),
    )


def _queue_longer(queries: Queries, _: Thresholds) -> Alert:
    queue_wait = queries.mean(QUEUED_SECONDS, (JOB,))
    return Alert(
        "QueueLongerThanInference",
        f"{queue_wait} > {queries.mean(INFERENCE_SECONDS, (JOB,))}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: requests wait longer than their inference takes",
        description=(
            f"The mean queue wait of {AS_JOB} is {AS_SECONDS}, longer than the mean inference time."
        ),
        runbook=Runbook(
            means="The model is the bottleneck: requests wait longer than they are computed.",
            look=(
                "queue_depth over time, and requests per second compared with what one worker can "
                "serve (1 / inference time)."
            ),
            do=(
                "Add a worker, allow larger batches, or use fewer steps. If callers cannot wait "
                "this long, lower the queue limit."
            ),
        ),
    )


SERVICE_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _request_p95_high,
    _http_p95_high,
    _http_errors,
    _success_low,
    _refused,
    _queue_longer,
)

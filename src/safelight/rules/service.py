"""Alerts on what callers notice: latency, errors, refusals and queueing."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    IN_FLIGHT,
    INFERENCE_SECONDS,
    OUTCOMES,
    PRIORITY_SECONDS,
    QUEUED_SECONDS,
    REJECTED,
    REJECTION,
    REQUESTS,
)
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries
from safelight.rules.failures import (
    NOT_LOW,
    failed,
    failed_for_low_priority,
    failed_share,
    slow,
    slow_for_low_priority,
)
from safelight.rules.objectives import usual_events
from safelight.rules.recording import HTTP_ERRORS, HTTP_FAILED, HTTP_P95
from safelight.rules.rule import (
    AS_COUNT,
    AS_INSTANCE,
    AS_JOB,
    AS_SECONDS,
    AS_SHARE,
    Alert,
    Runbook,
    Scope,
)
from safelight.rules.thresholds import Thresholds
from safelight.units import duration, percent

_HANDLER = "{{ $labels.handler }}"


def _of_service(queries: Queries) -> str:
    """Return the condition that keeps only the jobs of this namespace, for shared metrics."""
    return f" and on (job) {queries.service()}"


def _request_p95_high(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.request_p95_seconds
    return Alert(
        "RequestP95High",
        f"{queries.quantile(0.95, PRIORITY_SECONDS, (JOB,), NOT_LOW)} > {limit:g}"
        f" and {slow(queries)} >= {limits.least_missed:g}",
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
        f"{HTTP_P95} > {limit:g}{_of_service(queries)}"
        f" unless on (job, handler) {slow_for_low_priority(queries)}",
        for_seconds=600,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: {{{{ $labels.handler }}}} is slow",
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
        f" and {HTTP_FAILED} >= {limits.least_missed:g}{_of_service(queries)}"
        f" unless on (job, handler) {failed_for_low_priority(queries)}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: more than {limit} of the responses of {_HANDLER} have a 5xx status",
        description=f"{AS_SHARE} of the responses of {_HANDLER} in {AS_JOB} have a 5xx status.",
        runbook=Runbook(
            means="The service fails valid requests.",
            look=(
                "Which reason is most frequent (request_total by error)? Which route "
                "(http_requests_total by handler)? The log has one line per failure, with the same "
                "reason."
            ),
            do=(
                "If it began with a deployment, roll it back. Read the reasons in the log. "
                "`overloaded`: add a worker. `worker_lost`: see NoWorkerReady."
            ),
        ),
    )


def _success_low(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "SuccessRatioLow",
        f"{failed_share(queries, '5m')} > {1 - limits.success_ratio:g}"
        f" and {failed(queries, '15m')} >= {limits.least_missed:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: fewer than {percent(limits.success_ratio)} of the requests succeed",
        description=(
            f"{AS_SHARE} of the requests to the model of {AS_JOB} fail. Callers' mistakes do not "
            "count."
        ),
        runbook=Runbook(
            means=(
                "Too many requests return no valid image. Unlike HighAPIErrorRate, this counts "
                "destroyed images too, and no low-priority requests."
            ),
            look=(
                "Errors by reason, then success by instruction type. If one type fails, check its "
                "prompts and the taxonomy. If all types fail, check the model and its host."
            ),
            do=(
                "Follow the most frequent reason in docs/errors.md. If it began with a deployment, "
                "roll it back."
            ),
        ),
    )


def _burst(queries: Queries, limits: Thresholds) -> Alert:
    limit = percent(1 - limits.success_ratio)
    return Alert(
        "RequestsFailing",
        f"{failed(queries, '10m')} >= {limits.failure_burst:g}"
        f" and {failed_share(queries, '10m')} > {1 - limits.success_ratio:g}",
        for_seconds=0,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: {AS_COUNT} requests failed within ten minutes",
        description=(
            f"{AS_COUNT} requests of {AS_JOB} failed by the service's fault within ten minutes: "
            f"more than {limit} of all."
        ),
        runbook=Runbook(
            means=(
                "Several requests failed at once. Unlike SuccessRatioLow, this also fires for a "
                "burst of less than five minutes."
            ),
            look="Errors by reason (request_total by error), and what changed just before.",
            do="Follow the most frequent reason in docs/errors.md. If it does not end, roll back.",
        ),
    )


def _refused(queries: Queries, limits: Thresholds) -> Alert:
    reasons: Matchers = {REJECTION: "!~unauthorized|rate_limited"}
    refused = queries.rate(REJECTED, (JOB,), reasons)
    number = replace(queries, window="15m").increase(REJECTED, (JOB,), reasons)
    return Alert(
        "RequestsRefused",
        f"{refused} / {queries.rate(REQUESTS, (JOB,))} > {limits.refused_ratio:g}"
        f" and {number} >= {limits.least_missed:g}"
        f" and {failed(queries, '15m')} >= {limits.least_missed:g}",
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


def _stuck(queries: Queries, _: Thresholds) -> Alert:
    in_flight = queries.select(IN_FLIGHT)
    running = f"min_over_time({in_flight}[10m]) > 0 and {in_flight} offset 10m > 0"
    ended = replace(queries, window="10m").increase(REQUESTS, (JOB, INSTANCE))
    return Alert(
        "RequestsStuck",
        f"{running} and on (job, instance) {ended} == 0",
        for_seconds=0,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_INSTANCE} ({AS_JOB}): requests do not end",
        description=(
            f"{AS_COUNT} requests of {AS_INSTANCE} ({AS_JOB}) are in flight, and none has ended "
            "for ten minutes."
        ),
        runbook=Runbook(
            means="The model, or what it waits for, makes no progress. Callers wait in vain.",
            look="The worker's stack (py-spy dump), the GPU's utilization, and the log.",
            do="Restart the worker or the service. Set a timeout for whatever it waits for.",
        ),
    )


def _traffic_stopped(queries: Queries, limits: Thresholds) -> Alert:
    now = replace(queries, window="15m").rate(OUTCOMES, (JOB,), NOT_LOW)
    before = f"quantile_over_time(0.1, {usual_events(queries)}[4h] offset 30m)"
    return Alert(
        "TrafficStopped",
        f"{now} == 0 and on (job) {before} > {limits.traffic_per_second:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: no request has arrived for twenty minutes",
        description=(
            f"{AS_JOB} received more than {limits.traffic_per_second:g} requests per second for "
            "hours, and none now. It is running."
        ),
        runbook=Runbook(
            means="Callers do not reach the service, or they have stopped.",
            look="The load balancer, DNS, certificates, and the callers' own errors.",
            do="Send a request through the whole path, as a caller does.",
        ),
    )


def _queue_longer(queries: Queries, limits: Thresholds) -> Alert:
    queue_wait = queries.mean(QUEUED_SECONDS, (JOB,), NOT_LOW)
    number = replace(queries, window="30m").increase(QUEUED_SECONDS, (JOB,), NOT_LOW)
    return Alert(
        "QueueLongerThanInference",
        f"{queue_wait} > {queries.mean(INFERENCE_SECONDS, (JOB,))}"
        f" and {queue_wait} > {limits.queue_wait_seconds:g}"
        f" and {number} >= {limits.least_requests:g}",
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
    _burst,
    _refused,
    _stuck,
    _traffic_stopped,
    _queue_longer,
)

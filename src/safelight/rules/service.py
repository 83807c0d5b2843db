"""Alerts on what callers feel: latency, errors, refusals, waiting."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    ERROR,
    IN_FLIGHT,
    INFERENCE_SECONDS,
    QUEUED_SECONDS,
    REJECTED,
    REQUEST_SECONDS,
    REQUESTS,
)
from safelight.metrics.promql import JOB, Matchers, Queries
from safelight.reasons import NO_ERROR
from safelight.rules.recording import HTTP_ERRORS, HTTP_FAILED, HTTP_P95
from safelight.rules.rule import AS_JOB, AS_SECONDS, AS_SHARE, Alert, Runbook
from safelight.rules.thresholds import Thresholds, percent


def _of(queries: Queries) -> str:
    """Leave only the jobs of this namespace: names such as http_* are every service's."""
    return f" and on (job) {queries.select(IN_FLIGHT)}"


def _request_p95_high(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.request_p95_seconds
    return Alert(
        "RequestP95High",
        f"{queries.quantile(0.95, REQUEST_SECONDS, (JOB,))} > {limit:g}",
        for_seconds=300,
        severity="warning",
        summary=f"{AS_JOB}: one request in twenty takes longer than {limit:g} s",
        description=f"P95 of {AS_JOB} is {AS_SECONDS}; the limit is {limit:g} s.",
        runbook=Runbook(
            means=(
                "Callers wait too long: the slowest twentieth of requests has been over the limit "
                "for five minutes."
            ),
            look=(
                "Which stage grew (request_stage_duration_seconds)? If it is `queue`, traffic "
                "exceeds what the model serves; if `denoise`, compare steps, size and the card's "
                "clock; if neither, input and output."
            ),
            do=(
                "Admit less or add a worker where the queue grew; lower the step limit where "
                "denoising grew."
            ),
        ),
    )


def _http_p95_high(queries: Queries, limits: Thresholds) -> Alert:
    limit = limits.http_p95_seconds
    return Alert(
        "HighP95Latency",
        f"{HTTP_P95} > {limit:g}{_of(queries)}",
        for_seconds=600,
        severity="critical",
        summary=f"{AS_JOB}: {{{{ $labels.handler }}}} has been slow for ten minutes",
        description=(
            f"P95 of {{{{ $labels.handler }}}} in {AS_JOB} is {AS_SECONDS}; the limit is {limit:g} "
            "s."
        ),
        runbook=Runbook(
            means="A route answers so slowly that most clients have given up.",
            look=(
                "Are requests of this route in progress for long (http_requests_inprogress), or is "
                "the machine itself busy (host alerts)? A worker that hangs shows as workers_ready "
                "falling."
            ),
            do=(
                "Restart a worker that makes no progress; raise the limit where the model is meant "
                "to be this slow."
            ),
        ),
    )


def _http_errors(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "HighAPIErrorRate",
        f"{HTTP_ERRORS} > {limits.http_error_ratio:g}"
        f" and {HTTP_FAILED} >= {limits.least_missed:g}{_of(queries)}",
        for_seconds=300,
        severity="warning",
        summary=(
            f"{AS_JOB}: more than {percent(limits.http_error_ratio)} of answers are errors of ours"
        ),
        description=f"{AS_SHARE} of the answers of {AS_JOB} have a 5xx status.",
        runbook=Runbook(
            means="The service fails requests that were good.",
            look=(
                "Which reason leads (request_total by error)? Which route (http_requests_total by "
                "handler)? The log has one line per failure, with the same reason."
            ),
            do=(
                "cuda_oom: lower sizes or batch. worker_lost: see NoWorkerReady. overloaded: admit "
                "less or add a worker."
            ),
        ),
    )


def _success_low(queries: Queries, limits: Thresholds) -> Alert:
    failed: Matchers = {ERROR: f"!{NO_ERROR}"}
    patient = replace(queries, window="15m")
    return Alert(
        "SuccessRatioLow",
        # The failing share: with no success at all there is no success counter to divide.
        f"{queries.share(REQUESTS, failed, (JOB,))} > {1 - limits.success_ratio:g}"
        f" and {patient.increase(REQUESTS, (JOB,), failed)} >= {limits.least_missed:g}",
        for_seconds=300,
        severity="warning",
        summary=f"{AS_JOB}: fewer than {percent(limits.success_ratio)} of requests succeed",
        description=f"{AS_SHARE} of the requests to the model of {AS_JOB} fail, bad input counted.",
        runbook=Runbook(
            means=(
                "More requests than usual end without a picture; unlike HighAPIErrorRate this "
                "counts the caller's mistakes."
            ),
            look=(
                "Errors by reason, then success by instruction type: one type alone points at "
                "prompts or the taxonomy, all types at the model or its machine."
            ),
            do=(
                "Bad input rising: tell the client's owner which limit it meets. Failures rising: "
                "see HighAPIErrorRate."
            ),
        ),
    )


def _refused(queries: Queries, limits: Thresholds) -> Alert:
    refused_of = queries.rate(REQUESTS, (JOB,))
    return Alert(
        "RequestsRefused",
        f"{queries.rate(REJECTED, (JOB,))} / {refused_of} > {limits.refused_ratio:g}",
        for_seconds=300,
        severity="warning",
        summary=f"{AS_JOB}: callers are turned away",
        description=(
            f"{AS_SHARE} of the requests to {AS_JOB} were refused before they cost the model "
            "anything."
        ),
        runbook=Runbook(
            means=(
                "More work arrives than the service takes on; it answers 503 with a time to retry."
            ),
            look=(
                "The reason of rejected_total: `overloaded` is a full queue, `not_ready` a model "
                "still loading."
            ),
            do=(
                "Add a worker or a replica, spread the traffic, or raise the queue's limit if "
                "callers can wait."
            ),
        ),
    )


def _queue_longer(queries: Queries, _: Thresholds) -> Alert:
    waiting = queries.mean(QUEUED_SECONDS, (JOB,))
    return Alert(
        "QueueLongerThanInference",
        f"{waiting} > {queries.mean(INFERENCE_SECONDS, (JOB,))}",
        for_seconds=300,
        severity="warning",
        summary=f"{AS_JOB}: requests wait longer than the model works on them",
        description=(
            f"A request of {AS_JOB} waits {AS_SECONDS} on average, longer than its inference takes."
        ),
        runbook=Runbook(
            means="The model is the bottleneck and the line before it grows.",
            look=(
                "queue_depth over time, and requests per second against what one worker makes (1 / "
                "inference time)."
            ),
            do=(
                "Add a worker, batch, or take fewer steps; refuse earlier where waiting helps "
                "nobody."
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

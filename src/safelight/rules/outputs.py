"""Alerts on the outputs: invalid images, failing instruction types, truncated prompts."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import IMAGES, OUTPUT_INVALID, PROMPTS_TRUNCATED
from safelight.metrics.promql import JOB, Queries
from safelight.rules.failures import failed, failed_share, failed_share_of_type, judged_of_type
from safelight.rules.rule import AS_JOB, AS_SHARE, Alert, Runbook, Scope
from safelight.rules.thresholds import Thresholds
from safelight.units import percent

_TYPE = "{{ $labels.instruction_type }}"


def _invalid(queries: Queries, limits: Thresholds) -> Alert:
    invalid, valid = queries.rate(OUTPUT_INVALID, (JOB,)), queries.rate(IMAGES, (JOB,))
    ratio = f"{invalid} / ({invalid} + ({valid} or 0 * {invalid}))"
    number = replace(queries, window="15m").increase(OUTPUT_INVALID, (JOB,))
    return Alert(
        "OutputsInvalid",
        f"{ratio} > {limits.output_invalid_ratio:g} and {number} >= {limits.least_missed:g}",
        for_seconds=300,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: more than {percent(limits.output_invalid_ratio)} of images are invalid",
        description=(
            f"{AS_SHARE} of the images of {AS_JOB} are black, flat, noise, not finite or of a "
            "wrong size."
        ),
        runbook=Runbook(
            means="The model runs without an error, but its results are not usable images.",
            look="output_invalid_total by reason; precision and scheduler in model_info.",
            do=(
                "`not_finite` or `black` with float16: use bfloat16 or float32. `noise`: check the "
                "scheduler and the weights. Otherwise roll back the model."
            ),
        ),
    )


def _instruction_failing(queries: Queries, limits: Thresholds) -> Alert:
    share, requests = failed_share_of_type(queries), judged_of_type(queries)
    success = percent(limits.instruction_success_ratio)
    return Alert(
        "InstructionFailing",
        f"{share} > {1 - limits.instruction_success_ratio:g}"
        f" and {requests} >= {limits.least_requests:g}"
        f" and on (job) {failed(queries, '30m')} >= {limits.least_missed:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: fewer than {success} of the requests of type {_TYPE} succeed",
        description=f"{AS_SHARE} of the requests of {AS_JOB} of the type {_TYPE} fail.",
        runbook=Runbook(
            means="Many requests of this instruction type fail.",
            look="request_total of this type by error, and the log lines of this type.",
            do="Disable the type in your product until it is repaired. Check its inputs.",
        ),
    )


def _truncated(queries: Queries, limits: Thresholds) -> Alert:
    longer = replace(queries, window="1h")
    truncated, images = longer.rate(PROMPTS_TRUNCATED, (JOB,)), longer.rate(IMAGES, (JOB,))
    number = longer.increase(PROMPTS_TRUNCATED, (JOB,))
    limit = percent(limits.truncated_ratio)
    return Alert(
        "PromptsTruncated",
        f"{truncated} / {images} > {limits.truncated_ratio:g}"
        f" and {number} >= {limits.least_missed:g}",
        for_seconds=600,
        severity="info",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: more than {limit} of the prompts are truncated",
        description=f"{AS_SHARE} of the prompts of {AS_JOB} are too long for the text encoder.",
        runbook=Runbook(
            means="The end of these prompts has no effect.",
            look=(
                "Which client sends them? The response header X-Safelight-Prompt-Truncated marks "
                "them."
            ),
            do="Shorten the prompts, or use a model whose text encoder accepts longer ones.",
        ),
    )


def _most_fail(queries: Queries, limits: Thresholds) -> Alert:
    limit = percent(limits.outage_ratio)
    return Alert(
        "MostRequestsFail",
        f"{failed_share(queries, '5m')} > {limits.outage_ratio:g}"
        f" and {failed(queries, '10m')} >= {limits.failure_burst:g}",
        for_seconds=60,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: more than {limit} of the requests fail",
        description=f"{AS_SHARE} of the requests to the model of {AS_JOB} fail.",
        runbook=Runbook(
            means="Nearly nobody is served. It is an outage.",
            look="Errors by reason (request_total by error), and what changed just before.",
            do="Undo the last change first. Then read the log: it has the failure's reason.",
        ),
    )


OUTPUT_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _most_fail,
    _invalid,
    _instruction_failing,
    _truncated,
)

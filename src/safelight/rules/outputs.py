"""Alerts on what comes out: broken pictures, failing instructions, prompts that were cut off."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    ERROR,
    IMAGES,
    INSTRUCTION_TYPE,
    OUTPUT_INVALID,
    PROMPTS_TRUNCATED,
    REQUESTS,
)
from safelight.metrics.promql import JOB, Queries
from safelight.reasons import NO_ERROR
from safelight.rules.rule import AS_JOB, AS_SHARE, Alert, Runbook
from safelight.rules.thresholds import Thresholds, percent


def _invalid(queries: Queries, limits: Thresholds) -> Alert:
    broken, good = queries.rate(OUTPUT_INVALID, (JOB,)), queries.rate(IMAGES, (JOB,))
    return Alert(
        "OutputsInvalid",
        f"{broken} / ({broken} + ({good} or 0 * {broken})) > {limits.output_invalid_ratio:g}",
        for_seconds=300,
        severity="critical",
        summary=f"{AS_JOB}: the model makes broken pictures",
        description=f"{AS_SHARE} of the pictures of {AS_JOB} are black, flat, noise or not finite.",
        runbook=Runbook(
            means="The model runs without an error, and what it makes is no picture.",
            look="output_invalid_total by reason; model_info: the precision, the scheduler.",
            do=(
                "not_finite or black in float16: serve in bfloat16 or float32. noise: check the "
                "scheduler and the weights. Otherwise roll the model back."
            ),
        ),
    )


def _type_fails(queries: Queries, limits: Thresholds) -> Alert:
    patient = replace(queries, window="30m")
    by = (JOB, INSTRUCTION_TYPE)
    failed = patient.share(REQUESTS, {ERROR: f"!{NO_ERROR}"}, by)
    enough = patient.increase(REQUESTS, by)
    return Alert(
        "InstructionFailing",
        f"{failed} > {1 - limits.instruction_success_ratio:g}"
        f" and {enough} >= {limits.least_requests:g}",
        for_seconds=300,
        severity="warning",
        summary=f"{AS_JOB}: {{{{ $labels.instruction_type }}}} mostly fails",
        description=(
            f"{AS_SHARE} of the requests of {AS_JOB} of the type "
            "{{ $labels.instruction_type }} fail."
        ),
        runbook=Runbook(
            means="One kind of instruction fails where the others do not.",
            look="request_total of this type by error; the log's lines of this type.",
            do="Take the type out of the product until it is mended; look at its inputs.",
        ),
    )


def _truncated(queries: Queries, limits: Thresholds) -> Alert:
    patient = replace(queries, window="1h")
    cut, made = patient.rate(PROMPTS_TRUNCATED, (JOB,)), patient.rate(IMAGES, (JOB,))
    return Alert(
        "PromptsTruncated",
        f"{cut} / {made} > {limits.truncated_ratio:g}",
        for_seconds=600,
        severity="info",
        summary=f"{AS_JOB}: over {percent(limits.truncated_ratio)} of prompts are cut off",
        description=f"{AS_SHARE} of the prompts of {AS_JOB} are longer than the encoder reads.",
        runbook=Runbook(
            means="What stands at the end of these prompts has no effect, and nobody is told.",
            look="Which client sends them; the answer's X-Safelight-Prompt-Truncated.",
            do="Shorten the prompts, or serve a model whose encoder reads more.",
        ),
    )


OUTPUT_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _invalid,
    _type_fails,
    _truncated,
)

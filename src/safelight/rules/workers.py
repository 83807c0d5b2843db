"""Alerts on the workers: none ready, restarting, out of memory, or guidance switched off."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    GUIDANCE_OVERRIDDEN,
    INFERENCE_SECONDS,
    MODEL_ASLEEP,
    PARAMETER,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.promql import JOB, Queries
from safelight.rules.failures import out_of_memory
from safelight.rules.rule import AS_COUNT, AS_JOB, AS_SHARE, Alert, Runbook, Scope
from safelight.rules.thresholds import Thresholds

_LOAD_SECONDS = 1800  # a model that is not loaded after this time will not be


def _no_worker(queries: Queries, _: Thresholds) -> Alert:
    ready = queries.select(WORKERS_READY)
    started = queries.foreign("process_start_time_seconds")
    was_ready = f"max by (job) (max_over_time({ready}[1h])) > 0"
    asleep = f"max by (job) ({queries.select(MODEL_ASLEEP)}) > 0"  # the next request wakes it
    should_be = f"time() - max by (job) ({started}) > {_LOAD_SECONDS}"
    return Alert(
        "NoWorkerReady",
        f"sum by (job) ({ready}) == 0 and on (job) ({was_ready} or {should_be}) "
        f"unless on (job) ({asleep})",
        for_seconds=300,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: no worker has a model loaded",
        description=f"{AS_JOB} has {AS_COUNT} ready workers. It serves nothing.",
        runbook=Runbook(
            means="The API runs, but no worker can serve requests.",
            look=(
                "The worker's last lines in the service's log, worker_restarts_total by reason, "
                "and `/readyz`."
            ),
            do=(
                "`died`: free memory or the device, then restart. `load_failed`: check the model's "
                "name, files and memory."
            ),
        ),
    )


def _too_few(queries: Queries, limits: Thresholds) -> Alert:
    ours = f"max by (job) (last_over_time({queries.service()}[1h]))"
    least = limits.least_replicas
    return Alert(
        "TooFewReplicas",
        f"sum by (job) ({queries.foreign('up')}) < {least} and on (job) {ours}",
        for_seconds=300,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: fewer than {least} replicas respond",
        description=f"{AS_COUNT} replicas of {AS_JOB} respond to Prometheus. It needs {least}.",
        runbook=Runbook(
            means="The service has less capacity than it needs, or none.",
            look="The page Status > Targets in Prometheus, and the autoscaler's events.",
            do="Start the missing replicas. If fewer are enough, lower least_replicas.",
        ),
    )


def _restarting(queries: Queries, limits: Thresholds) -> Alert:
    longer = replace(queries, window="15m")
    return Alert(
        "WorkersRestarting",
        f"{longer.increase(WORKER_RESTARTS, (JOB,))} > {limits.worker_restarts}",
        for_seconds=0,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: workers restart again and again",
        description=f"{AS_COUNT} workers of {AS_JOB} were replaced in {longer.window}.",
        runbook=Runbook(
            means="A worker ends repeatedly. Its requests are lost or retried each time.",
            look=(
                "The out-of-memory killer in the kernel log, CUDA errors in the service's log, and "
                "GPU memory before each restart."
            ),
            do=(
                "`memory`: the model leaks, so find what it keeps after a call. Else free memory, "
                "lower the load, or stop the requests that end the worker."
            ),
        ),
    )


def _guidance_overridden(queries: Queries, limits: Thresholds) -> Alert:
    parameter = "{{ $labels.parameter }}"
    longer = replace(queries, window="30m")
    ignored = longer.increase(GUIDANCE_OVERRIDDEN, (JOB, PARAMETER))
    calls = longer.increase(INFERENCE_SECONDS, (JOB,))
    return Alert(
        "GuidanceOverridden",
        f"{ignored} / on (job) group_left () {calls} > {limits.overridden_ratio:g}"
        f" and {ignored} >= {limits.least_missed:g}",
        for_seconds=0,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: the pipeline ignores {parameter}",
        description=(
            f"In {AS_SHARE} of the calls of {AS_JOB}, the requested {parameter} was not applied."
        ),
        runbook=Runbook(
            means=(
                "diffusers turns guidance off if guidance_scale is at most 1 or "
                "image_guidance_scale is below 1. The images do not follow the request."
            ),
            look=(
                "image_guidance_ratio and text_guidance_ratio: `asked` compared with `in_force`. "
                "Which client sends such values?"
            ),
            do=(
                "Send image_guidance_scale of at least 1 and guidance_scale above 1, or turn "
                "guidance off on purpose."
            ),
        ),
    )


def _out_of_memory(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "CudaOutOfMemory",
        f"{out_of_memory(queries)} > 0",
        for_seconds=0,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: requests fail because GPU memory is full",
        description=f"{AS_COUNT} requests of {AS_JOB} ran out of memory in {queries.window}.",
        runbook=Runbook(
            means="An image needed more GPU memory than was free.",
            look=(
                "Compare vram_peak_bytes with gpu_memory_total_bytes, and check the requested "
                "sizes (request_images_total)."
            ),
            do=(
                "Lower the largest image size or the batch limit. If memory grows steadily, see "
                "VramLeak."
            ),
        ),
    )


WORKER_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _no_worker,
    _too_few,
    _restarting,
    _out_of_memory,
    _guidance_overridden,
)

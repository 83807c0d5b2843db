"""Alerts on the model and the workers that hold it: gone, dying, out of memory, not obeyed."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    ERROR,
    GUIDANCE_OVERRIDDEN,
    PARAMETER,
    REQUESTS,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.promql import JOB, Matchers, Queries
from safelight.rules.rule import AS_INSTANCE, AS_JOB, AS_NUMBER, Alert, Runbook
from safelight.rules.thresholds import Thresholds


def _no_worker(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "NoWorkerReady",
        f"{queries.select(WORKERS_READY)} == 0",
        for_seconds=60,
        severity="critical",
        summary=f"{AS_JOB}: no worker has a model loaded",
        description=(
            f"{AS_INSTANCE} of {AS_JOB} has {AS_NUMBER} ready workers: nothing is served."
        ),
        runbook=Runbook(
            means="The API is up and nothing serves behind it.",
            look=(
                "The service's log for the worker's last words; worker_restarts_total by reason; "
                "/readyz."
            ),
            do=(
                "died: free memory or the device, then restart. load_failed: check the model's "
                "name, files and memory."
            ),
        ),
    )


def _restarting(queries: Queries, limits: Thresholds) -> Alert:
    patient = replace(queries, window="15m")
    return Alert(
        "WorkersRestarting",
        f"{patient.increase(WORKER_RESTARTS, (JOB,))} > {limits.worker_restarts}",
        for_seconds=0,
        severity="warning",
        summary=f"{AS_JOB}: workers keep being replaced",
        description=f"{AS_JOB} replaced {AS_NUMBER} workers in {patient.window}.",
        runbook=Runbook(
            means="A worker dies again and again; each time the jobs it had are lost or repeated.",
            look=(
                "The kernel's log for the out-of-memory killer, the service's log for a CUDA "
                "error, VRAM before the fall."
            ),
            do=(
                "Give it memory, lower the load, or take the request that kills it out of the "
                "traffic."
            ),
        ),
    )


def _guidance_overridden(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "GuidanceOverridden",
        f"{queries.increase(GUIDANCE_OVERRIDDEN, (JOB, PARAMETER))} > 0",
        for_seconds=0,
        severity="warning",
        summary=f"{AS_JOB}: the pipeline ignores {{{{ $labels.parameter }}}}",
        description=(
            f"In {AS_NUMBER} calls of {AS_JOB} the {{{{ $labels.parameter }}}} asked was not "
            "applied."
        ),
        runbook=Runbook(
            means=(
                "diffusers turns guidance off altogether when guidance_scale is at most 1 or "
                "image_guidance_scale is below 1: pictures come out, but not those asked for."
            ),
            look=(
                "image_guidance_ratio and text_guidance_ratio, asked beside in force; which client "
                "sends such values."
            ),
            do=(
                "Send image_guidance_scale of at least 1 and guidance_scale above 1, or ask for no "
                "guidance knowingly."
            ),
        ),
    )


def _out_of_memory(queries: Queries, _: Thresholds) -> Alert:
    lost: Matchers = {ERROR: "cuda_oom"}
    failed = queries.select(REQUESTS, lost)
    new = f"{failed} unless {failed} offset {queries.window}"
    return Alert(
        "CudaOutOfMemory",
        # The first of its labels is a series that was not there before: no increase sees it.
        f"{queries.increase(REQUESTS, (JOB,), lost)} > 0 or sum by (job) ({new}) > 0",
        for_seconds=0,
        severity="warning",
        summary=f"{AS_JOB}: requests failed because the card's memory ran out",
        description=f"{AS_NUMBER} requests of {AS_JOB} ran out of memory in {queries.window}.",
        runbook=Runbook(
            means="A picture was too large for what was left of the card's memory.",
            look=(
                "Compare vram_peak_bytes with gpu_memory_total_bytes, and the sizes asked "
                "(request_images_total)."
            ),
            do=(
                "Lower the largest side or the number served at once; if memory climbs by itself, "
                "see VramLeak."
            ),
        ),
    )


WORKER_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _no_worker,
    _restarting,
    _out_of_memory,
    _guidance_overridden,
)

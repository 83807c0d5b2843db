"""Alerts of the guard: a model that is broken or slow, a second model that is worse."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    CANARY_GOOD,
    CANARY_WORKERS,
    COPY,
    MODEL_STATE,
    READINESS_FORCED,
    ROLLBACKS,
    SHADOW,
    WORKERS_READY,
)
from safelight.metrics.promql import JOB, Queries
from safelight.rules.rule import AS_COUNT, AS_JOB, AS_SECONDS, Alert, Runbook, Scope
from safelight.rules.thresholds import Thresholds
from safelight.units import duration

_BROKEN = "~wrong|hung|dead"
_LATELY = "1h"  # for which an event is worth an alert


def _broken(queries: Queries, _: Thresholds) -> Alert:
    workers = queries.select(CANARY_WORKERS, {MODEL_STATE: _BROKEN})
    return Alert(
        "ModelBroken",
        f"sum by (job) ({workers}) > 0",
        for_seconds=15,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: the canary found a broken model",
        description=f"The models of {AS_COUNT} workers of {AS_JOB} are wrong, hung or dead.",
        runbook=Runbook(
            means=(
                "The model gives another output for a fixed input than when it was enrolled, or "
                "none. Images that callers get are probably wrong, although requests succeed."
            ),
            look=(
                "`safelight canary` says what differs since when. canary_workers by state. Was a "
                "model file, a scheduler or a library changed? Does the GPU report memory errors?"
            ),
            do=(
                "Changed on purpose: `safelight canary --enrol`. Changed by accident: roll back "
                "the model. Otherwise restart the service; if it comes back, replace the GPU."
            ),
        ),
    )


def _slow(queries: Queries, _: Thresholds) -> Alert:
    workers = queries.select(CANARY_WORKERS, {MODEL_STATE: "slow"})
    return Alert(
        "ModelSlow",
        f"sum by (job) ({workers}) > 0",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: the model is slower than when it was enrolled",
        description=(
            f"{AS_COUNT} workers of {AS_JOB} take longer for the same input, without a queue."
        ),
        runbook=Runbook(
            means="The device is slower, or others use it. Load is not the cause.",
            look="GpuThrottled, gpu_clock_hertz, HostCpuBusy, other processes on the GPU.",
            do="Cool or free the device. If the new speed is right: `safelight canary --enrol`.",
        ),
    )


def _forced(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "ReadinessForced",
        f"sum by (job) ({queries.select(READINESS_FORCED)}) > 0",
        for_seconds=15,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: a broken model serves, because no other instance is ready",
        description=(
            f"{AS_COUNT} instances of {AS_JOB} have a broken model. They serve, so that the last "
            "instance does not leave."
        ),
        runbook=Runbook(
            means="Callers get wrong images, because the only other answer is an error.",
            look="ModelBroken of the same service. SAFELIGHT_PEERS names the other instances.",
            do="Start a healthy instance. Then this one leaves by itself.",
        ),
    )


def _overdue(queries: Queries, limits: Thresholds) -> Alert:
    limit = duration(limits.canary_overdue_seconds)
    ready = f"sum by (job) ({queries.select(WORKERS_READY)}) > 0"
    age = f"time() - max by (job) ({queries.select(CANARY_GOOD)})"
    return Alert(
        "CanaryOverdue",
        f"{age} > {limits.canary_overdue_seconds:g} and on (job) {ready}",
        for_seconds=300,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: no golden output was good for more than {limit}",
        description=f"The last good run of the canary of {AS_JOB} was {AS_SECONDS} ago.",
        runbook=Runbook(
            means="Nobody knows whether the model is still right.",
            look="canary_runs_total by verdict. `overtaken`: the service is never idle. "
            "`refused`: the model does not run the golden input, see `safelight canary`.",
            do=(
                "Add capacity, so that there is idle time. Is the budget SAFELIGHT_CANARY_RATIO "
                "large enough for one run?"
            ),
        ),
    )


def _rolled_back(queries: Queries, _: Thresholds) -> Alert:
    lately = replace(queries, window=_LATELY)
    return Alert(
        "RolloutRolledBack",
        f"{lately.increase(ROLLBACKS, (JOB,))} > 0",
        for_seconds=0,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: a rollout was rolled back",
        description=(
            f"The second model of {AS_JOB} was worse, so all callers get the first one again. "
            "No caller saw its failures."
        ),
        runbook=Runbook(
            means=(
                "The second model failed requests that the first one served, was slower, or had a "
                "worse score. Or its worker was lost."
            ),
            look="`safelight rollout status` has the reason, with the figures of that moment.",
            do=(
                "Nothing for callers. Mend the second model, compare it by copies "
                "(`safelight shadow`), then start a new rollout."
            ),
        ),
    )


def _worse(queries: Queries, _: Thresholds) -> Alert:
    lately = replace(queries, window=_LATELY)
    return Alert(
        "SecondModelWorse",
        f"{lately.increase(SHADOW, (JOB,), {COPY: 'worse'})} > 0",
        for_seconds=0,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"{AS_JOB}: the second model is worse than the served one",
        description=(
            f"Copies of requests of {AS_JOB} showed that its second model is worse. "
            "Callers did not get it."
        ),
        runbook=Runbook(
            means="A rollout of this model would give callers slower, invalid or worse images.",
            look="`safelight shadow`: which measure is worse, and for which instruction types.",
            do="Do not roll it out. Mend it, then restart the service to compare it again.",
        ),
    )


GOLDEN_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _broken,
    _slow,
    _forced,
    _overdue,
    _rolled_back,
    _worse,
)

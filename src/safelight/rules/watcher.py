"""Alerts on Safelight's own measurements: lost targets, failing probes, lost records."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import (
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    KEPT,
    PROBE,
    PROBE_FAILURES,
    PROBE_TIMESTAMP,
    RECORDS,
    SERIES_FOLDED,
)
from safelight.metrics.promql import JOB, Queries
from safelight.rules.recording import KNOWN
from safelight.rules.rule import (
    AS_COUNT,
    AS_INSTANCE,
    AS_JOB,
    AS_NUMBER,
    AS_SECONDS,
    Alert,
    Runbook,
    Scope,
)
from safelight.rules.thresholds import Thresholds
from safelight.units import duration

_ON = f"{AS_INSTANCE} ({AS_JOB})"
_PROBE = "{{ $labels.probe }}"


def _target_down(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "TargetDown",
        f"{queries.foreign('up')} == 0 and on (job) {KNOWN}",
        for_seconds=60,
        severity="critical",
        scope=Scope.MONITORING,
        summary=f"{AS_JOB}: {AS_INSTANCE} does not respond",
        description=f"Prometheus cannot scrape {AS_INSTANCE} of {AS_JOB} (up is {AS_NUMBER}).",
        runbook=Runbook(
            means=("The process ended, hangs or is unreachable. Its other alerts have no data."),
            look=(
                "The error on the page Status > Targets in Prometheus, the log of the process, and "
                "`/healthz` from the same host."
            ),
            do="Restart the process, or correct its address in prometheus.yml.",
        ),
    )


def _probe_failing(queries: Queries, _: Thresholds) -> Alert:
    longer = replace(queries, window="10m")
    return Alert(
        "ProbeFailing",
        f"{longer.increase(PROBE_FAILURES, (JOB, PROBE))} > 0",
        for_seconds=0,
        severity="warning",
        scope=Scope.MONITORING,
        summary=f"{AS_JOB}: the {_PROBE} probe fails",
        description=(
            f"The {_PROBE} probe of {AS_JOB} failed {AS_COUNT} times in {longer.window}. Requests "
            "were not affected."
        ),
        runbook=Runbook(
            means="Safelight failed to measure. The metrics of this probe are incomplete.",
            look="The service's log has the first failure with its traceback.",
            do="Often a library was upgraded. Pin the old version, and report the log line.",
        ),
    )


def _probe_silent(queries: Queries, limits: Thresholds) -> Alert:
    limit = duration(limits.probe_silent_seconds)
    last = queries.select(PROBE_TIMESTAMP)  # compared with its own scrape, not with now: a gap
    return Alert(
        "ProbeSilent",
        f"timestamp({last}) - {last} > {limits.probe_silent_seconds:g}",
        for_seconds=60,
        severity="warning",
        scope=Scope.MONITORING,
        summary=f"{_ON}: the {_PROBE} probe has read nothing for more than {limit}",
        description=(
            f"The last success of the {_PROBE} probe was {AS_SECONDS} ago. Its gauges are old."
        ),
        runbook=Runbook(
            means="The metrics of this probe still exist, but their values are old.",
            look=(
                "ProbeFailing for the same probe, a GPU that disappeared (kernel log), or a clock "
                "that jumped."
            ),
            do="Restart the service. If the GPU has disappeared, restart the host.",
        ),
    )


def _exposition_slow(queries: Queries, limits: Thresholds) -> Alert:
    limit = duration(limits.exposition_seconds)
    return Alert(
        "ExpositionSlow",
        f"{queries.select(EXPOSITION_SECONDS)} > {limits.exposition_seconds:g}",
        for_seconds=300,
        severity="warning",
        scope=Scope.MONITORING,
        summary=f"{_ON}: a scrape takes longer than {limit}",
        description=f"Writing /metrics took {AS_SECONDS} of CPU time that requests need.",
        runbook=Runbook(
            means="Monitoring uses a notable part of the service's CPU time.",
            look="safelight_exposition_lines (too many lines?), HostCpuBusy (too little CPU?).",
            do="Scrape less often, or give the process more CPU time.",
        ),
    )


def _exposition_large(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "ExpositionLarge",
        f"{queries.select(EXPOSITION_LINES)} > {limits.exposition_lines}",
        for_seconds=300,
        severity="warning",
        scope=Scope.MONITORING,
        summary=f"{_ON}: /metrics has more than {limits.exposition_lines} lines",
        description=f"/metrics has {AS_NUMBER} lines. The limit is {limits.exposition_lines}.",
        runbook=Runbook(
            means="Another library added metrics to the registry: Safelight's own stay below this.",
            look="Count the lines of /metrics by metric name.",
            do="Limit the labels of the largest metric, or expose it elsewhere.",
        ),
    )


def _series_folded(queries: Queries, _: Thresholds) -> Alert:
    longer = replace(queries, window="15m")
    metric = "{{ $labels.metric }}"
    return Alert(
        "SeriesFolded",
        f"{longer.increase(SERIES_FOLDED, (JOB, *SERIES_FOLDED.labels))} > 0",
        for_seconds=0,
        severity="info",
        scope=Scope.MONITORING,
        summary=f"{AS_JOB}: {metric} has more label values than it may expose",
        description=f"{AS_COUNT} events of {metric} were counted as `other` in {longer.window}.",
        runbook=Runbook(
            means="A label has too many values. New ones are counted as `other`. Totals are right.",
            look="Which label? Often routes without a template, or a taxonomy with many types.",
            do="Use route templates, or merge types in the taxonomy.",
        ),
    )


def _records_lost(queries: Queries, _: Thresholds) -> Alert:
    longer = replace(queries, window="15m")
    return Alert(
        "RecordsLost",
        f"{longer.increase(RECORDS, (JOB,), {KEPT: 'lost'})} > 0",
        for_seconds=0,
        severity="warning",
        scope=Scope.MONITORING,
        summary=f"{AS_JOB}: records were not written to the database",
        description=f"{AS_JOB} lost {AS_COUNT} records in {longer.window}. Requests were served.",
        runbook=Runbook(
            means=(
                "The database was unreachable until the buffer was full, or it cannot be used: its "
                "schema is newer, or its driver is missing."
            ),
            look="The reason in the service's log, or `safelight records info`.",
            do="Repair the database, free disk space, or turn records off (SAFELIGHT_RECORDS_URL).",
        ),
    )


WATCHER_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _target_down,
    _probe_failing,
    _probe_silent,
    _exposition_slow,
    _exposition_large,
    _series_folded,
    _records_lost,
)

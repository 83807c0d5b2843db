"""Alerts on the watching itself: targets gone, probes failing, /metrics too long."""

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
from safelight.rules.rule import AS_INSTANCE, AS_JOB, AS_NUMBER, AS_SECONDS, Alert, Runbook
from safelight.rules.thresholds import Thresholds


def _target_down(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "TargetDown",
        f"{queries.foreign('up')} == 0 and on (job) {KNOWN}",
        for_seconds=60,
        severity="critical",
        summary=f"{AS_JOB}: {AS_INSTANCE} does not answer",
        description=f"Prometheus cannot scrape {AS_INSTANCE} of {AS_JOB} (up is {AS_NUMBER}).",
        runbook=Runbook(
            means=(
                "The process is gone, hangs, or cannot be reached; every other alert on it is "
                "blind now."
            ),
            look=(
                "Prometheus' page of targets for the error; the process' log; /healthz from the "
                "same machine."
            ),
            do="Restart the process, or mend the address in prometheus.yml.",
        ),
    )


def _probe_failing(queries: Queries, _: Thresholds) -> Alert:
    patient = replace(queries, window="10m")
    return Alert(
        "ProbeFailing",
        f"{patient.increase(PROBE_FAILURES, (JOB, PROBE))} > 0",
        for_seconds=0,
        severity="warning",
        summary=f"{AS_JOB}: the {{{{ $labels.probe }}}} probe fails",
        description=(
            f"The {{{{ $labels.probe }}}} probe of {AS_JOB} failed {AS_NUMBER} times in "
            f"{patient.window}; requests went on."
        ),
        runbook=Runbook(
            means=(
                "Safelight failed at its own work and let the request pass: figures of this probe "
                "are incomplete."
            ),
            look="The service's log has the first failure in full.",
            do=(
                "Often a library that was upgraded. Pin it back, and report the failure with that "
                "log line."
            ),
        ),
    )


def _probe_silent(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "ProbeSilent",
        f"{queries.age(PROBE_TIMESTAMP)} > {limits.probe_silent_seconds:g}",
        for_seconds=60,
        severity="warning",
        summary=f"{AS_INSTANCE} ({AS_JOB}): the {{{{ $labels.probe }}}} probe has stopped reading",
        description=(
            f"The {{{{ $labels.probe }}}} probe last read its source {AS_SECONDS} ago; its gauges "
            "show the past."
        ),
        runbook=Runbook(
            means="What this probe exposes is old, though it still looks like a reading.",
            look=(
                "ProbeFailing for the same probe; a card that fell off the bus (kernel's log); a "
                "clock that jumped."
            ),
            do="Restart the service; if the card is gone, restart the machine.",
        ),
    )


def _exposition_slow(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "ExpositionSlow",
        f"{queries.select(EXPOSITION_SECONDS)} > {limits.exposition_seconds:g}",
        for_seconds=300,
        severity="warning",
        summary=f"{AS_INSTANCE} ({AS_JOB}): a scrape takes long to answer",
        description=f"Writing /metrics took {AS_SECONDS}; requests share the processor with it.",
        runbook=Runbook(
            means="Being watched begins to cost the service something.",
            look="safelight_exposition_lines (too many?) and HostCpuBusy (too little processor?).",
            do="Scrape less often, or give the process more processor.",
        ),
    )


def _exposition_large(queries: Queries, limits: Thresholds) -> Alert:
    return Alert(
        "ExpositionLarge",
        f"{queries.select(EXPOSITION_LINES)} > {limits.exposition_lines}",
        for_seconds=300,
        severity="warning",
        summary=f"{AS_INSTANCE} ({AS_JOB}): /metrics has become too long",
        description=(
            f"/metrics has {AS_NUMBER} lines; the catalogue allows {limits.exposition_lines}."
        ),
        runbook=Runbook(
            means=(
                "More series than the catalogue allows: somebody adds metrics of their own to the "
                "registry."
            ),
            look="Count lines by name in /metrics; the longest family is the culprit.",
            do="Bound its labels, or expose it elsewhere.",
        ),
    )


def _series_folded(queries: Queries, _: Thresholds) -> Alert:
    patient = replace(queries, window="15m")
    return Alert(
        "SeriesFolded",
        f"{patient.increase(SERIES_FOLDED, (JOB, *SERIES_FOLDED.labels))} > 0",
        for_seconds=0,
        severity="info",
        summary=f"{AS_JOB}: {{{{ $labels.metric }}}} has more label values than it may show",
        description=(
            f"{AS_NUMBER} events of {{{{ $labels.metric }}}} went into `other` in {patient.window}."
        ),
        runbook=Runbook(
            means=(
                "A label has more values than planned; the newest are counted together as `other`. "
                "Totals stay right."
            ),
            look="Which label? Often routes without a template, or a taxonomy with many types.",
            do="Give the routes templates, or merge types in the taxonomy.",
        ),
    )


def _records_lost(queries: Queries, _: Thresholds) -> Alert:
    patient = replace(queries, window="15m")
    return Alert(
        "RecordsLost",
        f"{patient.increase(RECORDS, (JOB,), {KEPT: 'lost'})} > 0",
        for_seconds=0,
        severity="warning",
        summary=f"{AS_JOB}: records could not be written",
        description=(
            f"{AS_JOB} lost {AS_NUMBER} entries for its records in {patient.window}; requests "
            "went on."
        ),
        runbook=Runbook(
            means=(
                "The database of the records was away for so long that what waited for it was too "
                "much, or it is of no use: of a newer schema, without its driver."
            ),
            look=(
                "The service's log says why they cannot be written, and so does "
                "`safelight records info`."
            ),
            do="Bring the database back, make room, or switch records off (SAFELIGHT_RECORDS_URL).",
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

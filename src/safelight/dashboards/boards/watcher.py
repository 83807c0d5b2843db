"""Dashboard of the monitoring itself: scrapes, cost, lost data, rules and notifications."""

from dataclasses import replace

from safelight.dashboards.board import FIRING, Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    OF_JOB,
    RANGE,
    SHARE,
    TIMES,
    bars,
    by,
    firing,
    firing_of_monitoring,
    lines,
    panel,
    row,
    shared_board,
)
from safelight.metrics.catalog import (
    BUILD_INFO,
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    KEPT,
    LOG_LINES_LOST,
    PROBE,
    PROBE_FAILURES,
    PROBE_SECONDS,
    PROBE_TIMESTAMP,
    RECORDS,
    RECORDS_WAITING,
    SENT,
    SERIES_FOLDED,
    TRACES,
)
from safelight.metrics.promql import INSTANCE, JOB
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import LIVE, WATCHER, WEB

_SECONDS = "s"
_ON = by(INSTANCE)
# Prometheus and Alertmanager have their own jobs.
_ALL = replace(NOW, matchers={})


def watcher(limits: Thresholds) -> Board:
    """Return the dashboard of the monitoring itself."""
    return shared_board(
        WATCHER,
        "Watcher",
        "Does the monitoring work: is everything scraped, is data lost, and what does it cost?",
        row("Targets", WEB, *_targets()),
        row("Losses", LIVE, *_losses()),
        row("Probes", WEB, *_probes(limits)),
        row("Cost of /metrics", WEB, *_expositions(limits)),
        row("Rules and notifications", LIVE, *_prometheus(), *_notifications()),
        of=BUILD_INFO,
    )


def _targets() -> tuple[Panel, ...]:
    return (
        lines(
            "Can Prometheus reach each service?",
            "Share of the targets of each job that Prometheus can scrape.",
            SHARE,
            Query(f"avg by (job) ({OF_JOB.foreign('up')})", by(JOB)),
        ),
        panel(
            Shape.STATES,
            "When did which alert fire?",
            "Red while an alert of the chosen jobs, or about the monitoring itself, fires.",
            COUNT,
            Query(
                f"max by (alertname, job) ({firing()} or {firing_of_monitoring()})",
                "{{alertname}} {{job}}",
            ),
            needs=FIRING,
        ),
        panel(
            Shape.TABLE,
            "Which versions run?",
            "Versions of Safelight and Python of each target.",
            COUNT,
            Query(NOW.select(BUILD_INFO), ""),
        ),
    )


def _expositions(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "How long does a service write /metrics?",
            "Cost of a scrape for the service. The line is the limit of ExpositionSlow.",
            _SECONDS,
            Query(NOW.select(EXPOSITION_SECONDS), _ON),
            limit=limits.exposition_seconds,
        ),
        lines(
            "How large is /metrics?",
            "Lines of the last response to a scrape. The dashed line is the limit of "
            "ExpositionLarge.",
            COUNT,
            Query(NOW.select(EXPOSITION_LINES), _ON),
            limit=limits.exposition_lines,
        ),
    )


def _probes(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Does a probe still measure?",
            "Age of its last measurement. Above the limit of ProbeSilent, its gauges are old.",
            _SECONDS,
            Query(NOW.age(PROBE_TIMESTAMP), f"{_ON} {by(PROBE)}"),
            limit=limits.probe_silent_seconds,
        ),
        bars(
            "Which probe fails?",
            "Failures in the time range. Requests were not affected.",
            COUNT,
            Query(RANGE.increase(PROBE_FAILURES, (PROBE,)), by(PROBE)),
        ),
        lines(
            "What do the probes cost?",
            "CPU cores that the sampling probes use.",
            COUNT,
            Query(NOW.rate(PROBE_SECONDS, (PROBE,)), by(PROBE)),
        ),
    )


def _losses() -> tuple[Panel, ...]:
    folded = (JOB, *SERIES_FOLDED.labels)
    return (
        panel(
            Shape.STACK,
            "Are records lost?",
            "Records for the database. `lost`: the database was unreachable for too long. "
            "`refused`: ratings that callers must send again.",
            TIMES,
            Query(NOW.rate(RECORDS, (KEPT,)), by(KEPT)),
            needs="a database of records",
        ),
        lines(
            "Do records wait for the database?",
            "Records not written yet. A steady rise means that the database is unreachable.",
            COUNT,
            Query(NOW.select(RECORDS_WAITING), _ON),
            needs="a database of records",
        ),
        lines(
            "Are traces lost?",
            "Traces that are kept. `lost`: the receiver did not accept them, or too many waited.",
            TIMES,
            Query(NOW.rate(TRACES, (SENT,)), by(SENT)),
            needs="a receiver of traces (SAFELIGHT_OTLP_ENDPOINT)",
        ),
        lines(
            "Are log lines lost?",
            "Log lines that were not written, because of a full disk or a closed pipe.",
            TIMES,
            Query(NOW.rate(LOG_LINES_LOST), "lost"),
        ),
        panel(
            Shape.STACK,
            "Which metric has too many series?",
            "Events counted as `other` because of too many label values, by metric.",
            TIMES,
            Query(NOW.rate(SERIES_FOLDED, folded), by(*folded)),
            needs="more label values than a metric may have",
        ),
    )


def _prometheus() -> tuple[Panel, ...]:
    failures = _per_second("prometheus_rule_evaluation_failures_total")
    return (
        lines(
            "Which rules fail?",
            "Evaluations that failed. Their alerts cannot fire.",
            TIMES,
            Query(f"sum by (rule_group) ({failures})", "{{rule_group}}"),
        ),
    )


def _notifications() -> tuple[Panel, ...]:
    sent = _per_second("alertmanager_notifications_total")
    failed = _per_second("alertmanager_notifications_failed_total")
    return (
        lines(
            "Are notifications sent?",
            "Notifications that Alertmanager sent, and failures, by integration.",
            TIMES,
            Query(f"sum by (integration) ({sent})", "{{integration}}"),
            Query(f"sum by (integration) ({failed})", "{{integration}} failed"),
        ),
    )


def _per_second(name: str) -> str:
    return f"rate({_ALL.foreign(name)}[{NOW.window}])"

"""Dashboard of the monitoring itself: scrapes, cost, lost data, rules and notifications."""

from dataclasses import replace

from safelight.dashboards.board import FIRING, Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    RANGE,
    SHARE,
    TIMES,
    by,
    lines,
    panel,
    row,
    shared_board,
)
from safelight.metrics.catalog import (
    BUILD_INFO,
    CHANNEL,
    DELIVERY,
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    KEPT,
    LOG_LINES_LOST,
    NOTIFICATION_SECONDS,
    NOTIFICATIONS,
    PROBE,
    PROBE_FAILURES,
    PROBE_SECONDS,
    PROBE_TIMESTAMP,
    RECORDS,
    RECORDS_WAITING,
    SERIES_FOLDED,
)
from safelight.metrics.promql import INSTANCE, JOB
from safelight.rules.thresholds import Thresholds

_SECONDS = "s"
_ON = by(INSTANCE)
# Prometheus and Alertmanager have their own jobs.
_ALL = replace(NOW, matchers={})


def watcher(limits: Thresholds) -> Board:
    """Return the dashboard of the monitoring itself."""
    return shared_board(
        "Watcher",
        "Does the monitoring work: is everything scraped, is data lost, and what does it cost?",
        row("Scrapes", *_scrapes()),
        row("Expositions", *_expositions(limits)),
        row("Probes", *_probes(limits)),
        row("Losses", *_losses()),
        row("Records", *_records()),
        row("Prometheus", *_prometheus()),
        row("Notifications", *_notifications()),
        of=BUILD_INFO,
    )


def _scrapes() -> tuple[Panel, ...]:
    target = by(JOB, INSTANCE)
    return (
        lines(
            "Reachable targets",
            "Share of the targets of each job that Prometheus can scrape.",
            SHARE,
            Query(f"avg by (job) ({_ALL.foreign('up')})", by(JOB)),
        ),
        lines(
            "Scrape time",
            "As measured by Prometheus, including the network.",
            _SECONDS,
            Query(_ALL.foreign("scrape_duration_seconds"), target),
        ),
        lines(
            "Samples per scrape",
            "Samples of each target. A fall to 0 means missing data.",
            COUNT,
            Query(_ALL.foreign("scrape_samples_scraped"), target),
        ),
    )


def _expositions(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Time to write /metrics",
            "Cost of a scrape for the service. The line is the limit of ExpositionSlow.",
            _SECONDS,
            Query(NOW.select(EXPOSITION_SECONDS), _ON),
            limit=limits.exposition_seconds,
        ),
        lines(
            "Lines of /metrics",
            "Lines of the last response to a scrape. The dashed line is the limit of "
            "ExpositionLarge.",
            COUNT,
            Query(NOW.select(EXPOSITION_LINES), _ON),
            limit=limits.exposition_lines,
        ),
        panel(
            Shape.TABLE,
            "Versions",
            "Versions of Safelight and Python of each target.",
            COUNT,
            Query(NOW.select(BUILD_INFO), ""),
        ),
    )


def _probes(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Cost of the probes",
            "CPU cores that the sampling probes use.",
            SHARE,
            Query(NOW.rate(PROBE_SECONDS, (PROBE,)), by(PROBE)),
        ),
        lines(
            "Age of the last measurement",
            "The line is the limit of ProbeSilent. Above it, the gauges of the probe are old.",
            _SECONDS,
            Query(NOW.age(PROBE_TIMESTAMP), f"{_ON} {by(PROBE)}"),
            limit=limits.probe_silent_seconds,
        ),
        panel(
            Shape.BARS,
            "Failures of the probes",
            "In the time range. Requests were not affected.",
            COUNT,
            Query(RANGE.increase(PROBE_FAILURES, (PROBE,)), by(PROBE)),
        ),
    )


def _losses() -> tuple[Panel, ...]:
    folded = (JOB, *SERIES_FOLDED.labels)
    return (
        panel(
            Shape.STACK,
            "Series folded into `other`",
            "Events counted as `other` because of too many label values, by metric.",
            TIMES,
            Query(NOW.rate(SERIES_FOLDED, folded), by(*folded)),
            needs="more label values than a metric may have",
        ),
        lines(
            "Lost log lines",
            "Log lines that were not written, because of a full disk or a closed pipe.",
            TIMES,
            Query(NOW.rate(LOG_LINES_LOST), "lost"),
        ),
        panel(
            Shape.STATES,
            "Alerts",
            "Red while the alert fires.",
            COUNT,
            Query(
                f"max by (alertname, job) ({_ALL.foreign('ALERTS', {'alertstate': 'firing'})})",
                "{{alertname}} {{job}}",
            ),
            needs=FIRING,
        ),
    )


def _records() -> tuple[Panel, ...]:
    return (
        lines(
            "Records",
            "Records for the database. `lost`: the database was unreachable for too long. "
            "`refused`: ratings that callers must send again.",
            TIMES,
            Query(NOW.rate(RECORDS, (KEPT,)), by(KEPT)),
        ),
        lines(
            "Buffered records",
            "Records not written yet. A steady rise means that the database is unreachable.",
            COUNT,
            Query(NOW.select(RECORDS_WAITING), _ON),
        ),
    )


def _prometheus() -> tuple[Panel, ...]:
    durations = _ALL.foreign("prometheus_rule_group_last_duration_seconds")
    return (
        lines(
            "Slowest rule groups",
            "Time of the last evaluation.",
            _SECONDS,
            Query(f"topk(5, {durations})", "{{rule_group}}"),
        ),
        lines(
            "Failed rules",
            "Evaluations that failed. Their alerts cannot fire.",
            TIMES,
            Query(
                f"sum by (rule_group) ({_per_second('prometheus_rule_evaluation_failures_total')})",
                "{{rule_group}}",
            ),
        ),
        lines(
            "Series in Prometheus",
            "Series in Prometheus' memory: its main cost.",
            COUNT,
            Query(_ALL.foreign("prometheus_tsdb_head_series"), _ON),
        ),
    )


def _notifications() -> tuple[Panel, ...]:
    sent = _per_second("alertmanager_notifications_total")
    failed = _per_second("alertmanager_notifications_failed_total")
    return (
        lines(
            "Notifications",
            "Notifications that Alertmanager sent, and failures, by integration.",
            TIMES,
            Query(f"sum by (integration) ({sent})", "{{integration}}"),
            Query(f"sum by (integration) ({failed})", "{{integration}} failed"),
        ),
        lines(
            "Relay",
            "Messages to the bots of group chats, by result.",
            TIMES,
            Query(_ALL.rate(NOTIFICATIONS, (CHANNEL, DELIVERY)), by(CHANNEL, DELIVERY)),
            needs="a receiver behind the relay",
        ),
        lines(
            "Delivery time",
            "Time of the relay's last message to each channel.",
            _SECONDS,
            Query(_ALL.select(NOTIFICATION_SECONDS), by(CHANNEL)),
            needs="a receiver behind the relay",
        ),
    )


def _per_second(name: str) -> str:
    return f"rate({_ALL.foreign(name)}[{NOW.window}])"

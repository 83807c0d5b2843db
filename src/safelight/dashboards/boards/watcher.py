"""The board of the watching itself: what it costs, whether it is whole, whether it is heard."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    SHARE,
    TIMES,
    WHOLE,
    by,
    lines,
    machines,
    panel,
    row,
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
# Prometheus' and Alertmanager's own figures are other jobs'.
_ALL = replace(NOW, matchers={})


def watcher(limits: Thresholds) -> Board:
    """Return the board of Safelight's own cost and health."""
    return machines(
        "Watcher",
        "Can these figures be trusted: is everything scraped, is nothing lost, and what does it "
        "cost?",
        row("Scrapes", *_scrapes()),
        row("Expositions", *_expositions(limits)),
        row("Probes", *_probes(limits)),
        row("Lost", *_lost()),
        row("Records", *_records()),
        row("Prometheus", *_judges()),
        row("Who is told", *_told()),
        of=BUILD_INFO,
    )


def _scrapes() -> tuple[Panel, ...]:
    target = by(JOB, INSTANCE)
    return (
        lines(
            "Targets that answer",
            "Share of the targets of each job that Prometheus can scrape.",
            SHARE,
            Query(f"avg by (job) ({_ALL.foreign('up')})", by(JOB)),
        ),
        lines(
            "Time of a scrape",
            "From Prometheus' side, the network included.",
            _SECONDS,
            Query(_ALL.foreign("scrape_duration_seconds"), target),
        ),
        lines(
            "Samples of a scrape",
            "What each target shows; what drops to nothing is missing data.",
            COUNT,
            Query(_ALL.foreign("scrape_samples_scraped"), target),
        ),
    )


def _expositions(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Time to write one",
            "What a scrape costs the service; the line is where ExpositionSlow begins.",
            _SECONDS,
            Query(NOW.select(EXPOSITION_SECONDS), _ON),
            limit=limits.exposition_seconds,
        ),
        lines(
            "Lines",
            "Of the last answer to a scrape; the catalogue allows the line, whatever callers send.",
            COUNT,
            Query(NOW.select(EXPOSITION_LINES), _ON),
            limit=limits.exposition_lines,
        ),
        panel(
            Shape.TABLE,
            "Versions",
            "Which version of Safelight and Python each target runs.",
            COUNT,
            Query(NOW.select(BUILD_INFO), ""),
        ),
    )


def _probes(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Cost of the probes",
            "Share of a processor that the sampling probes use.",
            SHARE,
            Query(NOW.rate(PROBE_SECONDS, (PROBE,)), by(PROBE)),
        ),
        lines(
            "Age of the last reading",
            "A gauge older than the line shows the past, though it looks like the present.",
            _SECONDS,
            Query(NOW.age(PROBE_TIMESTAMP), f"{_ON} {by(PROBE)}"),
            limit=limits.probe_silent_seconds,
        ),
        panel(
            Shape.BARS,
            "Failures of the probes",
            "Over the time shown; the requests went on.",
            COUNT,
            Query(WHOLE.increase(PROBE_FAILURES, (PROBE,)), by(PROBE)),
        ),
    )


def _lost() -> tuple[Panel, ...]:
    folded = (JOB, *SERIES_FOLDED.labels)
    return (
        panel(
            Shape.STACK,
            "Series folded into `other`",
            "Events whose labels were too many to show: which metric, and how often.",
            TIMES,
            Query(NOW.rate(SERIES_FOLDED, folded), by(*folded)),
            needs="more label values than a metric may show",
        ),
        lines(
            "Log lines lost",
            "That could not be written: a full disk, a closed pipe.",
            TIMES,
            Query(NOW.rate(LOG_LINES_LOST), "lost"),
        ),
        panel(
            Shape.STATES,
            "Alerts",
            "Red while one fires.",
            COUNT,
            Query(
                f"max by (alertname, job) ({_ALL.foreign('ALERTS', {'alertstate': 'firing'})})",
                "{{alertname}} {{job}}",
            ),
            needs="an alert that fires",
        ),
    )


def _records() -> tuple[Panel, ...]:
    return (
        lines(
            "Records",
            "Entries for the database of records: written, lost because it was away for long, or "
            "refused: ratings whose callers were told to send them again.",
            TIMES,
            Query(NOW.rate(RECORDS, (KEPT,)), by(KEPT)),
        ),
        lines(
            "Records that wait",
            "Entries not written yet: what rises steadily is a database that cannot be reached.",
            COUNT,
            Query(NOW.select(RECORDS_WAITING), _ON),
        ),
    )


def _judges() -> tuple[Panel, ...]:
    took = _ALL.foreign("prometheus_rule_group_last_duration_seconds")
    return (
        lines(
            "Slowest groups of rules",
            "Time that their last evaluation took.",
            _SECONDS,
            Query(f"topk(5, {took})", "{{rule_group}}"),
        ),
        lines(
            "Rules that failed",
            "Evaluations that failed: their alerts are blind.",
            TIMES,
            Query(
                f"sum by (rule_group) ({_per_second('prometheus_rule_evaluation_failures_total')})",
                "{{rule_group}}",
            ),
        ),
        lines(
            "Series in Prometheus",
            "What its memory holds: this is what observing costs there.",
            COUNT,
            Query(_ALL.foreign("prometheus_tsdb_head_series"), _ON),
        ),
    )


def _told() -> tuple[Panel, ...]:
    sent = _per_second("alertmanager_notifications_total")
    unsent = _per_second("alertmanager_notifications_failed_total")
    return (
        lines(
            "Messages",
            "Sent by Alertmanager, and failed, by where to.",
            TIMES,
            Query(f"sum by (integration) ({sent})", "{{integration}}"),
            Query(f"sum by (integration) ({unsent})", "{{integration}} failed"),
        ),
        lines(
            "Relay",
            "Messages to the robots of group chats, by what became of them.",
            TIMES,
            Query(_ALL.rate(NOTIFICATIONS, (CHANNEL, DELIVERY)), by(CHANNEL, DELIVERY)),
            needs="a receiver that the relay tells",
        ),
        lines(
            "Time of a message",
            "That the relay's last message to each channel took.",
            _SECONDS,
            Query(_ALL.select(NOTIFICATION_SECONDS), by(CHANNEL)),
            needs="a receiver that the relay tells",
        ),
    )


def _per_second(name: str) -> str:
    return f"rate({_ALL.foreign(name)}[{NOW.window}])"

"""Check of the monitoring itself: unreachable targets, stopped probes, lost logs and records."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import events, sleepers
from safelight.diagnosis.confidence import confidence_of
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import UP, Statistic
from safelight.metrics.catalog import KEPT, LOG_LINES_LOST, PROBE, PROBE_TIMESTAMP, RECORDS
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import DEFAULTS
from safelight.units import counted, duration, percent, share

_DOWN, _FLAPPING, _CERTAINLY_DOWN = 0.15, 0.3, 0.6  # of the scrapes
_LOST = 1
_OF_WORKERS = "torch"  # the probe that reads nothing while a model sleeps


def _gaps(evidence: Evidence) -> Iterator[Sign]:
    yield from _down(evidence)
    yield from _gone(evidence)
    yield from _stopped_probe(evidence)
    yield from _lost(evidence)


def _down(evidence: Evidence) -> Iterator[Sign]:
    """Find targets that did not respond to some scrapes."""
    up = evidence.now.sums_by(INSTANCE, UP)
    last = evidence.now.sums_by(INSTANCE, UP, Statistic.LAST)
    back = {instance for instance, value in last.items() if value == 1}
    down = {i: 1 - part for i, part in up.items() if 1 - part >= _DOWN and i not in back}
    flaps = {i: 1 - part for i, part in up.items() if 1 - part >= _FLAPPING and i in back}
    for instance, part in sorted({**flaps, **down}.items()):
        alone = len(up) == 1
        yield Sign(
            Severity.CRITICAL if alone and instance in down else Severity.WARNING,
            confidence_of(part, _DOWN, _CERTAINLY_DOWN),
            f"{instance} did not respond to {share(part)} of Prometheus' scrapes",
            (
                Exhibit(
                    "all other metrics of this target have a gap for that time",
                    evidence.queries.foreign(UP),
                ),
            ),
            subject=instance,
        )


def _gone(evidence: Evidence) -> Iterator[Sign]:
    """Find targets that were scraped an hour ago and are not scraped now."""
    targets = evidence.now.sums_by(INSTANCE, UP)
    gone = {i for i in evidence.before.sums_by(INSTANCE, UP) if i not in targets}
    names = ", ".join(sorted(gone))[:200]
    query = evidence.queries.foreign(UP)
    if gone and targets:
        exhibit = Exhibit("removed on purpose, or lost from service discovery", query)
        text = f"{names} was scraped before and is not scraped now"
        yield Sign(Severity.INFO, 0.6, text, (exhibit,))
    if gone and not targets:
        exhibit = Exhibit("there was a target an hour ago; now there is none", query)
        yield Sign(Severity.CRITICAL, 0.8, f"{names} is not scraped any more", (exhibit,))


def _stopped_probe(evidence: Evidence) -> Iterator[Sign]:
    limit, asleep = evidence.limits.probe_silent_seconds, sleepers(evidence)
    late = [
        (evidence.at - when, labels)
        for labels, when in evidence.now.select(PROBE_TIMESTAMP, Statistic.LAST)
        if evidence.at - when > limit
        and not (labels.get(PROBE.name) == _OF_WORKERS and labels.get(INSTANCE.name) in asleep)
    ]
    if not late:
        return
    age, labels = max(late, key=lambda each: each[0])
    instance = labels.get(INSTANCE.name, "")
    yield Sign(
        Severity.WARNING,
        confidence_of(age, limit, 4 * limit),
        f"the probe {labels.get(PROBE.name, '')} of {instance} has read nothing for "
        f"{duration(age)}",
        (Exhibit("its metrics do not change", evidence.queries.age(PROBE_TIMESTAMP), limit),),
        subject=instance,
    )


def _lost(evidence: Evidence) -> Iterator[Sign]:
    """Find log lines and records that were not written."""
    rate = evidence.queries.rate
    lines = events(evidence, evidence.now.rate(LOG_LINES_LOST))
    if lines >= _LOST:
        exhibit = Exhibit("the disk is full, or no process reads the pipe", rate(LOG_LINES_LOST))
        text = f"{lines:.0f} log lines could not be written"
        yield Sign(Severity.WARNING, 0.6, text, (exhibit,))
    records = events(evidence, evidence.now.rate(RECORDS, where={KEPT: "lost"}))
    if records >= _LOST:
        exhibit = Exhibit("the requests were served; their records are lost", rate(RECORDS))
        text = f"{counted(records, 'record')} could not be written to the database"
        yield Sign(Severity.WARNING, 0.6, text, (exhibit,))


TARGET_CHECKS = (
    Check(
        "monitoring_gap",
        "Part of the service is not monitored",
        _gaps,
        f"a target did not respond to >= {percent(_DOWN)} of the scrapes and is still down, or to "
        f">= {percent(_FLAPPING)} and is up again; a target of the hour before is not scraped; a "
        f"probe's last success is older than {duration(DEFAULTS.probe_silent_seconds)}; or >= "
        f"{_LOST} log lines or records are lost",
        (
            "See the page Status > Targets in Prometheus for the reason.",
            "Restart the probe's process. Repair the log's disk or pipe.",
        ),
        "From the host of Prometheus, run curl on the target's /metrics.",
        ("the service itself is down",),
        limits=("probe_silent_seconds",),
    ),
)

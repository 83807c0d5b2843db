"""Gaps in the monitoring: silent targets, stopped probes, lost log lines and records."""

from collections.abc import Iterator

from safelight.diagnosis.checks.common import events
from safelight.diagnosis.confidence import seconds, share, surely
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import UP
from safelight.metrics.catalog import LOG_LINES_LOST, PROBE_TIMESTAMP, RECORDS

_UNSEEN, _SURELY_UNSEEN = 0.15, 0.6
_SILENT_SECONDS = 120.0


def _gaps(evidence: Evidence) -> Iterator[Sign]:
    yield from _down(evidence)
    yield from _gone(evidence)
    yield from _stopped_probe(evidence)
    yield from _lost(evidence)


def _down(evidence: Evidence) -> Iterator[Sign]:
    """Find targets that did not respond to some scrapes."""
    seen = evidence.now.by("instance", UP)
    last = evidence.now.by("instance", f"{UP}.last")
    back = {instance for instance, value in last.items() if value == 1}
    down = {i: 1 - part for i, part in seen.items() if 1 - part >= _UNSEEN and i not in back}
    flaps = {i: 1 - part for i, part in seen.items() if 1 - part >= 0.3 and i in back}
    for instance, part in sorted({**flaps, **down}.items()):
        whole = len(seen) == 1
        yield Sign(
            Severity.CRITICAL if whole and instance in down else Severity.WARNING,
            surely(part, _UNSEEN, _SURELY_UNSEEN),
            f"{instance} did not respond to {share(part)} of Prometheus' scrapes",
            (
                Exhibit(
                    "what it did then is unknown: every other figure lacks it",
                    evidence.asking.queries.foreign(UP),
                ),
            ),
            subject=instance,
        )


def _gone(evidence: Evidence) -> Iterator[Sign]:
    """Find targets that were scraped an hour ago and are not scraped now."""
    seen = evidence.now.by("instance", UP)
    gone = {i for i in evidence.before.by("instance", UP) if i not in seen}
    names = ", ".join(sorted(gone))[:200]
    query = evidence.asking.queries.foreign(UP)
    if gone and seen:
        exhibit = Exhibit("removed on purpose, or lost from service discovery", query)
        text = f"{names} was scraped before and is not scraped now"
        yield Sign(Severity.INFO, 0.6, text, (exhibit,))
    if gone and not seen:
        exhibit = Exhibit("there was a target an hour ago; now there is none", query)
        yield Sign(Severity.CRITICAL, 0.8, f"{names} is not scraped any more", (exhibit,))


def _stopped_probe(evidence: Evidence) -> Iterator[Sign]:
    late = [
        (evidence.at - when, labels)
        for labels, when in evidence.now.found(PROBE_TIMESTAMP, "last")
        if evidence.at - when > _SILENT_SECONDS
    ]
    if not late:
        return
    age, labels = max(late, key=lambda each: each[0])
    yield Sign(
        Severity.WARNING,
        surely(age, _SILENT_SECONDS, 4 * _SILENT_SECONDS),
        f"the probe {labels.get('probe', '')} of {labels.get('instance', '')} has read nothing "
        f"for {seconds(age)}",
        (Exhibit("its metrics do not change", evidence.asking.queries.age(PROBE_TIMESTAMP)),),
        subject=labels.get("instance", ""),
    )


def _lost(evidence: Evidence) -> Iterator[Sign]:
    """Find log lines and records that were not written."""
    rate = evidence.asking.queries.rate
    lines = events(evidence, evidence.now.rate(LOG_LINES_LOST))
    if lines >= 1:
        exhibit = Exhibit("the disk is full, or no process reads the pipe", rate(LOG_LINES_LOST))
        text = f"{lines:.0f} log lines could not be written"
        yield Sign(Severity.WARNING, 0.6, text, (exhibit,))
    records = events(evidence, evidence.now.rate(RECORDS, outcome="lost"))
    if records >= 1:
        exhibit = Exhibit("the requests were served; their records are lost", rate(RECORDS))
        text = f"{records:.0f} records could not be written to the database"
        yield Sign(Severity.WARNING, 0.6, text, (exhibit,))


TARGET_CHECKS = (
    Check(
        "monitoring_gap",
        "Part of it is not seen",
        _gaps,
        f"a target that does not answer, >= {_UNSEEN:.0%} of the scrapes, a probe older than "
        f"{_SILENT_SECONDS:g} s, log lines or records lost, a target that is gone",
        (
            "See Prometheus' page Status > Targets for the reason.",
            "Restart the probe's process; mend the disk or pipe of the log.",
        ),
        "curl the target's /metrics from Prometheus' host.",
        ("the service is down, not only unseen",),
    ),
)

"""Check of the event loop: handlers that block it."""

from collections.abc import Iterator

from safelight.diagnosis.confidence import confidence_of
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign
from safelight.diagnosis.queries import Statistic
from safelight.metrics.catalog import HTTP_LAG, LOOP_BEAT_SECONDS
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import DEFAULTS
from safelight.units import duration, percent, share

_CERTAINLY_BLOCKED = 0.6


def _event_loop_blocked(evidence: Evidence) -> Iterator[Sign]:
    late = evidence.now.sums_by(INSTANCE, HTTP_LAG, Statistic.SUM)
    beats = evidence.now.sums_by(INSTANCE, HTTP_LAG, Statistic.COUNT)
    for instance, seconds in sorted(late.items()):
        number = beats.get(instance, 0.0)
        if number <= 0:
            continue
        blocked = seconds / (seconds + LOOP_BEAT_SECONDS * number)
        if blocked < evidence.limits.event_loop_blocked_ratio:
            continue
        yield Sign(
            Severity.WARNING,
            confidence_of(blocked, evidence.limits.event_loop_blocked_ratio, _CERTAINLY_BLOCKED),
            f"handlers block the event loop of {instance} {share(blocked)} of the time",
            (
                Exhibit(
                    f"a timer every {duration(LOOP_BEAT_SECONDS)} is {duration(seconds / number)} "
                    "late on average",
                    evidence.queries.late_share(HTTP_LAG, LOOP_BEAT_SECONDS, (INSTANCE,)),
                ),
            ),
            subject=instance,
        )


LOOP_CHECKS = (
    Check(
        "event_loop_blocked",
        "A handler blocks the event loop",
        _event_loop_blocked,
        f"a timer of the event loop, every {duration(LOOP_BEAT_SECONDS)}, is late by "
        f">= {percent(DEFAULTS.event_loop_blocked_ratio)} of the time "
        "(sum / (sum + interval * count) of http_event_loop_lag_seconds)",
        (
            "Make the handler `def`, so that it runs in a thread, or call the model with "
            "`await asyncio.to_thread(...)`.",
        ),
        "Request /healthz, or any route without a model, while one image is made. It must answer "
        "at once.",
        ("the host's processor is full", "a thread that holds the interpreter's lock"),
        frozenset(
            {
                "slow_upload",
                "slow_client",
                "slow_transfer",
                "input_output_bottleneck",
                "device_starved",
                "queue_saturated",
            }
        ),
        ("event_loop_blocked_ratio",),
    ),
)

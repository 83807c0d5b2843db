"""Parse times on the command line: durations such as `5m`, ages, and ISO dates."""

import re
from datetime import UTC, datetime
from time import time
from typing import NamedTuple

from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import BadSetting
from safelight.units import when

SPANS = "90s, 5m, 24h or 7d"
_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Bounds(NamedTuple):
    """The shortest and longest allowed duration, in seconds and in words."""

    minimum: int
    maximum: int
    words: str


WINDOW = Bounds(10, 7 * _UNITS["d"], "10 s to 7 days")
PAST = Bounds(1, 3650 * _UNITS["d"], "1 s to 10 years")


def parse_span(text: str, bounds: Bounds = PAST) -> int:
    """Return a duration such as `5m` in seconds. Raises BadSetting."""
    match = _SPAN.fullmatch(text.strip())
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not bounds.minimum <= seconds <= bounds.maximum:
        raise BadSetting(
            f"{text[:20]!r} is not a valid duration. Write it like {SPANS} ({bounds.words})."
        )
    return seconds


def parse_age(text: str) -> float:
    """Return the Unix time of an age such as `7d`. Raises BadSetting."""
    return time() - parse_span(text)


def parse_time(text: str | None, prometheus: Prometheus) -> float:
    """Return a Unix time: now by Prometheus' clock (None), an age, or an ISO date.

    Raises BadSetting or MonitoringFailed.
    """
    if text is None:
        return prometheus.now()
    if _SPAN.fullmatch(text.strip()):
        return prometheus.now() - parse_span(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadSetting(
            f"{text[:40]!r} is not a valid time. Write 2h (ago) or 2026-03-01T12:00 (UTC)."
        ) from None
    now = prometheus.now()
    at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if at > now + 1:
        raise BadSetting(f"{text[:40]} is in the future; Prometheus' time is {when(now)}.")
    return at

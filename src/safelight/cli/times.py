"""How commands read a time: a span such as `5m`, so long ago, or a moment of the calendar."""

import re
from datetime import UTC, datetime
from time import time
from typing import NamedTuple

from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.report import when
from safelight.errors import BadSetting

SPANS = "90s, 5m, 24h or 7d"
_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Bounds(NamedTuple):
    """The shortest and longest span that makes sense somewhere, in seconds and in words."""

    least: int
    most: int
    words: str


WINDOW = Bounds(10, 7 * _UNITS["d"], "10 s to 7 days")
PAST = Bounds(1, 3650 * _UNITS["d"], "1 s to 10 years")


def span_of(text: str, bounds: Bounds = PAST) -> int:
    """Return a span of time such as `5m` in seconds. Raises BadSetting."""
    found = _SPAN.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not bounds.least <= seconds <= bounds.most:
        raise BadSetting(
            f"{text[:20]!r} is no span of time; write it like {SPANS} ({bounds.words})."
        )
    return seconds


def ago(text: str) -> float:
    """Return when the time began that is meant by `7d`, by our clock. Raises BadSetting."""
    return time() - span_of(text)


def moment_of(text: str | None, asked: Prometheus) -> float:
    """Return the time that is meant: now by Prometheus' clock, so long ago, or an ISO time.

    Raises BadSetting or MonitoringFailed.
    """
    if text is None:
        return asked.now()
    if _SPAN.fullmatch(text.strip()):
        return asked.now() - span_of(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadSetting(
            f"{text[:40]!r} is no time; write 2h (ago), or 2026-03-01T12:00 (UTC)."
        ) from None
    now = asked.now()
    at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if at > now + 1:
        raise BadSetting(f"{text[:40]} lies in the future; by Prometheus it is {when(now)}.")
    return at

"""The axes of the radar as expressions, by instruction type, from 0 to 10.

They are the scores of `safelight radar` with its default target, from metrics instead of records.
"""

from safelight.metrics.catalog import (
    ADHERENCE,
    ERROR,
    INSTRUCTION_TYPE,
    NO_INSTRUCTION,
    QUALITY_SCORE,
    QUALITY_SQUARES,
    REQUESTS,
    SPEED,
    STRUCTURE,
    SUCCESSES,
)
from safelight.metrics.metric import Metric
from safelight.metrics.promql import Matchers, Queries
from safelight.reasons import UNRELATED
from safelight.rules.thresholds import LEAST_COUNT, UNSTABLE_DEVIATION

_BY = (INSTRUCTION_TYPE,)
_KNOWN: Matchers = {INSTRUCTION_TYPE: f"!{NO_INSTRUCTION}"}


def radar_axes(queries: Queries) -> dict[str, str]:
    """Return the expression of each axis over the window of the queries.

    A type with too few observations has no value.
    """
    return {
        "accuracy": _accuracy(queries),
        "speed": _enough(queries, f"10 * {_mean(queries, SPEED)}", SPEED),
        "structure": _enough(queries, f"10 * {_mean(queries, STRUCTURE)}", STRUCTURE),
        "stability": _stability(queries),
    }


def _accuracy(queries: Queries) -> str:
    """Return the success ratio, times the mean adherence of the outputs if it is known."""
    related: Matchers = {**_KNOWN, ERROR: f"!~{'|'.join(sorted(UNRELATED))}"}
    requests = queries.increase(REQUESTS, _BY, related)
    success = f"({queries.increase(SUCCESSES, _BY, _KNOWN)} or 0 * {requests}) / {requests}"
    known = f"({_enough(queries, _mean(queries, ADHERENCE), ADHERENCE)} or 1 + 0 * {requests})"
    return f"(10 * {success} * {known} and {requests} >= {LEAST_COUNT})"


def _mean(queries: Queries, metric: Metric) -> str:
    return f"{queries.total(metric, _BY, _KNOWN)} / {queries.increase(metric, _BY, _KNOWN)}"


def _stability(queries: Queries) -> str:
    """Return 1 for equal scores, 0 for a standard deviation of UNSTABLE_DEVIATION."""
    number = queries.increase(QUALITY_SCORE, _BY, _KNOWN)
    total = queries.total(QUALITY_SCORE, _BY, _KNOWN)
    squares = queries.total(QUALITY_SQUARES, _BY, _KNOWN)
    variance = f"({squares} - ({total}) ^ 2 / {number}) / ({number} - 1)"
    deviation = f"sqrt(clamp_min({variance}, 0))"
    score = f"10 * clamp_min(1 - {deviation} / {UNSTABLE_DEVIATION:g}, 0)"
    return _enough(queries, score, QUALITY_SCORE)


def _enough(queries: Queries, expression: str, metric: Metric) -> str:
    """Return the expression for types with enough observations of the metric."""
    return f"({expression} and {queries.increase(metric, _BY, _KNOWN)} >= {LEAST_COUNT})"

"""How often Prometheus scrapes a service, by the samples that it has."""

from collections.abc import Sequence

from safelight.diagnosis.prometheus import Series
from safelight.metrics.catalog import SERVICE_INFO

_WINDOW_SECONDS = 600
_LEAST_SAMPLES = 4  # fewer, and the service is too new to tell
_DEFAULT_SECONDS = 15
_USUAL_SECONDS = (1, 2, 5, 10, 15, 20, 30, 60, 120)  # a count is one too high or too low


def count_query(job: str) -> str:
    """Return an expression for the number of samples in ten minutes; `job` is a pattern.

    It looks a minute back, because a range may end in the future by as much.
    """
    return (
        f'max(count_over_time({SERVICE_INFO.name}{{job=~"{job}"}}[{_WINDOW_SECONDS}s] offset 1m))'
    )


def scrape_seconds(counts: Sequence[Series]) -> int:
    """Return the seconds between two scrapes; 15 if it is not known."""
    count = max((series.value for series in counts), default=0.0)
    if count < _LEAST_SAMPLES:
        return _DEFAULT_SECONDS
    return min(_USUAL_SECONDS, key=lambda seconds: abs(_WINDOW_SECONDS / seconds - count))

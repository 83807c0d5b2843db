"""The time between scrapes is that of the samples."""

import pytest

from safelight.console.scrapes import count_query, scrape_seconds
from safelight.diagnosis.prometheus import Prometheus, Series


@pytest.mark.parametrize(
    ("count", "seconds"), [(120.0, 5), (41.0, 15), (39.0, 15), (10.0, 60), (11.0, 60), (3.0, 15)]
)
def test_samples_of_ten_minutes_tell_how_often_a_service_is_scraped(
    count: float, seconds: int
) -> None:
    assert scrape_seconds([Series({}, ((0.0, count),))]) == seconds


def test_a_service_without_samples_has_the_usual_time() -> None:
    assert scrape_seconds([]) == 15


def test_a_real_prometheus_counts_the_samples_of_a_minute_each(past: Prometheus) -> None:
    counts = past.instant(count_query("safelight"), past.now())
    assert scrape_seconds(counts) == 60

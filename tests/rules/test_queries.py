import pytest

from safelight.metrics.catalog import (
    DEVICE,
    ERROR,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    INFERENCE_SECONDS,
    PROBE_TIMESTAMP,
    REQUESTS,
    VRAM_USED,
)
from safelight.metrics.promql import JOB, Queries, copied

QUERIES = Queries("ns", matchers={JOB: "~$job"})


def test_a_share_is_the_selected_events_divided_by_all() -> None:
    assert Queries("ns").share(REQUESTS, {ERROR: "!none"}, (JOB,)) == (
        'sum by (job) (rate(ns_request_total{error!="none"}[5m]))'
        " / sum by (job) (rate(ns_request_total[5m]))"
    )


def test_a_fraction_is_one_gauge_divided_by_another() -> None:
    assert QUERIES.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL) == (
        'gpu_memory_used_bytes{job=~"$job"} / gpu_memory_total_bytes{job=~"$job"}'
    )


def test_a_forecast_is_a_linear_regression_over_the_window() -> None:
    hours = Queries("ns", window="2h")
    assert hours.trend(VRAM_USED) == "deriv(ns_vram_used_bytes[2h])"
    assert hours.forecast(VRAM_USED, 3600) == "predict_linear(ns_vram_used_bytes[2h], 3600)"


def test_an_age_is_the_time_since_a_timestamp() -> None:
    age = "time() - safelight_probe_last_success_timestamp_seconds"
    assert Queries("ns").age(PROBE_TIMESTAMP) == age


def test_buckets_are_counted_over_the_window() -> None:
    counted = "sum by (le) (increase(ns_inference_duration_seconds_bucket[5m]))"
    assert Queries("ns").bucket_counts(INFERENCE_SECONDS) == counted


def test_a_foreign_name_must_be_known() -> None:
    assert QUERIES.foreign("up") == 'up{job=~"$job"}'
    with pytest.raises(ValueError, match=r"foreign\.FOREIGN"):
        QUERIES.foreign("upp")


def test_a_label_is_copied_by_a_pattern() -> None:
    named = copied("x", DEVICE, "gpu", "cuda:(.+)")
    assert named == 'label_replace(x, "gpu", "$1", "device", "cuda:(.+)")'

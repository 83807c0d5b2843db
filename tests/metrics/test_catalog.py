import re
from collections import Counter
from itertools import pairwise
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.metrics.buckets import IMAGE_SIZES, STEP_PLACES, image_size, step_place
from safelight.metrics.catalog import (
    CATALOG,
    ERROR,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    INFERENCE_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
)
from safelight.metrics.foreign import FOREIGN
from safelight.metrics.metric import OTHER, UNITS, Kind, Metric
from safelight.reasons import REASONS

MOST_LINES = 5000
PROCESS_LINES = 30  # of prometheus_client's ProcessCollector
WITHOUT_UNIT = {
    "steps",
    "batch_size",
    "image_quality_score",
    "user_rating",
    "background_entropy",
}  # bits
HISTOGRAMS = [metric for metric in CATALOG if metric.kind is Kind.HISTOGRAM]
DERIVED_UNITS = re.compile(
    r"_(ms|milliseconds|us|micros|minutes|hours|kb|mb|gb|mib|gib|percent|fahrenheit|mhz|ghz|mw)(_|$)"
)
every_metric = pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
every_histogram = pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)


def test_a_process_never_exposes_more_than_five_thousand_lines() -> None:
    assert sum(metric.lines for metric in CATALOG) + PROCESS_LINES <= MOST_LINES


def test_names_are_unique() -> None:
    names = Counter(metric.full_name("pix") for metric in CATALOG)
    assert names.most_common(1)[0][1] == 1
    assert not set(names) & set(FOREIGN)


@every_metric
def test_names_follow_prometheus_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", metric.name)
    assert "__" not in metric.name
    assert not metric.name.endswith(("_count", "_sum", "_bucket", "_created"))


@every_metric
def test_counters_and_only_counters_end_in_total(metric: Metric) -> None:
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)


@every_metric
def test_units_are_base_units(metric: Metric) -> None:
    assert not DERIVED_UNITS.search(metric.name)


@every_histogram
def test_times_and_sizes_end_in_their_unit(metric: Metric) -> None:
    last = metric.name.rpartition("_")[2]
    assert last in UNITS or metric.name in WITHOUT_UNIT


@every_metric
def test_every_metric_and_label_has_a_help_text(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert all(label.help.endswith((".", "none`.")) for label in metric.labels)


@every_histogram
def test_a_histogram_has_at_most_three_labels(metric: Metric) -> None:
    assert len(metric.labels) <= 3


@every_histogram
def test_bucket_edges_are_sorted(metric: Metric) -> None:
    assert metric.buckets
    assert all(lower < upper for lower, upper in pairwise(metric.buckets))


@every_metric
def test_only_histograms_have_buckets(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)


@pytest.mark.parametrize("threshold_seconds", [1.5, 3.0, 15.0])
@pytest.mark.parametrize(
    "metric", [REQUEST_SECONDS, HTTP_SECONDS, INFERENCE_SECONDS], ids=lambda metric: metric.name
)
def test_every_alert_threshold_is_a_bucket_edge(metric: Metric, threshold_seconds: float) -> None:
    assert threshold_seconds in metric.buckets


@every_metric
def test_labels_are_unique_and_none_is_reserved_by_prometheus(metric: Metric) -> None:
    assert len(set(metric.label_names)) == len(metric.labels)
    assert not {"le", "quantile", "job", "instance", "__name__"} & set(metric.label_names)


@every_metric
def test_the_values_of_a_label_are_unique(metric: Metric) -> None:
    for label in metric.labels:
        assert label.values is None or len(set(label.values)) == len(label.values)


@every_metric
def test_a_metric_with_labels_can_have_more_than_one_series(metric: Metric) -> None:
    about_itself = metric.name.endswith("_info")  # one series, whose labels never change
    assert metric.series >= (2 if metric.labels and not about_itself else 1)
    assert bool(metric.labels) or metric.series == 1


@every_metric
def test_closed_labels_can_have_all_their_values(metric: Metric) -> None:
    if metric.labels and all(label.closed for label in metric.labels):
        assert prod(len(label.values or ()) for label in metric.labels) <= metric.series


def test_the_request_metrics_have_the_required_labels() -> None:
    assert REQUEST_SECONDS.label_names == ("endpoint", "status_code", "instruction_type")
    assert REQUESTS.label_names == ("endpoint", "status_code", "instruction_type", "error")
    assert STAGE_SECONDS.label_names == ("stage",)


def test_the_http_metrics_have_the_usual_labels() -> None:
    assert HTTP_REQUESTS.label_names == ("handler", "method", "status")
    assert HTTP_SECONDS.label_names == ("handler", "method")


def test_errors_are_a_closed_set_with_every_reason() -> None:
    assert set(ERROR.values or ()) == {"none", *REASONS, OTHER}


@pytest.mark.parametrize(
    ("step", "place"),
    [
        (1, "1-5"),
        (5, "1-5"),
        (6, "6-10"),
        (10, "6-10"),
        (11, "11-20"),
        (20, "11-20"),
        (21, "21-50"),
        (50, "21-50"),
        (51, "51+"),
        (1000, "51+"),
    ],
)
def test_the_label_value_of_a_step(step: int, place: str) -> None:
    assert step_place(step) == place


@given(st.integers(min_value=1))
def test_every_step_has_a_value_of_the_closed_set(step: int) -> None:
    assert step_place(step) in STEP_PLACES


@given(st.integers(), st.integers())
def test_every_size_has_a_value_of_the_closed_set(width: int, height: int) -> None:
    assert image_size(width, height) in (*IMAGE_SIZES, OTHER)


def test_an_unlisted_size_is_other() -> None:
    assert image_size(1024, 768) == "1024x768"
    assert image_size(1023, 768) == OTHER

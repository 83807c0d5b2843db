import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.metrics.catalog import (
    CATALOG,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    QUEUE_DEPTH,
    REQUEST_MAX,
    TEXT_GUIDANCE,
)
from safelight.metrics.metric import OTHER, Across, Family, Kind, Metric
from safelight.metrics.series import (
    USED,
    VALUE,
    Exemplar,
    Series,
    admitted,
    exemplars,
    merged,
    parts,
    recent,
    values,
    width,
)
from tests.reading import FakeClock

TRACE = "0af7651916cd43dd8448eb211c80319c"
every_metric = pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)


def of(metric: Metric, clock: FakeClock | None = None) -> Series:
    return Series(metric, threading.Lock(), clock or FakeClock(1.0))


def row(series: Series) -> list[float]:
    return list(series.cells)


@every_metric
def test_a_row_has_a_value_for_each_sample(metric: Metric) -> None:
    assert len(values(metric, row(of(metric)))) == len(parts(metric))
    assert len(row(of(metric))) == width(metric)


@every_metric
def test_gauges_and_totals_of_the_machine_are_not_summed(metric: Metric) -> None:
    if metric.family in (Family.GPU, Family.HOST):
        assert metric.across is (Across.MAX if metric.kind is Kind.COUNTER else Across.LAST)
    elif metric.name.endswith("_info"):
        assert metric.across is Across.MAX
    elif metric.kind is not Kind.GAUGE:
        assert metric.across is Across.SUM


def test_an_observation_is_in_the_first_bucket_whose_edge_it_does_not_exceed() -> None:
    series = of(HTTP_SECONDS)
    series.observe(0.005)
    series.observe(1000)
    assert values(HTTP_SECONDS, row(series))[:3] == [0, 1, 1]
    assert values(HTTP_SECONDS, row(series))[-3:] == [2, 2, 1000.005]


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**128 - 1), st.floats(0, 100))
def test_an_exemplar_is_read_as_it_was_written(trace: int, request: int, value: float) -> None:
    series, ids = of(HTTP_REQUESTS), (f"{trace:032x}", f"{request:032x}")
    series.inc(value, Exemplar(*ids))
    labels = dict(zip(("trace_id", "request_id"), ids, strict=True))
    assert list(exemplars(HTTP_REQUESTS, row(series))) == [(labels, value, 1.0)]


@pytest.mark.parametrize("odd", ["", "one", "0" * 32, "A" * 32, "a" * 33, 'x"} 1\nevil 1'])
def test_an_id_that_is_none_is_not_in_an_exemplar(odd: str) -> None:
    series = of(HTTP_REQUESTS)
    series.inc(1, Exemplar(odd, TRACE))
    assert list(exemplars(HTTP_REQUESTS, row(series))) == [({"request_id": TRACE}, 1, 1.0)]


def test_an_exemplar_that_is_just_written_is_not_read() -> None:
    series = of(HTTP_REQUESTS)
    series.inc(1, Exemplar(TRACE))
    series.cells[width(HTTP_REQUESTS) - 1] = 2.0  # the next one has begun
    assert list(exemplars(HTTP_REQUESTS, row(series))) == [None]


def test_a_gauge_has_no_exemplar() -> None:
    series: Any = of(QUEUE_DEPTH)
    series.inc(1, Exemplar(TRACE))
    assert list(exemplars(QUEUE_DEPTH, row(series))) == []


def test_the_value_that_was_set_last_wins() -> None:
    clock = FakeClock(5.0)
    one, two = of(TEXT_GUIDANCE, clock), of(TEXT_GUIDANCE, clock)
    two.set(3)
    clock.now = 6.0
    one.set(9)
    assert merged(TEXT_GUIDANCE, [row(two), row(one)])[VALUE] == 9
    assert merged(TEXT_GUIDANCE, [row(one), row(two)])[VALUE] == 9


@given(st.lists(st.integers(0, 50), min_size=1))
def test_a_sum_does_not_depend_on_who_counted(amounts: list[int]) -> None:
    alone, each = of(HTTP_REQUESTS), [of(HTTP_REQUESTS) for _ in amounts]
    for series, amount in zip(each, amounts, strict=True):
        alone.inc(amount)
        series.inc(amount)
    assert merged(HTTP_REQUESTS, [row(series) for series in each]) == row(alone)


def test_z6_a_recent_maximum_is_that_of_this_minute_and_the_last_one() -> None:
    clock = FakeClock(600.0)
    series = of(REQUEST_MAX, clock)
    shown = []
    for second, seconds in ((600, 2.0), (610, 9.0), (650, 1.0), (665, 3.0), (725, 1.5)):
        clock.now = second
        series.peak(seconds)
        now = recent(REQUEST_MAX, list(row(series)), clock.now)
        shown.append(now and now[VALUE])
    assert shown == [2.0, 9.0, 9.0, 9.0, 3.0]


@pytest.mark.parametrize(("second", "shown"), [(659, 9.0), (719, 9.0), (720, None), (9000, None)])
def test_z6_without_requests_the_maximum_ends_after_two_minutes(
    second: int, shown: float | None
) -> None:
    series = of(REQUEST_MAX, FakeClock(610.0))
    series.peak(9.0)
    now = recent(REQUEST_MAX, row(series), second)
    assert (now and now[VALUE]) == shown


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 240), st.floats(0, 100)), min_size=1))
def test_the_maxima_of_several_processes_are_that_of_one(
    seen: list[tuple[int, int, float]],
) -> None:
    clock = FakeClock()
    alone, each = of(REQUEST_MAX, clock), [of(REQUEST_MAX, clock) for _ in range(4)]
    for process, second, seconds in sorted(seen, key=lambda one: one[1]):
        clock.now = 600.0 + second
        alone.peak(seconds)
        each[process].peak(seconds)
    together = merged(REQUEST_MAX, [row(one) for one in each])
    expected = recent(REQUEST_MAX, row(alone), clock.now)
    assert recent(REQUEST_MAX, together, clock.now) == expected


def test_a_moved_series_counts_on() -> None:
    series, shared = of(HTTP_REQUESTS), [0.0] * width(HTTP_REQUESTS)
    series.inc(2)
    series.move(shared)
    series.inc(3)
    assert (shared[USED], shared[VALUE]) == (1, 5)


def test_a_full_metric_admits_only_other_and_what_it_knows() -> None:
    known = {(str(number), "GET", "200") for number in range(HTTP_REQUESTS.series - 1)}
    others = (OTHER,) * 3
    assert admitted(HTTP_REQUESTS, known, ("0", "GET", "200"))
    assert admitted(HTTP_REQUESTS, known, others)
    assert not admitted(HTTP_REQUESTS, known, ("new", "GET", "200"))

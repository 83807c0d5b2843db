import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.metrics.catalog import (
    BUILD_INFO,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_UTILIZATION,
    HOST_CPU,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    IN_FLIGHT,
    MODEL_INFO,
    QUEUE_DEPTH,
    QUEUED_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
    STEP_SECONDS,
    VRAM_PEAK,
    VRAM_USED,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.metric import Metric
from safelight.metrics.registry import Meter, Samples, parse
from safelight.stack.tools.top import Reading, Window, is_ours, namespace_of, quantile
from safelight.stack.tools.view import Card, View

INF = float("inf")
NAMESPACE = "zimage"
EDIT = "/api/edit"


def samples(meter: Meter) -> Samples:
    return parse(meter.expose().body.decode())


def view(now: Samples, before: Samples, seconds: float = 10.0) -> View:
    return Reading(now, before, seconds, NAMESPACE).view()


@pytest.fixture
def meter() -> Meter:
    made = Meter(NAMESPACE)
    made.set(BUILD_INFO, "0", "3", value=1)
    made.set(MODEL_INFO, "tiny", "Pipeline", "Scheduler", "float16", "cuda:0", value=1)
    return made


# ── The quantile: Prometheus' histogram_quantile, by its own definition ──────────────────────────


def as_prometheus_defines_it(q: float, edges: list[float], counts: list[float]) -> float:
    """bucketQuantile of promql/quantile.go, for edges above zero and counts that never fall."""
    if counts[-1] == 0:
        return math.nan
    rank = q * counts[-1]
    place = next((at for at in range(len(edges) - 1) if counts[at] >= rank), len(edges) - 1)
    if place == len(edges) - 1:
        return edges[-2]
    start, end, count = 0.0, edges[place], counts[place]
    if place > 0:
        start = edges[place - 1]
        count -= counts[place - 1]
        rank -= counts[place - 1]
    return start + (end - start) * (rank / count)


@pytest.mark.parametrize(
    ("q", "counts", "expected"),
    [
        (0.5, [0, 10, 10, 10], 1.5),  # in the middle of the second bucket
        (0.5, [10, 10, 10, 10], 0.5),  # the first bucket begins at 0
        (0.95, [50, 95, 100, 100], 2.0),  # exactly at an edge
        (0.99, [0, 0, 0, 7], 4.0),  # beyond the last finite edge
        (0.5, [0, 0, 1, 2], 4.0),  # a rank that just fits
        (1.0, [1, 2, 3, 3], 4.0),
        (0.5, [0, 0, 0, 0], None),  # nothing was observed
        (0.95, [0.5, 0.5, 0.5, 0.5], 0.95),  # a rise need not be whole
    ],
)
def test_quantiles_by_value(q: float, counts: list[float], expected: float | None) -> None:
    assert quantile(q, [1.0, 2.0, 4.0, INF], counts) == expected


@given(q=st.floats(0.01, 1.0), rises=st.lists(st.integers(0, 1000), min_size=2, max_size=18))
def test_quantiles_are_those_of_prometheus(q: float, rises: list[int]) -> None:
    edges = [0.05 * 1.7**number for number in range(len(rises) - 1)] + [INF]
    counts = [float(sum(rises[: number + 1])) for number in range(len(rises))]
    found, expected = quantile(q, edges, counts), as_prometheus_defines_it(q, edges, counts)
    assert (math.nan if found is None else found) == pytest.approx(expected, nan_ok=True)


# ── Which namespace ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("namespace", ["instructpix2pix", "my_own_service"])
def test_the_namespace_is_read_off_the_model(namespace: str) -> None:
    meter = Meter(namespace)
    meter.set(MODEL_INFO, "m", "p", "s", "float32", "cpu", value=1)
    assert namespace_of(samples(meter)) == namespace


@pytest.mark.parametrize("metric", [WORKERS_READY, IN_FLIGHT], ids=lambda metric: metric.name)
def test_the_namespace_is_known_before_the_model_is_loaded(metric: Metric) -> None:
    meter = Meter(NAMESPACE)
    meter.set(metric, value=0)
    assert namespace_of(samples(meter)) == NAMESPACE


def test_where_only_http_is_watched_there_is_no_namespace() -> None:
    meter = Meter(NAMESPACE)
    meter.set(BUILD_INFO, "0", "3", value=1)
    meter.add(HTTP_REQUESTS, "/", "GET", "200")
    found = samples(meter)
    assert namespace_of(found) is None
    assert is_ours(found)


def test_somebody_else_s_metrics_are_not_ours() -> None:
    assert not is_ours(parse("# TYPE up gauge\nup 1\n"))
    assert not is_ours({})


# ── Rates ────────────────────────────────────────────────────────────────────────────────────────


def test_rates_are_rises_over_the_time_between(meter: Meter) -> None:
    meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=7)
    before = samples(meter)
    meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=20)
    meter.add(REQUESTS, EDIT, "503", "make_old", "overloaded", amount=3)  # a series that is new
    meter.add(REQUESTS, EDIT, "504", "make_old", "timeout", amount=5)
    seen = view(samples(meter), before)
    assert seen.requests_per_second == pytest.approx(2.8)
    assert seen.failures == pytest.approx({"timeout": 0.5, "overloaded": 0.3})
    assert list(seen.failures) == ["timeout", "overloaded"]  # the most frequent first


def test_a_service_that_started_anew_counts_from_zero(meter: Meter) -> None:
    meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=1000)
    before = samples(meter)
    reborn = Meter(NAMESPACE)
    reborn.add(REQUESTS, EDIT, "200", "make_old", "none", amount=30)
    assert view(samples(reborn), before).requests_per_second == pytest.approx(3)


def test_nothing_between_two_readings_is_zero_and_not_an_error(meter: Meter) -> None:
    seen = view(samples(meter), samples(meter), 0.0)
    assert seen.requests_per_second == seen.steps_per_second == 0
    assert seen.latency_seconds == (None, None, None)
    assert (seen.queued_seconds, seen.failures, seen.stage_shares) == (None, {}, {})


def test_latency_is_that_of_the_time_between_over_all_series(meter: Meter) -> None:
    meter.observe(REQUEST_SECONDS, EDIT, "200", "make_old", value=100)
    before = samples(meter)
    for status in ("200", "503"):
        for _ in range(50):
            meter.observe(REQUEST_SECONDS, EDIT, status, "make_old", value=0.7)
    p50, p95, p99 = view(samples(meter), before).latency_seconds
    assert (p50, p95, p99) == pytest.approx((0.75, 0.975, 0.995))  # in the bucket 0.5 to 1


def test_the_queue_is_told(meter: Meter) -> None:
    before = samples(meter)
    meter.set(QUEUE_DEPTH, value=4)
    meter.set(IN_FLIGHT, value=5)
    meter.observe(QUEUED_SECONDS, value=0.04)
    seen = view(samples(meter), before)
    assert (seen.queue_depth, seen.in_flight) == (4, 5)
    assert seen.queued_seconds == pytest.approx(0.048)


def test_stages_are_shares_of_the_whole(meter: Meter) -> None:
    meter.observe(STAGE_SECONDS, "queue", value=50)
    before = samples(meter)
    meter.observe(STAGE_SECONDS, "denoise", value=3)
    meter.observe(STAGE_SECONDS, "encode", value=1)
    shares = view(samples(meter), before).stage_shares
    assert shares == pytest.approx({"denoise": 0.75, "encode": 0.25})


def test_steps_are_means_by_place_and_a_rate(meter: Meter) -> None:
    before = samples(meter)
    for seconds in (0.1, 0.3):
        meter.observe(STEP_SECONDS, "1-5", value=seconds)
    meter.observe(STEP_SECONDS, "6-10", value=0.4)
    seen = view(samples(meter), before)
    assert seen.step_seconds == pytest.approx({"1-5": 0.2, "6-10": 0.4})
    assert seen.steps_per_second == pytest.approx(0.3)


def test_memory_cards_and_the_machine_are_told(meter: Meter) -> None:
    meter.set(VRAM_USED, "cuda:0", value=5)
    meter.set(VRAM_PEAK, "cuda:0", value=9)
    meter.set(GPU_MEMORY_USED, "0", value=6)
    meter.set(GPU_MEMORY_TOTAL, "0", value=10)
    meter.set(GPU_UTILIZATION, "0", value=0.5)
    meter.set(GPU_TEMPERATURE, "0", value=61)
    meter.set(GPU_MEMORY_USED, "1", value=2)  # a card that says no more
    meter.set(HOST_CPU, value=0.25)
    meter.set(HOST_MEMORY_USED, value=1)
    meter.set(HOST_MEMORY_TOTAL, value=4)
    seen = view(samples(meter), {})
    assert seen.vram == {"cuda:0": (5, 9)}
    assert set(seen.cards) == {Card("0", 0.5, 6, 10, 61), Card("1", None, 2, None, None)}
    assert (seen.cpu_ratio, seen.memory) == (0.25, (1, 4))


def test_the_model_its_workers_and_their_deaths_are_told(meter: Meter) -> None:
    meter.set(WORKERS_READY, value=1)
    meter.add(WORKER_RESTARTS, "died", amount=2)
    seen = view(samples(meter), {})
    assert seen.model == "tiny · float16 on cuda:0"
    assert (seen.workers_ready, seen.worker_restarts) == (1, 2)


def test_without_a_model_the_web_service_s_requests_are_shown() -> None:
    meter = Meter(NAMESPACE)
    meter.set(BUILD_INFO, "0", "3", value=1)
    before = samples(meter)
    for status in ("200", "200", "404"):
        meter.add(HTTP_REQUESTS, "/", "GET", status)
        meter.observe(HTTP_SECONDS, "/", "GET", value=0.02)
    seen = Reading(samples(meter), before, 1.0, None).view()
    assert "no model" in seen.model
    assert (seen.requests_per_second, seen.failures) == (3, {"HTTP 404": 1})
    assert seen.latency_seconds[0] == pytest.approx(0.0175)


# ── The window ───────────────────────────────────────────────────────────────────────────────────


def test_rates_are_over_the_window_and_not_over_the_last_interval(meter: Meter) -> None:
    window, rates = Window(seconds=4), list[float]()
    for at in range(10):
        rates.append(window.add(samples(meter), float(at)).requests_per_second)
        if at % 2:  # an edit every other second
            meter.add(REQUESTS, EDIT, "200", "make_old", "none")
    assert rates[0] == 0
    assert rates[5:] == pytest.approx([0.5] * 5)


def test_the_window_keeps_a_reading_however_long_the_interval(meter: Meter) -> None:
    window = Window(seconds=1)
    window.add(samples(meter), 0.0)
    meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=30)
    seen = window.add(samples(meter), 60.0)
    assert (seen.seconds, seen.requests_per_second) == (60, 0.5)


def test_the_window_remembers_the_rate_of_each_interval_and_no_more_than_it_may(
    meter: Meter,
) -> None:
    window, rates = Window(seconds=100, kept_rates=3), list[tuple[float, ...]]()
    for at in range(6):
        meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=at)
        rates.append(window.add(samples(meter), float(at)).recent_rates)
    assert rates[2] == (1, 2)
    assert rates[5] == (3, 4, 5)

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
    MODEL_ASLEEP,
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
from safelight.stack.tools.top import Reading, Window, is_from_safelight, namespace_of, quantile
from safelight.stack.tools.view import Gpu, View

INF = float("inf")
NAMESPACE = "zimage"
EDIT = "/api/edit"


def samples(meter: Meter) -> Samples:
    return parse(meter.expose().body.decode())


def view(now: Samples, before: Samples, seconds: float = 10.0) -> View:
    return Reading(now, before, seconds, NAMESPACE).view()


@pytest.fixture
def meter() -> Meter:
    meter = Meter(NAMESPACE)
    meter.set(BUILD_INFO, "0", "3", value=1)
    meter.set(MODEL_INFO, "tiny", "Pipeline", "Scheduler", "float16", "cuda:0", "none", value=1)
    return meter


# ── The quantile, compared with the definition of Prometheus' histogram_quantile ─────────────────


def prometheus_quantile(q: float, edges: list[float], counts: list[float]) -> float:
    """Port of bucketQuantile in promql/quantile.go, for positive edges and monotonic counts."""
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
        (0.5, [10, 10, 10, 10], 0.5),  # the first bucket starts at 0
        (0.95, [50, 95, 100, 100], 2.0),  # exactly at an edge
        (0.99, [0, 0, 0, 7], 4.0),  # above the last finite edge
        (0.5, [0, 0, 1, 2], 4.0),  # a rank exactly at a count
        (1.0, [1, 2, 3, 3], 4.0),
        (0.5, [0, 0, 0, 0], None),  # no observations
        (0.95, [0.5, 0.5, 0.5, 0.5], 0.95),  # an increase can be a fraction
    ],
)
def test_quantiles_by_value(q: float, counts: list[float], expected: float | None) -> None:
    assert quantile(q, [1.0, 2.0, 4.0, INF], counts) == expected


@given(q=st.floats(0.01, 1.0), rises=st.lists(st.integers(0, 1000), min_size=2, max_size=18))
def test_quantiles_are_those_of_prometheus(q: float, rises: list[int]) -> None:
    edges = [0.05 * 1.7**number for number in range(len(rises) - 1)] + [INF]
    counts = [float(sum(rises[: number + 1])) for number in range(len(rises))]
    value, expected = quantile(q, edges, counts), prometheus_quantile(q, edges, counts)
    assert (math.nan if value is None else value) == pytest.approx(expected, nan_ok=True)


# ── Namespace ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("namespace", ["instructpix2pix", "my_own_service"])
def test_the_namespace_is_that_of_the_model_metric(namespace: str) -> None:
    meter = Meter(namespace)
    meter.set(MODEL_INFO, "m", "p", "s", "float32", "cpu", "none", value=1)
    assert namespace_of(samples(meter)) == namespace


@pytest.mark.parametrize("metric", [WORKERS_READY, IN_FLIGHT], ids=lambda metric: metric.name)
def test_the_namespace_is_known_before_the_model_is_loaded(metric: Metric) -> None:
    meter = Meter(NAMESPACE)
    meter.set(metric, value=0)
    assert namespace_of(samples(meter)) == NAMESPACE


def test_without_model_metrics_there_is_no_namespace() -> None:
    meter = Meter(NAMESPACE)
    meter.set(BUILD_INFO, "0", "3", value=1)
    meter.add(HTTP_REQUESTS, "/", "GET", "200")
    exposed = samples(meter)
    assert namespace_of(exposed) is None
    assert is_from_safelight(exposed)


def test_metrics_of_other_programs_are_recognised() -> None:
    assert not is_from_safelight(parse("# TYPE up gauge\nup 1\n"))
    assert not is_from_safelight({})


# ── Rates ────────────────────────────────────────────────────────────────────────────────────────


def test_rates_are_increases_per_second(meter: Meter) -> None:
    meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=7)
    before = samples(meter)
    meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=20)
    meter.add(REQUESTS, EDIT, "503", "make_old", "overloaded", amount=3)  # a new series
    meter.add(REQUESTS, EDIT, "504", "make_old", "timeout", amount=5)
    shown = view(samples(meter), before)
    assert shown.requests_per_second == pytest.approx(2.8)
    assert shown.failures == pytest.approx({"timeout": 0.5, "overloaded": 0.3})
    assert list(shown.failures) == ["timeout", "overloaded"]  # the most frequent first


def test_after_a_restart_counters_count_from_zero(meter: Meter) -> None:
    meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=1000)
    before = samples(meter)
    restarted = Meter(NAMESPACE)
    restarted.add(REQUESTS, EDIT, "200", "make_old", "none", amount=30)
    assert view(samples(restarted), before).requests_per_second == pytest.approx(3)


def test_no_change_between_two_readings_is_zero(meter: Meter) -> None:
    shown = view(samples(meter), samples(meter), 0.0)
    assert shown.requests_per_second == shown.steps_per_second == 0
    assert shown.latency_seconds == (None, None, None)
    assert (shown.queued_seconds, shown.failures, shown.stage_shares) == (None, {}, {})


def test_latency_covers_all_series_between_the_readings(meter: Meter) -> None:
    meter.observe(REQUEST_SECONDS, EDIT, "200", "make_old", value=100)
    before = samples(meter)
    for status in ("200", "503"):
        for _ in range(50):
            meter.observe(REQUEST_SECONDS, EDIT, status, "make_old", value=0.7)
    p50, p95, p99 = view(samples(meter), before).latency_seconds
    assert (p50, p95, p99) == pytest.approx((0.75, 0.975, 0.995))  # in the bucket 0.5 to 1


def test_the_queue_is_shown(meter: Meter) -> None:
    before = samples(meter)
    meter.set(QUEUE_DEPTH, value=4)
    meter.set(IN_FLIGHT, value=5)
    meter.observe(QUEUED_SECONDS, "normal", value=0.04)
    shown = view(samples(meter), before)
    assert (shown.queue_depth, shown.in_flight) == (4, 5)
    assert shown.queued_seconds == pytest.approx(0.048)


def test_stages_are_shares_of_the_total_time(meter: Meter) -> None:
    meter.observe(STAGE_SECONDS, "queue", value=50)
    before = samples(meter)
    meter.observe(STAGE_SECONDS, "denoise", value=3)
    meter.observe(STAGE_SECONDS, "encode", value=1)
    shares = view(samples(meter), before).stage_shares
    assert shares == pytest.approx({"denoise": 0.75, "encode": 0.25})


def test_steps_are_means_by_position_and_a_rate(meter: Meter) -> None:
    before = samples(meter)
    for seconds in (0.1, 0.3):
        meter.observe(STEP_SECONDS, "1-5", value=seconds)
    meter.observe(STEP_SECONDS, "6-10", value=0.4)
    shown = view(samples(meter), before)
    assert shown.step_seconds == pytest.approx({"1-5": 0.2, "6-10": 0.4})
    assert shown.steps_per_second == pytest.approx(0.3)


def test_vram_gpus_and_the_machine_are_shown(meter: Meter) -> None:
    meter.set(VRAM_USED, "cuda:0", value=5)
    meter.set(VRAM_PEAK, "cuda:0", value=9)
    meter.set(GPU_MEMORY_USED, "0", value=6)
    meter.set(GPU_MEMORY_TOTAL, "0", value=10)
    meter.set(GPU_UTILIZATION, "0", value=0.5)
    meter.set(GPU_TEMPERATURE, "0", value=61)
    meter.set(GPU_MEMORY_USED, "1", value=2)  # a GPU that reports no other value
    meter.set(HOST_CPU, value=0.25)
    meter.set(HOST_MEMORY_USED, value=1)
    meter.set(HOST_MEMORY_TOTAL, value=4)
    shown = view(samples(meter), {})
    assert shown.vram == {"cuda:0": (5, 9)}
    assert set(shown.gpus) == {Gpu("0", 0.5, 6, 10, 61), Gpu("1", None, 2, None, None)}
    assert (shown.cpu_ratio, shown.memory) == (0.25, (1, 4))


def test_the_model_its_workers_and_their_restarts_are_shown(meter: Meter) -> None:
    meter.set(WORKERS_READY, value=1)
    meter.add(WORKER_RESTARTS, "died", amount=2)
    shown = view(samples(meter), {})
    assert shown.model == "tiny · float16 on cuda:0"
    assert (shown.workers_ready, shown.worker_restarts, shown.sleeps) == (1, 2, False)
    meter.set(MODEL_ASLEEP, value=1)
    assert view(samples(meter), {}).sleeps


def test_without_a_model_the_http_requests_are_shown() -> None:
    meter = Meter(NAMESPACE)
    meter.set(BUILD_INFO, "0", "3", value=1)
    before = samples(meter)
    for status in ("200", "200", "404"):
        meter.add(HTTP_REQUESTS, "/", "GET", status)
        meter.observe(HTTP_SECONDS, "/", "GET", value=0.02)
    shown = Reading(samples(meter), before, 1.0, None).view()
    assert "no model" in shown.model
    assert (shown.requests_per_second, shown.failures) == (3, {"HTTP 404": 1})
    assert shown.latency_seconds[0] == pytest.approx(0.0175)


# ── The window ───────────────────────────────────────────────────────────────────────────────────


def test_rates_cover_the_window_and_not_only_the_last_interval(meter: Meter) -> None:
    window, rates = Window(seconds=4), list[float]()
    for at in range(10):
        rates.append(window.add(samples(meter), float(at)).requests_per_second)
        if at % 2:  # an edit every other second
            meter.add(REQUESTS, EDIT, "200", "make_old", "none")
    assert rates[0] == 0
    assert rates[5:] == pytest.approx([0.5] * 5)


def test_the_window_keeps_a_reading_over_a_long_interval(meter: Meter) -> None:
    window = Window(seconds=1)
    window.add(samples(meter), 0.0)
    meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=30)
    shown = window.add(samples(meter), 60.0)
    assert (shown.seconds, shown.requests_per_second) == (60, 0.5)


def test_the_window_keeps_a_limited_number_of_recent_rates(meter: Meter) -> None:
    window, rates = Window(seconds=100, kept_rates=3), list[tuple[float, ...]]()
    for at in range(6):
        meter.add(REQUESTS, EDIT, "200", "make_old", "none", amount=at)
        rates.append(window.add(samples(meter), float(at)).recent_rates)
    assert rates[2] == (1, 2)
    assert rates[5] == (3, 4, 5)

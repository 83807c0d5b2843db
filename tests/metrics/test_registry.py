import re
import subprocess
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from safelight.metrics.buckets import IMAGE_SIZES
from safelight.metrics.catalog import (
    CATALOG,
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    GPU_CLOCK,
    GPU_ENERGY,
    GPU_TEMPERATURE,
    GUIDANCE_OVERRIDDEN,
    HOST_SENT,
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    IMAGES,
    PROBE_FAILURES,
    QUEUE_DEPTH,
    QUEUED_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    SERIES_FOLDED,
    STEP_SECONDS,
    WORKERS_READY,
)
from safelight.metrics.metric import OTHER, Across, Kind, Metric
from safelight.metrics.registry import Meter, current, parse, parts, where
from safelight.metrics.series import Exemplar
from safelight.stories.replay import free_port
from tests.reading import OPENMETRICS, at_once, processor_seconds, series, slowness, text, value

every_metric = pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


def enter(meter: Meter, metric: Metric, values: tuple[str, ...]) -> None:
    """Add one event or observation to a metric."""
    child = meter.child(metric, *values)
    if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY):
        child.observe(0.3)
    elif metric.across is Across.RECENT:
        child.peak(0.3)
    else:
        child.inc(1)


def populated(meter: Meter) -> Meter:
    """Fill every metric with more series than its maximum."""
    for metric in CATALOG:
        for number in range(metric.series + 3):
            values = tuple(
                label.values[number % len(label.values)] if label.values else f"value {number}"
                for label in metric.labels
            )
            enter(meter, metric, values)
    return meter


# ── Counting ─────────────────────────────────────────────────────────────────────────────────────


def test_a_metric_that_was_never_measured_is_absent(meter: Meter) -> None:
    assert series(meter, WORKERS_READY) == []


def test_counters_gauges_and_histograms_count(meter: Meter) -> None:
    meter.add(HTTP_REQUESTS, "/", "GET", "200", amount=2)
    meter.set(QUEUE_DEPTH, value=7)
    meter.add(QUEUE_DEPTH, amount=-3)
    meter.observe(QUEUED_SECONDS, "normal", value=0.02)
    assert value(meter, HTTP_REQUESTS, handler="/", method="GET", status="200") == 2
    assert value(meter, QUEUE_DEPTH) == 4
    assert value(meter, QUEUED_SECONDS, "_count") == 1
    assert value(meter, QUEUED_SECONDS, "_sum") == 0.02
    assert value(meter, QUEUED_SECONDS, "_bucket", le="0.01") == 0
    assert value(meter, QUEUED_SECONDS, "_bucket", le="0.05") == 1


def test_a_histogram_has_the_buckets_of_the_catalogue(meter: Meter) -> None:
    meter.observe(STEP_SECONDS, "1-5", value=0.1)
    edges = [float(found["le"]) for found in series(meter, STEP_SECONDS, "_bucket")]
    assert edges == [*STEP_SECONDS.buckets, float("inf")]


def test_a_summary_sums_and_counts(meter: Meter) -> None:
    meter.observe(HTTP_REQUEST_BYTES, "/", value=100)
    meter.observe(HTTP_REQUEST_BYTES, "/", value=20)
    assert value(meter, HTTP_REQUEST_BYTES, "_count", handler="/") == 2
    assert value(meter, HTTP_REQUEST_BYTES, "_sum", handler="/") == 120


def test_the_same_values_are_the_same_child(meter: Meter) -> None:
    assert meter.child(HTTP_REQUESTS, "/", "GET", "200") is meter.child(
        HTTP_REQUESTS, "/", "GET", "200"
    )


def test_a_wrong_number_of_values_is_an_error(meter: Meter) -> None:
    with pytest.raises(ValueError, match="zip"):
        meter.add(HTTP_REQUESTS, "/")


def test_two_meters_in_one_process_are_independent() -> None:
    one, two = Meter("one"), Meter("two")
    one.set(QUEUE_DEPTH, value=1)
    two.set(QUEUE_DEPTH, value=2)
    assert (value(one, QUEUE_DEPTH), value(two, QUEUE_DEPTH)) == (1, 2)
    assert "two_" not in text(one)


def test_two_meters_of_one_namespace_are_independent() -> None:
    one, two = Meter("pix"), Meter("pix")
    one.set(QUEUE_DEPTH, value=1)
    assert series(two, QUEUE_DEPTH) == []


# ── Folding ──────────────────────────────────────────────────────────────────────────────────────


def test_an_unlisted_value_of_a_closed_label_becomes_other(meter: Meter) -> None:
    meter.add(HTTP_REQUESTS, "/", "BREW", "200")
    assert series(meter, HTTP_REQUESTS) == [{"handler": "/", "method": OTHER, "status": "200"}]


def test_excess_series_become_other_and_are_counted(meter: Meter) -> None:
    for number in range(HTTP_REQUESTS.series + 50):
        meter.add(HTTP_REQUESTS, f"/{number}", "GET", "200")
    assert len(series(meter, HTTP_REQUESTS)) == HTTP_REQUESTS.series
    assert value(meter, HTTP_REQUESTS, handler=OTHER) == 51
    assert value(meter, HTTP_REQUESTS) == HTTP_REQUESTS.series + 50
    assert value(meter, SERIES_FOLDED, metric=HTTP_REQUESTS.name) == 51


def test_an_existing_series_counts_on_when_the_metric_is_full(meter: Meter) -> None:
    for number in range(HTTP_REQUESTS.series + 5):
        meter.add(HTTP_REQUESTS, f"/{number}", "GET", "200")
    meter.add(HTTP_REQUESTS, "/0", "GET", "200")
    assert value(meter, HTTP_REQUESTS, handler="/0") == 2


def test_a_closed_set_is_never_folded(meter: Meter) -> None:
    for size in IMAGE_SIZES:
        meter.add(IMAGES, size)
    meter.add(IMAGES, "1x1")
    assert {found["image_size"] for found in series(meter, IMAGES)} == {*IMAGE_SIZES, OTHER}
    assert series(meter, SERIES_FOLDED) == []


@every_metric
def test_no_metric_exposes_more_lines_than_its_maximum(metric: Metric) -> None:
    meter = Meter("pix")
    for number in range(metric.series + 20):
        values = [
            label.values[number % len(label.values)] if label.values else f"v{number}"
            for label in metric.labels
        ]
        enter(meter, metric, tuple(values))
    enter(meter, metric, tuple("unlisted" for _ in metric.labels))
    assert lines_of(meter, metric) <= metric.lines


def lines_of(meter: Meter, metric: Metric) -> int:
    name = re.escape(metric.full_name(meter.namespace))
    ours = re.compile(rf"(# \w+ )?{name}(_bucket|_sum|_count)?[ {{]")
    return sum(bool(ours.match(line)) for line in text(meter).splitlines())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=40))
def test_any_text_as_a_label_value_is_exposed_and_read_back(seen: list[Any]) -> None:
    meter = Meter("pix")
    for values in seen:
        meter.add(HTTP_REQUESTS, *values)
    assert sum(number for _, number in where(parse(text(meter)), HTTP_REQUESTS.name)) == len(seen)


def test_the_whole_catalogue_stays_under_five_thousand_lines(meter: Meter) -> None:
    assert text(populated(meter)).count("\n") <= 5000


def test_the_whole_catalogue_is_written_in_sixty_milliseconds(meter: Meter) -> None:
    populated(meter)
    # The speed of the host changes, so each time is divided by its slowness at that moment.
    assert min(processor_seconds(meter.expose) / slowness() for _ in range(10)) <= 0.060


# ── External totals, zeros, forgetting ───────────────────────────────────────────────────────────


def test_a_counter_follows_an_external_total(meter: Meter) -> None:
    for total in (10.0, 25.0, 25.0):
        meter.set_total(HOST_SENT, value=total)
    assert value(meter, HOST_SENT) == 25


def test_a_total_that_fell_restarted_from_0(meter: Meter) -> None:
    for total in (10.0, 25.0, 4.0, 6.0):
        meter.set_total(HOST_SENT, value=total)
    assert value(meter, HOST_SENT) == 31


def test_a_counter_can_start_at_zero(meter: Meter) -> None:
    meter.start_at_zero(GUIDANCE_OVERRIDDEN, HOST_SENT)
    assert len(series(meter, GUIDANCE_OVERRIDDEN)) == GUIDANCE_OVERRIDDEN.series
    assert value(meter, GUIDANCE_OVERRIDDEN) == 0
    assert value(meter, HOST_SENT) == 0


def test_probe_failures_are_exposed_from_the_start(meter: Meter) -> None:
    assert value(meter, PROBE_FAILURES) == 0
    meter.probe_failed("nvml")
    assert value(meter, PROBE_FAILURES, probe="nvml") == 1


def test_a_forgotten_series_is_not_exposed(meter: Meter) -> None:
    meter.set(GPU_CLOCK, "0", "sm", value=1)
    meter.set(GPU_CLOCK, "0", "memory", value=2)
    meter.set(GPU_CLOCK, "1", "sm", value=3)
    meter.forget(GPU_CLOCK, "0")
    assert series(meter, GPU_CLOCK) == [{"gpu": "1", "clock": "sm"}]


def test_a_forgotten_total_restarts_from_0(meter: Meter) -> None:
    meter.set_total(GPU_ENERGY, "0", value=100)
    meter.forget(GPU_ENERGY, "0")
    meter.set_total(GPU_ENERGY, "0", value=130)
    assert value(meter, GPU_ENERGY) == 130


def test_forgetting_frees_a_series(meter: Meter) -> None:
    for number in range(GPU_TEMPERATURE.series):
        meter.set(GPU_TEMPERATURE, str(number), value=1)
    meter.forget(GPU_TEMPERATURE, "3")
    meter.set(GPU_TEMPERATURE, "new", value=2)
    assert value(meter, GPU_TEMPERATURE, gpu="new") == 2


def test_forgetting_an_unknown_series_does_nothing(meter: Meter) -> None:
    meter.forget(GPU_CLOCK, "0")
    assert series(meter, GPU_CLOCK) == []


# ── The exposition ───────────────────────────────────────────────────────────────────────────────


def test_the_accept_header_chooses_the_format(meter: Meter) -> None:
    plain, open_metrics = meter.expose(), meter.expose(OPENMETRICS)
    assert plain.content_type.startswith("text/plain; version=")
    assert open_metrics.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert open_metrics.body.endswith(b"# EOF\n")
    assert b"# EOF" not in plain.body


def test_exemplars_are_in_openmetrics_only(meter: Meter) -> None:
    meter.observe(REQUEST_SECONDS, "/", "200", "none", value=0.2, exemplar=Exemplar(TRACE))
    meter.child(REQUESTS, "/", "200", "none", "none").inc(1, Exemplar(TRACE))
    assert TRACE not in text(meter)
    carrying = [line for line in text(meter, OPENMETRICS).splitlines() if TRACE in line]
    assert len(carrying) == 2
    assert all(f'# {{trace_id="{TRACE}"}}' in line for line in carrying)


def test_openmetrics_is_well_formed(meter: Meter) -> None:
    read: Any = text_string_to_metric_families
    families = list(read(text(populated(meter), OPENMETRICS)))
    assert len(families) >= len(CATALOG)


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_no_created_lines_are_exposed(meter: Meter, accept: str) -> None:
    assert "_created" not in text(populated(meter), accept)


def test_the_exposition_contains_its_own_cost() -> None:
    ticks = iter((0.0, 0.25, 1.0, 1.0))
    meter = Meter("pix", clock=lambda: next(ticks))
    first = meter.expose().body
    samples = parse(text(meter))
    assert list(where(samples, EXPOSITION_SECONDS.name)) == [({}, 0.25)]
    assert list(where(samples, EXPOSITION_LINES.name)) == [({}, first.count(b"\n"))]


def test_promtool_accepts_the_full_catalogue(meter: Meter) -> None:
    exposition = text(populated(meter))
    for metric in CATALOG:
        assert f"# TYPE {metric.full_name('pix')} {metric.kind}\n" in exposition
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_program_without_a_web_server_can_serve_its_metrics(meter: Meter) -> None:
    port = free_port()
    meter.set(QUEUE_DEPTH, value=7)
    stop = meter.serve(port)
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
        assert "pix_queue_depth 7.0" in answer.text
        assert "_created" not in answer.text
    finally:
        stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


# ── Many threads ─────────────────────────────────────────────────────────────────────────────────


def test_no_observation_of_a_summary_is_lost_between_threads(meter: Meter) -> None:
    def work(_: int) -> None:
        for number in range(2000):
            meter.observe(HTTP_REQUEST_BYTES, f"/{number % 5}", value=2)

    at_once(work)
    assert value(meter, HTTP_REQUEST_BYTES, "_count") == 16_000
    assert value(meter, HTTP_REQUEST_BYTES, "_sum") == 32_000


def test_no_count_is_lost_while_series_are_created_forgotten_and_exposed(meter: Meter) -> None:
    def work(thread: int) -> None:
        for number in range(300):
            meter.add(HTTP_REQUESTS, f"/{number}", "GET", "200")
            if thread == 0 and number % 50 == 0:
                meter.expose()
            if thread == 1:
                meter.set(GPU_TEMPERATURE, str(number % 20), value=1)
                meter.forget(GPU_TEMPERATURE, str(number % 20))

    at_once(work)
    assert value(meter, HTTP_REQUESTS) == 8 * 300
    assert len(series(meter, HTTP_REQUESTS)) <= HTTP_REQUESTS.series


def test_the_values_of_children_are_those_of_the_exposition() -> None:
    meter = Meter("ns")
    meter.add(REQUESTS, "/api/edit", "200", "other", "none")
    meter.observe(STEP_SECONDS, "1-5", value=0.03)
    meter.observe(HTTP_REQUEST_BYTES, "/api/edit", value=5.0)
    meter.set(QUEUE_DEPTH, value=3)

    values = {
        (
            metric.full_name("ns") + suffix,
            frozenset(
                {
                    **dict(zip(metric.label_names, labels, strict=True)),
                    **({"le": edge} if edge else {}),
                }.items()
            ),
        ): value
        for metric, labels, child in meter.children()
        for (suffix, edge), value in zip(parts(metric), current(metric, child), strict=True)
    }
    shown = parse(meter.expose().body.decode())

    assert len(values) > 15
    assert values.items() <= shown.items()
    assert {name for name, _ in shown} - {name for name, _ in values} <= {
        name for name, _ in shown if name.startswith(("process_", "safelight_exposition"))
    }

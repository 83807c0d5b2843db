"""The metrics that a real receiver of OTLP gets are those of `/metrics`."""

import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from safelight.metrics.catalog import (
    ASSESSMENT_SECONDS,
    CATALOG,
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    GPU_MEMORY_USED,
    HTTP_REQUESTS,
    REQUEST_SECONDS,
)
from safelight.metrics.metric import Across, Kind
from safelight.metrics.registry import Meter, Samples, parse
from safelight.metrics.series import Exemplar
from safelight.settings import Settings
from safelight.stories.replay import free_port
from safelight.telemetry.meter import service_meter
from safelight.telemetry.otlp_metrics import MetricsSender, NotTaken
from safelight.telemetry.otlp_points import unit_of
from tests.telemetry.receiver import (
    RECEIVERS,
    Receiver,
    http_receiver,
    metrics_of,
    resource_of,
    samples_of,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CHANGING = {EXPOSITION_SECONDS.name, EXPOSITION_LINES.name}
both = pytest.mark.parametrize("protocol", RECEIVERS)


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=RECEIVERS)
def receiver(request: pytest.FixtureRequest) -> Iterator[tuple[str, Receiver]]:
    with RECEIVERS[request.param]() as receiver:
        yield request.param, receiver


def settings(url: str, protocol: str = "http/protobuf", **choices: Any) -> Settings:
    return Settings(otlp_endpoint=url, otlp_protocol=protocol, otlp_metrics_seconds=60, **choices)


def fill(meter: Meter, amount: float = 1) -> None:
    """Use every metric of the catalogue, with exemplars where there can be some."""
    for place, metric in enumerate(CATALOG):
        labels = [(label.values or ("one",))[0] for label in metric.labels]
        series = meter.child(metric, *labels)
        if metric.across is Across.RECENT:
            series.peak(place + amount)
        elif metric.kind is Kind.GAUGE:
            series.set(place + amount)
        elif metric.kind is Kind.COUNTER:
            series.inc(amount, Exemplar(TRACE))
        else:
            series.observe(place / 10 * amount, Exemplar(TRACE))


def exposed(meter: Meter) -> Samples:
    """Return the text's values, without those of the process, which change meanwhile."""
    return constant(parse(meter.expose().body.decode()))


def constant(samples: Samples) -> Samples:
    kept = {key: value for key, value in samples.items() if key[0] not in CHANGING}
    return {key: value for key, value in kept.items() if not key[0].startswith("process_")}


def test_every_value_is_that_of_the_text(receiver: tuple[str, Receiver]) -> None:
    protocol, sink = receiver
    meter = service_meter("pix")
    fill(meter)
    MetricsSender(meter, settings(sink.url, protocol)).finish()

    [request] = sink.metrics
    assert constant(samples_of(request)) == exposed(meter)
    assert len(samples_of(request)) > 250
    process = {name for name, _ in samples_of(request) if name.startswith("process_")}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes"} <= process


def test_names_help_units_and_kinds_are_those_of_the_catalogue() -> None:
    meter = Meter("pix")
    fill(meter)
    with http_receiver() as sink:
        MetricsSender(meter, settings(sink.url)).finish()

    found = metrics_of(sink.metrics[0])
    kinds = {Kind.GAUGE: "gauge", Kind.COUNTER: "sum"}
    for metric in CATALOG:
        sent = found[metric.full_name("pix")]
        assert sent.description == metric.help
        assert sent.WhichOneof("data") == kinds.get(metric.kind, "histogram")
    assert found[HTTP_REQUESTS.name].sum.is_monotonic
    assert found[REQUEST_SECONDS.full_name("pix")].unit == "s"
    assert unit_of("a_ratio") == "1"
    assert unit_of("device_seconds_total") == "s"
    assert unit_of("queue_depth") == ""
    assert unit_of(GPU_MEMORY_USED.name) == "By"
    [point] = found[ASSESSMENT_SECONDS.full_name("pix")].histogram.data_points
    assert (list(point.bucket_counts), list(point.explicit_bounds)) == ([1], [])
    assert not point.HasField("min")
    assert not point.HasField("max")


def test_a_sending_says_who_sends_when_it_began_and_which_trace_is_an_example(clock: Clock) -> None:
    meter = Meter("pix", wall_clock=clock)
    labels = [(label.values or ("one",))[0] for label in REQUEST_SECONDS.labels]
    meter.observe(REQUEST_SECONDS, *labels, value=0.3, exemplar=Exemplar(TRACE))
    with http_receiver() as sink:
        sender = MetricsSender(meter, settings(sink.url), clock=clock)
        sender.finish()
        clock.now += 60
        sender.finish()

    first, second = sink.metrics
    resource = resource_of(first)
    assert resource == resource_of(second)
    assert resource["service.name"] == "pix"
    assert resource["service.version"]
    assert len(resource["service.instance.id"]) == 32
    [point] = metrics_of(first)[REQUEST_SECONDS.full_name("pix")].histogram.data_points
    [exemplar] = point.exemplars
    assert exemplar.trace_id.hex() == TRACE
    assert exemplar.as_double == 0.3
    assert point.start_time_unix_nano < point.time_unix_nano == 1_800_000_000 * 10**9
    [later] = metrics_of(second)[REQUEST_SECONDS.full_name("pix")].histogram.data_points
    assert later.start_time_unix_nano == point.start_time_unix_nano
    assert not later.exemplars, "it was sent already"


def test_deltas_sum_to_the_text_also_over_an_outage(
    receiver: tuple[str, Receiver], clock: Clock
) -> None:
    protocol, sink = receiver
    meter = Meter("pix", wall_clock=clock)
    sender = MetricsSender(
        meter, settings(sink.url, protocol, otlp_temporality="delta"), clock=clock
    )
    for round_number in range(5):
        clock.now += 60
        fill(meter, amount=round_number + 1)
        sink.status = 400 if round_number in (1, 2) else 200
        if sink.status == 200:
            sender.tick()
        else:
            with pytest.raises(NotTaken):
                sender.tick()

    assert (len(sink.metrics), sink.refused) == (3, 2)
    sums, gauges = Counter[Any](), set()
    for request in sink.metrics:
        for name, metric in metrics_of(request).items():
            data = getattr(metric, metric.WhichOneof("data") or "")
            if metric.WhichOneof("data") == "gauge":
                gauges.add(name)
            else:
                delta = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
                assert data.aggregation_temporality == delta
        sums.update(samples_of(request))
    text = {key: value for key, value in exposed(meter).items() if key[0] not in gauges}
    assert len(text) > 250
    assert {key: sums[key] for key in text} == pytest.approx(text)
    times = [
        (point.start_time_unix_nano, point.time_unix_nano)
        for request in sink.metrics
        for point in metrics_of(request)[HTTP_REQUESTS.name].sum.data_points
    ]
    assert [begin for begin, _ in times[1:]] == [end for _, end in times[:-1]]


def test_a_delta_of_a_series_that_began_again_is_its_value(clock: Clock) -> None:
    meter = Meter("pix", wall_clock=clock)
    with http_receiver() as sink:
        sender = MetricsSender(meter, settings(sink.url, otlp_temporality="delta"), clock=clock)
        meter.add(HTTP_REQUESTS, "/", "GET", "200", amount=5)
        sender.finish()
        meter.forget(HTTP_REQUESTS)
        meter.add(HTTP_REQUESTS, "/", "GET", "200", amount=2)
        sender.finish()

    values = [
        point.as_double
        for request in sink.metrics
        for point in metrics_of(request)[HTTP_REQUESTS.name].sum.data_points
    ]
    assert values == [5, 2]


def test_a_tick_sends_at_most_once_an_interval(clock: Clock) -> None:
    with http_receiver() as sink:
        sender = MetricsSender(Meter("pix"), settings(sink.url), clock=clock)
        sender.tick()
        clock.now += 30
        sender.tick()
        assert sink.metrics == []
        clock.now += 30
        sender.tick()
        sender.tick()
        assert len(sink.metrics) == 1


@both
@pytest.mark.parametrize("status", [400, 500])
def test_an_outage_is_one_warning_with_its_reason_one_line_at_its_end_and_none_of_the_client(
    protocol: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with RECEIVERS[protocol]() as sink, caplog.at_level(logging.DEBUG):
        sender = MetricsSender(Meter("pix"), settings(sink.url, protocol))
        for each in (200, status, status, 200, status):
            sink.status = each
            with nullcontext() if each == 200 else pytest.raises(NotTaken, match="Failed to exp"):
                sender.finish()
    lines = [each for each in caplog.records if each.name.startswith(("safelight", "opentele"))]
    lost, again, lost_again = (str(each.msg) for each in lines)
    assert "metrics cannot be sent" in lost
    assert "Failed to export" in lost
    assert "metrics are sent again" in again
    assert "Failed to export" in lost_again, "the client passes no text twice"
    assert not any(each.exc_info for each in lines)
    caplog.clear()
    other = f"of another client, {protocol} {status}"  # the logger passes no text twice
    logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").error(other)
    assert [each.message for each in caplog.records] == [other]


@both
@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES"])
def test_a_malformed_variable_is_named_once_and_never_quoted(
    protocol: str, variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, "Authorization: Bearer SECRET")
    with RECEIVERS[protocol]() as sink, caplog.at_level(logging.DEBUG):
        sender = MetricsSender(Meter("pix"), settings(sink.url, protocol))
        for status in (200, 200, 400):
            sink.status = status
            with nullcontext() if status == 200 else pytest.raises(NotTaken):
                sender.finish()
    assert "SECRET" not in caplog.text
    assert caplog.text.count("malformed") == caplog.text.count(variable) == 1


def test_a_header_that_cannot_be_sent_is_not_in_the_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20SECRET%0A")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=b%0ASECRET")
    with http_receiver() as sink, caplog.at_level(logging.DEBUG):
        sender = MetricsSender(Meter("pix"), settings(sink.url))
        with pytest.raises(NotTaken, match="header value"):
            sender.finish()
    assert "SECRET" not in caplog.text


@both
def test_the_reason_of_an_absent_receiver_is_bounded_and_keeps_its_end(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    sender = MetricsSender(Meter("pix"), settings(f"http://127.0.0.1:{free_port()}", protocol))
    with pytest.raises(NotTaken, match="Connection refused") as found:
        sender.finish()
    assert len(str(found.value)) <= 300
    assert "Connection refused" in caplog.text


@both
def test_a_receiver_that_never_answers_is_left_after_two_seconds(protocol: str) -> None:
    with RECEIVERS[protocol]() as sink:
        sink.answering.clear()
        sender = MetricsSender(Meter("pix"), settings(sink.url, protocol))
        with pytest.raises(NotTaken):
            sender.finish()
        sink.answering.set()


def test_nothing_of_opentelemetry_is_imported_while_it_is_off(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, safelight\n"
        "from fastapi import FastAPI\n"
        "safelight.watch(app=FastAPI()).unwatch()\n"
        "from safelight.serving import app\n"
        "loaded = sys.modules.keys()\n"
        "print(*(n for n in loaded if n.startswith(('opentelemetry.exporter', 'grpc'))))\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "\n", done.stderr

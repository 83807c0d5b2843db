"""Traces as real receivers get them, by HTTP and gRPC."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from safelight.metrics.catalog import STAGES, TRACES
from safelight.metrics.registry import Meter
from safelight.settings import load
from safelight.telemetry.meter import metrics_sink
from safelight.telemetry.record import Record, new_id
from safelight.telemetry.trace_context import TraceContext, current_trace
from safelight.telemetry.traces import CAPACITY, UNDECIDED_SECONDS, Traces
from tests.reading import OPENMETRICS, FakeClock, text, value
from tests.telemetry.received import resource_of, roots, spans_of
from tests.telemetry.receiver import RECEIVERS, Receiver, http_receiver
from tests.telemetry.test_spans import CALL, ENDED, PARTS, kept

CONTEXT = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
NOBODY = "http://127.0.0.1:9"


def request(**facts: object) -> Record:
    """Return a request that is not decided on."""
    return replace(kept(**facts), kept="", trace_id="", span_id="")  # type: ignore[arg-type]


def failed(**facts: object) -> Record:
    return replace(request(**facts), status_code=500, error="cuda_oom")


class Sending:
    """Traces that are sent when the test says so, to a receiver."""

    def __init__(self, url: str, *, protocol: str = "http/protobuf", ratio: float = 0.0) -> None:
        settings = load(
            namespace="pix", otlp_endpoint=url, otlp_protocol=protocol, trace_ratio=ratio
        )
        self.meter = Meter("pix")
        self.clock = FakeClock(100.0)
        self.traces = Traces(settings, self.meter, clock=self.clock, wall_clock=lambda: ENDED)
        self.traces._start = lambda: None  # type: ignore[method-assign]

    def all(self, *, is_end: bool = False) -> None:
        """Send everything."""
        while self.traces.step(is_end=is_end):
            pass

    def count(self, outcome: str) -> float:
        return value(self.meter, TRACES, outcome=outcome)


@contextmanager
def sending(receiver: Receiver, **options: Any) -> Iterator[Sending]:
    made = Sending(receiver.url, **options)
    try:
        yield made
    finally:
        made.traces._sender.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as running:
        yield running


@pytest.mark.parametrize("protocol", RECEIVERS)
def test_a_real_receiver_gets_the_spans_of_a_kept_request(protocol: str) -> None:
    with RECEIVERS[protocol]() as receiver, sending(receiver, protocol=protocol) as sent:
        record = sent.traces.decided(failed())
        sent.all()
    root = roots(receiver)[record.facts.id]
    assert root.trace_id.hex() == record.trace_id == record.facts.id
    assert root.span_id.hex() == record.span_id
    assert (root.name, root.kind, root.status.code) == ("POST /api/edit", 2, 2)
    assert root.end_time_unix_nano == ENDED
    assert {span.trace_id.hex() for span in spans_of(receiver)} == {record.trace_id}
    assert (sent.count("sent"), sent.count("lost")) == (1, 0)


def test_the_resource_names_the_service(receiver: Receiver) -> None:
    with sending(receiver) as sent:
        sent.traces.decided(failed())
        sent.all()
    names = resource_of(receiver)
    assert names["service.name"] == "pix"
    assert names["service.version"]
    assert names["service.instance.id"]


def test_the_users_own_variables_name_the_service(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "studio")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    with sending(receiver) as sent:
        sent.traces.decided(failed())
        sent.all()
    names = resource_of(receiver)
    assert names["service.name"] == "studio"
    assert names["deployment.environment.name"] == "staging"


def test_only_traces_that_are_kept_are_sent(receiver: Receiver) -> None:
    with sending(receiver) as sent:
        ordinary, bad = sent.traces.decided(request()), sent.traces.decided(failed())
        sent.all()
    assert (ordinary.kept, ordinary.trace_id) == ("", "")
    assert set(roots(receiver)) == {bad.facts.id}


def test_a_bad_rating_keeps_a_trace_that_waits(receiver: Receiver) -> None:
    with sending(receiver) as sent:
        record = sent.traces.decided(request())
        assert sent.traces.keep(record.facts.id)
        sent.all()
    (root,) = roots(receiver).values()
    assert root.trace_id.hex() == record.facts.id
    assert not sent.traces.keep(record.facts.id)


def test_a_trace_waits_some_minutes_for_its_rating(receiver: Receiver) -> None:
    with sending(receiver) as sent:
        early = sent.traces.decided(request())
        sent.clock.now += 1
        assert early.facts.id in sent.traces._undecided
        sent.clock.now += UNDECIDED_SECONDS + 1
        late = sent.traces.decided(request())
        assert not sent.traces.keep(early.facts.id)
        assert sent.traces.keep(late.facts.id)


def test_the_number_of_traces_that_wait_for_ratings_is_bounded(receiver: Receiver) -> None:
    with sending(receiver) as sent:
        first = sent.traces.decided(request())
        for _ in range(CAPACITY):
            sent.clock.now += 0.1
            sent.traces.decided(request())
        assert not sent.traces.keep(first.facts.id)
        assert len(sent.traces._undecided) == CAPACITY


def test_of_very_many_requests_only_some_wait_for_a_rating(receiver: Receiver) -> None:
    with sending(receiver) as sent:
        for _ in range(3000):
            sent.clock.now += 1 / 3000
            sent.traces.decided(request())
        assert 18 <= len(sent.traces._undecided) <= 21


def test_a_deleted_request_has_no_trace(receiver: Receiver) -> None:
    with sending(receiver) as sent:
        waiting, bad = sent.traces.decided(request()), sent.traces.decided(failed())
        for each in (waiting, bad):
            sent.traces.forget(each.facts.id)
        assert not sent.traces.keep(waiting.facts.id)
        sent.all()
    assert not receiver.traces


def test_under_load_traces_are_dropped_and_counted_and_have_no_exemplar() -> None:
    sent = Sending(NOBODY)
    for _ in range(CAPACITY):
        sent.clock.now += 1
        assert sent.traces.decided(failed()).trace_id
    dropped = sent.traces.decided(failed())
    assert (dropped.kept, dropped.trace_id, sent.count("lost")) == ("", "", 1)


def test_the_state_of_the_callers_trace_is_passed_on(receiver: Receiver) -> None:
    with sending(receiver) as sent:
        sent.traces.decided(request(trace=replace(CONTEXT, state="vendor=1,other=2")))
        sent.all()
    (root,) = roots(receiver).values()
    assert root.trace_id.hex() == CONTEXT.trace_id
    assert root.parent_span_id.hex() == CONTEXT.span_id
    assert root.trace_state == "vendor=1,other=2"


@pytest.mark.parametrize("state", ["=", ",,,", "a" * 512, "a=\x1b[31m", "é=1", "a=1,a=2"])
def test_a_hostile_state_harms_no_trace(receiver: Receiver, state: str) -> None:
    with sending(receiver) as sent:
        sent.traces.decided(request(trace=replace(CONTEXT, state=state)))
        sent.all()
    assert len(roots(receiver)) == 1


def test_a_batch_has_one_span_that_is_linked_to_its_requests(receiver: Receiver) -> None:
    call = replace(CALL, batch=2, batch_id=new_id())
    with sending(receiver) as sent:
        members = [
            sent.traces.decided(replace(failed(), facts=replace(kept(PARTS, call).facts)))
            for _ in range(2)
        ]
        sent.all()
        sent.all()
    (batch,) = [span for span in spans_of(receiver) if span.name == "batch"]
    assert batch.trace_id.hex() == call.batch_id
    assert {link.trace_id.hex() for link in batch.links} == {each.trace_id for each in members}
    calls = [span for span in spans_of(receiver) if span.name == "generate_content demo"]
    links = [(link.trace_id, link.span_id) for span in calls for link in span.links]
    assert links == [(batch.trace_id, batch.span_id)] * 2
    assert sent.count("sent") == 2


@pytest.mark.parametrize("protocol", RECEIVERS)
def test_a_receiver_that_refuses_loses_traces_which_are_counted(protocol: str) -> None:
    with RECEIVERS[protocol]() as receiver, sending(receiver, protocol=protocol) as sent:
        receiver.status = 400
        sent.traces.decided(failed())
        sent.all()
        receiver.status = 200
        later = sent.traces.decided(failed())
        sent.all()
    assert (sent.count("sent"), sent.count("lost")) == (1, 1)
    assert set(roots(receiver)) == {later.facts.id}


def test_the_log_tells_an_outage_and_its_end_once(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with sending(receiver) as sent:
        for status in (400, 400, 200, 200):
            receiver.status = status
            sent.traces.decided(failed())
            sent.all()
    said = caplog.text
    assert said.count("traces cannot be sent") == 1
    assert said.count("traces are sent again") == 1
    assert "400" in said


def test_what_waits_is_sent_at_the_end(receiver: Receiver) -> None:
    meter = Meter("pix")
    traces = Traces(load(otlp_endpoint=receiver.url, trace_ratio=1), meter)
    sent = [traces.decided(request()) for _ in range(100)]
    traces.stop(20.0)
    assert set(roots(receiver)) == {each.facts.id for each in sent}
    assert value(meter, TRACES, outcome="sent") == 100


def test_a_receiver_that_is_silent_does_not_hold_up_the_end(receiver: Receiver) -> None:
    receiver.answering.clear()
    meter = Meter("pix")
    traces = Traces(load(otlp_endpoint=receiver.url), meter)
    for _ in range(40):
        traces.decided(failed())
    traces.stop(1.0)
    receiver.answering.set()
    assert value(meter, TRACES, outcome="lost") > 0


def test_traces_go_on_after_a_stop(receiver: Receiver) -> None:
    traces = Traces(load(otlp_endpoint=receiver.url), Meter("pix"))
    for _ in range(2):
        traces.decided(failed())
        traces.stop(20.0)
    assert len(roots(receiver)) == 2


def random_request(chance: Random) -> Record:
    stages = [(stage, chance.expovariate(3)) for stage in chance.choices(STAGES, k=12)]
    record = request(given=tuple(stages), degraded=("steps",) * chance.choice((0, 0, 0, 1)))
    is_failure = chance.random() < 0.02
    return replace(record, status_code=500, error="cuda_oom") if is_failure else record


def test_every_exemplar_of_ten_thousand_requests_leads_to_a_trace_that_arrived(
    receiver: Receiver,
) -> None:
    chance = Random(20261201)
    seconds: dict[str, float] = {}
    with sending(receiver, ratio=0.05) as sent:
        write = metrics_sink(sent.meter)
        for number in range(10_000):
            sent.clock.now += 0.005  # 200 requests a second
            record = sent.traces.decided(random_request(chance))
            write(record)
            seconds[record.facts.id] = record.seconds
            if number % 500 == 0:
                sent.all()
        sent.all()
        page = text(sent.meter, OPENMETRICS)
    exemplars = set(re.findall(r'# {request_id="(\w+)",trace_id="(\w+)"}', page))
    assert len(exemplars) > 50
    assert sent.count("lost") == 0
    arrived, spans = roots(receiver), defaultdict(list)
    for span in spans_of(receiver):
        if span.name in STAGES:
            spans[span.trace_id.hex()].append(span.end_time_unix_nano - span.start_time_unix_nano)
    assert sent.count("sent") == len(arrived)
    for request_id, trace_id in exemplars:
        assert arrived[request_id].trace_id.hex() == trace_id
        assert abs(sum(spans[trace_id]) / 1e9 - seconds[request_id]) < 0.001


WATCHED = """
import gc
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import safelight

memory, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
app = FastAPI()


@app.post("/tag")
def tag():
    with safelight.inference("tagger"):
        sum(range(100_000))
    return {}


class Traced:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        with trace.get_tracer("studio").start_as_current_span("server"):
            await self.app(scope, receive, send)


app.add_middleware(Traced)
with safelight.watch(app=app):
    assert TestClient(app).post("/tag").status_code == 200
for span in memory.get_finished_spans():
    parent = span.parent.span_id if span.parent else 0
    print(span.name, format(span.context.trace_id, "x"), span.context.span_id, parent, sep="|")
"""


def test_a_watched_service_gets_our_spans_inside_its_own_through_its_own_provider() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spans = {line.split("|")[0]: line.split("|")[1:] for line in done.stdout.splitlines()}
    assert {trace_id for trace_id, *_ in spans.values()} == {spans["server"][0]}
    assert spans["POST /tag"][2] == spans["server"][1]
    assert spans["predict tagger"][2] == spans["POST /tag"][1]
    assert spans["predict"][2] == spans["predict tagger"][1]


@pytest.mark.parametrize(
    "odd",
    [
        {"seed": 10**30},
        {"instruction_type": "lone \udc80"},
        {"calls": (replace(CALL, steps_asked=2**64 - 1),)},
    ],
)
def test_an_odd_request_is_lost_alone(receiver: Receiver, odd: dict[str, Any]) -> None:
    with sending(receiver) as sent:
        before = sent.traces.decided(failed())
        given = failed()
        sent.traces.decided(replace(given, facts=replace(given.facts, **odd)))
        after = sent.traces.decided(failed())
        sent.all()
    assert {before.facts.id, after.facts.id} <= roots(receiver).keys()
    assert sent.count("sent") + sent.count("lost") == 3


@pytest.mark.parametrize("protocol", RECEIVERS)
def test_a_process_that_was_killed_is_replaced_and_loses_nothing(protocol: str) -> None:
    with RECEIVERS[protocol]() as receiver, sending(receiver, protocol=protocol) as sent:
        sent.traces.decided(failed())
        sent.all()
        helper = sent.traces._sender._helper
        assert helper is not None
        helper.kill()
        later = sent.traces.decided(failed())
        sent.all()
    assert later.facts.id in roots(receiver)
    assert (sent.count("sent"), sent.count("lost")) == (2, 0)


def test_a_span_ends_with_the_last_byte_and_not_with_a_background_task(receiver: Receiver) -> None:
    settings = load(otlp_endpoint=receiver.url)
    traces = Traces(settings, Meter("pix"), timer=lambda: 12.5, wall_clock=lambda: ENDED)
    record = traces.decided(replace(failed(), ended=10.0))
    traces.stop(20.0)
    assert roots(receiver)[record.facts.id].end_time_unix_nano == ENDED - 2_500_000_000


def test_a_tracer_that_fails_ends_no_thread_and_is_counted() -> None:
    sent = Sending("")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("opentelemetry.trace.get_tracer", lambda *_: None)
        sent.traces.decided(failed(trace=replace(CONTEXT, is_local=True)))
        sent.all()
    sent.traces.decided(failed(trace=replace(CONTEXT, is_local=True)))
    sent.all()
    assert (sent.count("sent"), sent.count("lost")) == (1, 1)


def test_traces_that_are_closed_are_forgotten() -> None:
    meter = Meter("pix")
    for _ in range(20):
        Traces(load(), meter).close()
    assert meter.membership._before_leave == []


def test_a_forked_process_sends_its_own_traces_only(receiver: Receiver) -> None:
    traces = Traces(load(otlp_endpoint=receiver.url), Meter("pix"))
    traces.decided(failed())
    child = os.fork()
    if not child:
        traces.decided(failed())
        traces.stop(20.0)
        os._exit(0)
    os.waitpid(child, 0)
    traces.stop(20.0)
    assert len(roots(receiver)) == 2


def test_without_a_receiver_nothing_is_sent_and_nothing_is_counted() -> None:
    traces = Traces(load(trace_ratio=1), Meter("pix"))
    assert traces.decided(request()).kept == "share"
    assert traces._thread is None
    assert not traces.keep("one")


def test_the_applications_own_tracer_gets_the_spans_inside_its_current_span() -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("studio")
    sent = Sending("")
    with tracer.start_as_current_span("handler") as outer:
        context = current_trace()
    record = sent.traces.decided(failed(trace=context, retries=(("worker_lost", 0.1),)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("opentelemetry.trace.get_tracer", provider.get_tracer)
        sent.all()
    spans: dict[str, Any] = {span.name: span for span in memory.get_finished_spans()}
    trace_id = outer.get_span_context().trace_id
    assert format(trace_id, "032x") == record.trace_id
    assert {span.context.trace_id for span in spans.values()} == {trace_id}
    request_span = spans["POST /api/edit"]
    assert request_span.parent.span_id == outer.get_span_context().span_id
    assert spans["denoise"].parent.span_id == spans["generate_content demo"].context.span_id
    assert request_span.events[0].name == "retry"
    assert request_span.attributes["error.type"] == "cuda_oom"

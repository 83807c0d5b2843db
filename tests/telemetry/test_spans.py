from dataclasses import replace
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from safelight.metrics.catalog import STAGES
from safelight.telemetry.record import PipelineCall, Record, new_id
from safelight.telemetry.spans import Place, Span, batch_place, batch_span, spans_of
from safelight.telemetry.timeline import summed
from safelight.telemetry.trace_context import TraceContext
from tests.records.making import PROMPT, a_record

ENDED = 1_790_000_000_000_000_000
PARTS = (
    ("receive", 0.1), ("validate", 0.05), ("queue", 0.2), ("transfer", 0.01), ("queue", 0.02),
    ("decode", 0.03), ("queue", 0.3), ("encode_prompt", 0.1), ("encode_image", 0.1),
    ("denoise", 2.0), ("decode_latents", 0.2), ("check", 0.01), ("encode", 0.05),
    ("transfer", 0.01), ("respond", 0.02),
)  # fmt: skip
CALL = PipelineCall(
    "Pix", model="demo", step_seconds=(0.1,) * 20, steps_asked=20, images=((64, 48),)
)
parts = st.lists(st.tuples(st.sampled_from(STAGES), st.floats(0, 100)), max_size=60)


def kept(
    given: tuple[tuple[str, float], ...] = PARTS, *calls: PipelineCall, **facts: object
) -> Record:
    plain = a_record(new_id())
    seconds = sum(each for _, each in given)
    own = replace(plain.facts, calls=calls or (CALL,), **facts)  # type: ignore[arg-type]
    return replace(
        plain,
        facts=own,
        parts=given,
        stages=summed(given),
        seconds=seconds,
        method="POST",
        kept="share",
        trace_id=own.id,
        span_id=own.id[16:],
    )


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def children(spans: list[Span], parent: Span) -> list[Span]:
    return [span for span in spans if span.parent == parent.place]


def seconds(span: Span) -> float:
    return (span.end - span.start) / 1e9


def test_the_first_span_is_the_request() -> None:
    record = kept()
    request = spans_of(record, ENDED)[0]
    assert request.name == "POST /api/edit"
    assert request.place == Place(int(record.facts.id, 16), int(record.facts.id[16:], 16))
    assert (request.parent, request.is_server, request.error) == (None, True, "")
    assert (request.end, isclose(seconds(request), record.seconds)) == (ENDED, True)
    assert request.attributes["http.route"] == "/api/edit"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["safelight.request.id"] == record.facts.id


def test_the_stages_are_in_their_order_and_the_models_are_inside_its_call() -> None:
    spans = spans_of(kept(), ENDED)
    outside = [span.name for span in children(spans, spans[0])]
    assert outside == [
        "receive", "validate", "queue", "transfer", "queue", "decode", "queue",
        "generate_content demo", "check", "encode", "transfer", "respond",
    ]  # fmt: skip
    (call,) = named(spans, "generate_content demo")
    inside = [span.name for span in children(spans, call)]
    assert inside == ["encode_prompt", "encode_image", "denoise", "decode_latents"]
    assert call.attributes["gen_ai.operation.name"] == "generate_content"
    assert call.attributes["gen_ai.output.type"] == "image"
    assert call.attributes["gen_ai.request.model"] == "demo"
    assert call.attributes["gen_ai.request.seed"] == 7
    assert call.attributes["safelight.steps"] == 20


def test_the_steps_are_inside_the_denoising() -> None:
    spans = spans_of(kept(), ENDED)
    (denoise,) = named(spans, "denoise")
    steps = children(spans, denoise)
    assert [span.name for span in steps] == [
        *(f"steps {first} to {first + 2}" for first in range(1, 19, 3)), "steps 19 to 20"
    ]  # fmt: skip
    assert denoise.start == steps[0].start
    assert steps[-1].end <= denoise.end


def test_a_few_steps_have_a_span_each() -> None:
    spans = spans_of(kept(PARTS, replace(CALL, step_seconds=(0.1, 0.2))), ENDED)
    assert named(spans, "step 1")
    assert isclose(seconds(named(spans, "step 2")[0]), 0.2)


@given(parts, st.lists(st.floats(0, 200), max_size=60))
def test_every_span_is_inside_its_parent_and_the_stages_sum_to_the_request(
    given: list[tuple[str, float]], steps: list[float]
) -> None:
    record = kept(tuple(given), replace(CALL, step_seconds=tuple(steps)))
    spans = spans_of(record, ENDED)
    places = {span.place: span for span in spans}
    assert len(places) == len(spans)
    for span in spans[1:]:
        assert span.parent is not None
        parent = places[span.parent]
        assert parent.start - 1 <= span.start <= span.end <= parent.end + 1
        assert list(places).index(span.parent) < list(places).index(span.place)
    stages = [span for span in spans if span.name in STAGES]
    assert isclose(sum(map(seconds, stages)), record.seconds, abs_tol=0.001)


def test_each_call_of_a_request_has_a_span() -> None:
    twice = (("receive", 0.1), ("denoise", 1.0), ("receive", 0.1), ("denoise", 2.0))
    other = replace(CALL, model="other")
    spans = spans_of(kept(twice, CALL, other), ENDED)
    assert [seconds(named(spans, f"generate_content {name}")[0]) for name in ("demo", "other")] == [
        1.0,
        2.0,
    ]


def test_the_spans_of_a_stream_of_many_calls_are_bounded() -> None:
    long = (("receive", 0.1), ("predict", 0.1)) * 2000
    spans = spans_of(kept(long, *[PipelineCall("Tagger")] * 256), ENDED)
    assert len(spans) <= 400
    assert spans[-1].end == ENDED


def test_a_failed_request_says_why_and_a_mistake_of_its_caller_is_no_failure() -> None:
    failed = spans_of(replace(kept(), status_code=500, error="cuda_oom"), ENDED)[0]
    mistaken = spans_of(replace(kept(), status_code=422, error="invalid_image"), ENDED)[0]
    assert (failed.error, failed.is_failure) == ("cuda_oom", True)
    assert (mistaken.error, mistaken.is_failure) == ("invalid_image", False)


def test_an_attempt_whose_worker_was_lost_has_no_call_and_no_steps() -> None:
    twice = (("queue", 0.1), ("denoise", 0.7), ("queue", 0.1), *PARTS[7:])
    call = replace(CALL, batch=2, batch_id=new_id())
    spans = spans_of(kept(twice, call, retries=(("worker_lost", 0.8),)), ENDED)
    lost, made = named(spans, "generate_content demo")
    assert (lost.error, lost.is_failure, lost.links) == ("worker_lost", True, [])
    assert (made.error, made.links) == ("", [batch_place(call.batch_id)])
    first, second = named(spans, "denoise")
    assert children(spans, first) == []
    assert len(children(spans, second)) == 7
    assert batch_span(call, spans).start == made.start


def test_an_attempt_whose_image_was_broken_has_its_own_call() -> None:
    twice = (("denoise", 0.7), ("queue", 0.1), ("denoise", 0.7))
    broken = replace(CALL, model="first", error="none")
    spans = spans_of(kept(twice, broken, CALL, retries=(("invalid_output", 0.7),)), ENDED)
    assert named(spans, "generate_content first")
    assert named(spans, "generate_content demo")


def test_a_number_that_no_span_can_hold_is_bounded() -> None:
    (call,) = named(
        spans_of(kept(PARTS, replace(CALL, steps_asked=10**30), seed=10**30), ENDED),
        "generate_content demo",
    )
    assert call.attributes["safelight.steps_asked"] == 2**63 - 1
    assert call.attributes["gen_ai.request.seed"] == 2**63 - 1


def test_a_retry_is_an_event_with_its_cause() -> None:
    request = spans_of(kept(retries=(("worker_lost", 0.5),)), ENDED)[0]
    ((name, at, attributes),) = request.events
    assert (name, attributes) == ("retry", {"error.type": "worker_lost"})
    assert at == request.start + 500_000_000


def test_a_request_that_came_in_a_trace_is_inside_the_span_of_its_caller() -> None:
    context = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
    record = replace(kept(trace=context), trace_id=context.trace_id)
    spans = spans_of(record, ENDED)
    assert spans[0].parent == Place(int(context.trace_id, 16), int(context.span_id, 16))
    assert {span.place.trace_id for span in spans} == {int(context.trace_id, 16)}


def test_a_call_in_a_batch_is_linked_to_the_batch() -> None:
    name = new_id()
    call = replace(CALL, batch=3, batch_id=name)
    spans = spans_of(kept(PARTS, call), ENDED)
    (own,) = named(spans, "generate_content demo")
    batch = batch_span(call, spans)
    assert own.links == [batch_place(name)] == [batch.place]
    assert (batch.start, batch.end) == (own.start, own.end)
    assert batch.attributes["safelight.batch.size"] == 3


def test_no_span_has_text_of_the_caller() -> None:
    spans = spans_of(kept(), ENDED)
    assert PROMPT not in repr(spans)
    assert a_record().facts.owner not in repr(spans)
    odd = replace(kept(), method='GET" evil')
    assert spans_of(odd, ENDED)[0].attributes["http.request.method"] == "_OTHER"

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from safelight.telemetry.record import PipelineCall, Record, new_id
from safelight.telemetry.sampling import Keeper, SlowestPercent, Why
from safelight.telemetry.trace_context import TraceContext
from tests.reading import FakeClock
from tests.records.making import a_record

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = TraceContext(TRACE, SPAN, sampled=True)
NOT_SAMPLED = replace(SAMPLED, sampled=False)
LOCAL = replace(SAMPLED, is_local=True)


def record(*, trace: TraceContext | None = None, seconds: float = 1.0, **facts: object) -> Record:
    plain = replace(a_record(new_id()), trace_id="", seconds=seconds)
    return replace(plain, facts=replace(plain.facts, trace=trace, **facts))  # type: ignore[arg-type]


def failed(status: int = 500) -> Record:
    return replace(record(), status_code=status, error="cuda_oom")


def keeper(ratio: float = 0.0, *, exports: bool = True) -> Keeper:
    return Keeper(ratio, exports=exports, clock=FakeClock(1.0))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (record(), ""),
        (record(trace=SAMPLED), "sampled"),
        (record(trace=NOT_SAMPLED), ""),
        (failed(), "failed"),
        (failed(422), "failed"),
        (record(degraded=("steps",)), "degraded"),
        (record(retries=(("invalid_output", 0.5),)), "retried"),
    ],
)
def test_what_is_worth_a_look_is_kept(given: Record, why: Why) -> None:
    assert keeper().decided(given).kept == why


def test_a_request_that_is_slower_than_the_slowest_percent_of_its_kind_is_kept() -> None:
    chosen = keeper()
    for number in range(1000):
        chosen.decided(record(seconds=1.0 + number % 10 / 100))
    assert chosen.decided(record(seconds=1.02)).kept == ""
    assert chosen.decided(record(seconds=2.0)).kept == "slow"


def test_a_kind_that_is_usually_slow_is_judged_by_itself() -> None:
    chosen, slow = keeper(), PipelineCall("Pix", steps_asked=50, images=((64, 48),))
    for _ in range(200):
        chosen.decided(record(seconds=1.0))
        chosen.decided(record(seconds=9.0, calls=(slow,)))
    assert chosen.decided(record(seconds=9.0, calls=(slow,))).kept == ""
    assert chosen.decided(record(seconds=9.0)).kept == "slow"


def test_nothing_is_slow_before_enough_is_known() -> None:
    chosen = keeper()
    for _ in range(99):
        chosen.decided(record(seconds=1.0))
    assert chosen.decided(record(seconds=100.0)).kept == ""


def test_refusals_do_not_make_ordinary_requests_slow() -> None:
    chosen = keeper()
    for _ in range(300):
        chosen.decided(replace(failed(503), seconds=0.001))
    assert chosen.decided(record(seconds=1.0)).kept == ""


@given(st.floats(0, 1), st.integers(1, 2**128 - 1))
def test_the_share_is_that_of_opentelemetry(ratio: float, number: int) -> None:
    name = f"{number:032x}"
    ours = bool(keeper(ratio).reason(record(id=name)))
    theirs = TraceIdRatioBased(ratio).should_sample(None, number, "request").decision
    if number >> 64 > 0 and number % 2**64 > 0:  # both halves of an id are used
        assert ours == (theirs is Decision.RECORD_AND_SAMPLE)


def test_the_share_of_many_requests_is_kept() -> None:
    chosen = keeper(0.05)
    kept = sum(bool(chosen.reason(record())) for _ in range(4000))
    assert 0.03 < kept / 4000 < 0.07


def test_a_trace_that_begins_here_has_the_id_of_its_request() -> None:
    kept = keeper(1).decided(record())
    assert (kept.trace_id, kept.span_id) == (kept.facts.id, kept.facts.id[16:])


def test_a_trace_that_began_elsewhere_keeps_its_id() -> None:
    kept = keeper().decided(record(trace=SAMPLED))
    assert (kept.trace_id, kept.span_id) == (TRACE, kept.facts.id[16:])


def test_a_failed_request_joins_a_trace_that_its_caller_does_not_sample() -> None:
    kept = keeper().decided(replace(failed(), facts=record(trace=NOT_SAMPLED).facts))
    assert (kept.kept, kept.trace_id) == ("failed", TRACE)


def test_without_a_receiver_only_the_traces_of_callers_are_known() -> None:
    alone = keeper(1, exports=False)
    ours, theirs = alone.decided(record()), alone.decided(record(trace=SAMPLED))
    assert (ours.kept, ours.trace_id, ours.span_id) == ("share", "", "")
    assert (theirs.kept, theirs.trace_id, theirs.span_id) == ("sampled", TRACE, "")
    assert alone.decided(failed()).trace_id == ""


def test_without_a_receiver_a_tracer_of_the_application_gets_the_spans() -> None:
    kept = keeper(exports=False).decided(record(trace=LOCAL))
    assert (kept.trace_id, kept.span_id) == (TRACE, kept.facts.id[16:])


@pytest.mark.parametrize("odd", ["", "one", "0" * 32, "f" * 16 + "0" * 16, "F" * 32])
def test_an_id_that_is_no_trace_id_begins_no_trace(odd: str) -> None:
    kept = keeper(1).decided(replace(failed(), facts=record(id=odd).facts))
    assert (kept.kept, kept.trace_id, kept.span_id) == ("failed", "", "")


def test_a_flood_of_failures_is_not_kept_whole() -> None:
    clock = FakeClock(1.0)
    flooded = Keeper(0, exports=True, clock=clock)
    kept = sum(bool(flooded.decided(failed()).kept) for _ in range(2000))
    clock.now = 2.0
    assert kept == 250
    assert flooded.decided(failed()).kept == "failed"


def test_callers_who_sample_everything_do_not_crowd_out_failures() -> None:
    flooded = keeper()
    for _ in range(1000):
        flooded.decided(record(trace=SAMPLED))
    assert flooded.decided(record(trace=SAMPLED)).kept == ""
    assert flooded.decided(failed()).kept == "failed"


def test_an_application_that_samples_nothing_gets_no_spans() -> None:
    off = replace(LOCAL, sampled=False)
    kept = keeper().decided(replace(failed(), facts=record(trace=off).facts))
    assert (kept.kept, kept.trace_id, kept.span_id) == ("failed", "", "")


def test_the_number_of_kinds_is_bounded() -> None:
    chosen = keeper()
    for number in range(1000):
        chosen.decided(record(instruction_type=f"kind {number}"))
    assert len(chosen._kinds) <= 256


@given(st.lists(st.floats(1e-4, 1e3), min_size=100, max_size=300), st.floats(1e-4, 1e3))
def test_the_slowest_percent_is_exact_to_a_bucket(times: list[float], last: float) -> None:
    times += times[: -len(times) % 50]
    percent = SlowestPercent()
    for seconds in times:
        percent.judge(seconds)
    exact = sorted(times, reverse=True)[int(len(times) * 0.01)]
    if last > exact * 1.06:
        assert percent.judge(last)
    if last < exact:
        assert not percent.judge(last)


def test_what_is_slow_follows_the_last_requests() -> None:
    percent = SlowestPercent()
    for _ in range(20_000):
        percent.judge(10.0)
    assert not percent.judge(5.0)
    for _ in range(40_000):
        percent.judge(1.0)
    assert percent.judge(5.0)

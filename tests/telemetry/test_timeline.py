from collections.abc import Mapping
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.metrics.catalog import STAGES
from safelight.telemetry.timeline import Timeline
from tests.reading import FakeClock

seconds = st.floats(min_value=0, max_value=1000, allow_nan=False)
stages = st.sampled_from(STAGES)
marks = st.tuples(st.just("mark"), seconds, stages)
shares = st.tuples(st.just("share"), seconds, st.dictionaries(stages, seconds, max_size=4))


@given(st.lists(st.one_of(marks, shares), max_size=20), seconds)
def test_the_stages_sum_to_the_total_time(
    events: list[tuple[str, float, object]], start: float
) -> None:
    clock = FakeClock(start)
    timeline = Timeline(clock=clock)
    for kind, passed, what in events:
        clock.now += passed
        if kind == "mark":
            timeline.mark(str(what))
        elif isinstance(what, Mapping):
            timeline.split(what, rest="denoise")
    assert isclose(timeline.total_seconds, clock.now - start, rel_tol=1e-9, abs_tol=1e-6)
    assert all(value >= 0 for value in timeline.seconds.values())


def test_a_mark_charges_the_time_since_the_last_one() -> None:
    clock = FakeClock(100)
    timeline = Timeline(clock=clock)
    for now, stage in ((101, "receive"), (104, "queue"), (104.5, "receive")):
        clock.now = now
        timeline.mark(stage)
    assert timeline.seconds == {"receive": 1.5, "queue": 3.0}


def test_a_timeline_can_start_in_the_past() -> None:
    timeline = Timeline(started=90, clock=FakeClock(100))
    timeline.mark("receive")
    assert timeline.total_seconds == 10


def test_a_stage_is_charged_if_its_block_raises() -> None:
    clock = FakeClock()
    timeline = Timeline(clock=clock)

    def fail() -> None:
        with timeline.stage("decode"):
            clock.now = 2
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert timeline.seconds == {"decode": 2}


def test_measured_parts_are_charged_and_the_remainder_goes_to_the_rest() -> None:
    clock = FakeClock()
    timeline = Timeline(clock=clock)
    clock.now = 10
    timeline.split({"encode_prompt": 2, "decode_latents": 3}, rest="denoise")
    assert timeline.seconds == {"encode_prompt": 2, "decode_latents": 3, "denoise": 5}


def test_parts_above_the_elapsed_time_are_scaled_down() -> None:
    clock = FakeClock()
    timeline = Timeline(clock=clock)
    clock.now = 5
    timeline.split({"encode_prompt": 4, "decode_latents": 6}, rest="denoise")
    assert timeline.seconds == {"encode_prompt": 2, "decode_latents": 3, "denoise": 0}


def test_measured_parts_lie_where_they_began() -> None:
    clock = FakeClock()
    timeline = Timeline(clock=clock)
    clock.now = 10
    timeline.split([("decode", 2), ("predict", 3)], rest="transfer", began=1)
    assert timeline.parts == [("transfer", 1), ("decode", 2), ("predict", 3), ("transfer", 4)]


@given(seconds, seconds, st.lists(st.tuples(stages, seconds), max_size=4))
def test_a_beginning_on_another_clock_leaves_the_sum_correct(
    began: float, passed: float, measured: list[tuple[str, float]]
) -> None:
    clock = FakeClock(500)
    timeline = Timeline(clock=clock)
    clock.now += passed
    timeline.split(measured, rest="transfer", began=began)
    assert isclose(sum(timeline.seconds.values()), passed, rel_tol=1e-9, abs_tol=1e-6)
    assert all(value >= 0 for _, value in timeline.parts)


def test_the_remainder_joins_a_measured_part_of_its_stage() -> None:
    clock = FakeClock()
    timeline = Timeline(clock=clock)
    clock.now = 10
    timeline.split({"encode_prompt": 2, "denoise": 3, "decode_latents": 1}, rest="denoise")
    assert timeline.parts[1] == ("denoise", 7)
    assert timeline.seconds == {"encode_prompt": 2, "denoise": 7, "decode_latents": 1}


def test_the_parts_of_a_request_that_runs_for_days_are_bounded() -> None:
    clock = FakeClock()
    timeline = Timeline(clock=clock)
    for number in range(10_000):
        clock.now = number + 1
        timeline.mark("receive" if number % 2 else "predict")
    assert len(timeline.parts) < 600
    assert timeline.seconds == {"receive": 5000, "predict": 5000}

"""What gives way under pressure, and in which order."""

from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from safelight.errors import Overloaded
from safelight.metrics.catalog import ACTION, DEGRADATION_LEVEL, DEGRADED, LADDER, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import (
    EditParameters,
    GenerateParameters,
    Job,
    Outcome,
    PredictParameters,
)
from safelight.serving.policies.degradation import Governor, degradation, lighten, signals
from tests.reading import FakeClock, series, value
from tests.serving.jobs import a_job, an_outcome, run

CALM = {"latency": 0.0, "vram": 0.0, "backlog": 0.0}
LIMITS = {"latency": 10.0, "vram": 0.9, "backlog": 0.5}
DWELL_SECONDS = 30.0


class Scene:
    """A governor of three signals whose clock passes the dwell time before each update."""

    def __init__(self, **more: Any) -> None:
        self.clock, self.meter = FakeClock(), Meter("tests")
        self.governor = Governor(
            signals(LIMITS["vram"], LIMITS["latency"], LIMITS["backlog"]),
            self.meter,
            dwell_seconds=DWELL_SECONDS,
            clock=self.clock,
            **more,
        )

    def update(self, times: int = 1, **shares: float) -> int:
        """Let signals stand at these shares of their limits for so many dwell times."""
        readings = {**CALM, **{name: LIMITS[name] * share for name, share in shares.items()}}
        for _ in range(times):
            self.clock.now += DWELL_SECONDS
            self.governor.update(readings)
        return self.governor.level


def at(level: int) -> Governor:
    return Scene(pinned=level).governor


# ── The governor ─────────────────────────────────────────────────────────────────────────────────


def test_the_first_level_is_zero() -> None:
    scene = Scene()

    assert scene.update(5) == 0
    assert not any(scene.governor.active(rung) for rung in LADDER)
    assert value(scene.meter, DEGRADATION_LEVEL) == 0


def test_the_log_says_when_the_level_changes() -> None:
    scene = Scene()
    with capture_logs() as lines:
        scene.update(3, latency=1.1)
    assert [line["safelight.degradation_level"] for line in lines] == [scene.governor.level]


@pytest.mark.parametrize(
    ("signal", "ceiling"),
    [("latency", "smaller_batches"), ("vram", "admit_less"), ("backlog", "shed_low_priority")],
)
def test_a_signal_brings_the_ladder_rung_by_rung_to_its_own_ceiling(
    signal: str, ceiling: str
) -> None:
    scene = Scene()
    levels = [scene.update(1, **{signal: 1.1}) for _ in range(7)]
    most = LADDER.index(ceiling) + 1

    assert levels == [min(n, most) for n in range(1, 8)]
    assert scene.governor.active(ceiling)
    assert not any(scene.governor.active(rung) for rung in LADDER[most:])
    assert value(scene.meter, DEGRADATION_LEVEL) == most


@pytest.mark.parametrize("signal", LIMITS)
def test_a_signal_at_its_limit_does_not_press_yet(signal: str) -> None:
    assert Scene().update(5, **{signal: 1.0}) == 0


def test_the_last_rung_is_taken_back_first_and_all_in_the_end() -> None:
    scene = Scene()
    scene.update(5, backlog=2)

    assert [scene.update() for _ in range(6)] == [4, 3, 2, 1, 0, 0]
    assert value(scene.meter, DEGRADATION_LEVEL) == 0


def test_a_pin_holds_whatever_the_load_is_and_a_release_falls_to_what_the_load_asks_for() -> None:
    scene = Scene()
    scene.governor.pin(4, "anna")
    assert value(scene.meter, DEGRADATION_LEVEL) == 4  # at once
    assert (scene.update(5, latency=1.1), scene.governor.pinned_by) == (4, "anna")

    scene.governor.release()
    assert (scene.governor.level, scene.governor.pinned_by) == (1, "")
    assert scene.governor.batch_limit(8) == 4
    assert scene.update(5) == 0


def test_a_release_under_load_raises_the_level_rung_by_rung() -> None:
    scene = Scene()
    scene.governor.pin(0)
    assert scene.update(5, backlog=2) == 0
    scene.governor.release()
    assert scene.governor.level == 0
    assert [scene.update(1, backlog=2) for _ in range(3)] == [1, 2, 3]


def test_a_release_of_nothing_changes_nothing() -> None:
    scene = Scene()
    scene.update(3, backlog=2)
    scene.governor.release()
    assert scene.governor.level == 3


def test_between_calm_and_pressed_nothing_moves() -> None:
    scene = Scene()
    scene.update(3, backlog=1.1)

    assert scene.update(5, backlog=0.99) == 3
    assert scene.update(5, backlog=0.81) == 3
    assert scene.update(1, backlog=0.79) == 2


def test_a_signal_holds_the_ladder_no_higher_than_it_would_bring_it() -> None:
    scene = Scene()
    scene.update(5, backlog=2)

    assert [scene.update(latency=2) for _ in range(6)] == [4, 3, 2, 1, 1, 1]
    assert scene.update(3, backlog=2) == 4
    assert scene.update(5, vram=0.9) == 2


def test_the_signal_that_presses_most_decides() -> None:
    assert Scene().update(5, latency=2, vram=2) == 2
    assert Scene().update(9, latency=2, vram=2, backlog=2) == 5


def test_the_dwell_time_separates_two_moves() -> None:
    scene = Scene()
    pressed = {**CALM, "backlog": 1.0}
    assert scene.update(backlog=2) == 1

    scene.clock.now += DWELL_SECONDS - 0.1
    scene.governor.update(pressed)
    assert scene.governor.level == 1
    scene.governor.update(CALM)
    assert scene.governor.level == 1

    scene.clock.now += 0.1
    scene.governor.update(pressed)
    assert scene.governor.level == 2


def test_the_first_move_waits_for_nothing() -> None:
    scene = Scene()

    scene.governor.update({**CALM, "backlog": 1.0})

    assert scene.governor.level == 1


def test_the_ladder_ends_where_the_operator_says() -> None:
    assert Scene(max_level=2).update(9, backlog=9) == 2
    assert Scene(max_level=0).update(9, backlog=9) == 0


def test_a_pinned_level_does_not_change() -> None:
    scene = Scene(pinned=3)

    assert scene.governor.level == 3
    assert value(scene.meter, DEGRADATION_LEVEL) == 3
    assert scene.update(5) == 3
    assert scene.update(5, backlog=9) == 3


def test_a_ladder_pinned_at_zero_never_moves() -> None:
    assert Scene(pinned=0).update(9, backlog=9) == 0


def test_a_pin_set_while_it_runs_counts_at_once_and_taken_away_it_is_left_in_order() -> None:
    scene = Scene()
    scene.update(backlog=2)
    scene.governor.pinned = 4

    scene.governor.update(CALM)
    assert scene.governor.level == 4
    assert value(scene.meter, DEGRADATION_LEVEL) == 4

    scene.governor.pinned = None
    scene.governor.update(CALM)
    assert scene.governor.level == 4
    assert scene.update() == 3


def test_smaller_batches_are_half_as_large_and_never_empty() -> None:
    assert [at(0).batch_limit(n) for n in (8, 1)] == [8, 1]
    assert [at(1).batch_limit(n) for n in (8, 3, 1)] == [4, 1, 1]


def test_half_the_queue_is_closed_from_the_second_rung_on() -> None:
    assert [at(level).queue_share() for level in range(4)] == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize("rung", LADDER)
def test_every_rung_has_a_series_of_its_own_from_the_start(rung: str) -> None:
    assert rung in (ACTION.values or ())
    assert series(Scene().meter, DEGRADED, action=rung)


# ── Lightening a job ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("level", [0, 1, 2])
def test_below_the_third_rung_no_job_is_changed(level: int) -> None:
    job = a_job(steps=50, size=(512, 512))

    assert lighten(job, at(level)) is job


@pytest.mark.parametrize(
    ("asked", "given"), [(50, 30), (20, 12), (8, 5), (5, 4), (4, 4), (3, 3), (1, 1)]
)
def test_fewer_steps_are_three_fifths_but_never_fewer_than_four(asked: int, given: int) -> None:
    job = lighten(a_job(steps=asked, size=(512, 512)), at(3))

    assert job.steps == given
    assert job.size == (512, 512)
    assert job.degraded == (("fewer_steps",) if given < asked else ())


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ((512, 512), (384, 384)),
        ((768, 512), (576, 384)),
        ((500, 333), (368, 248)),
        ((86, 640), (64, 480)),
        ((85, 640), (85, 640)),
        ((64, 64), (64, 64)),
    ],
)
def test_a_smaller_size_is_three_quarters_in_eights_but_never_below_64(
    asked: tuple[int, int], given: tuple[int, int]
) -> None:
    job = lighten(a_job(steps=4, size=asked), at(4))

    assert job.size == given
    assert job.degraded == (("smaller_size",) if given != asked else ())


def test_on_the_fourth_rung_a_job_loses_steps_and_size_and_nothing_else() -> None:
    asked = a_job(steps=20, size=(512, 512))
    wish = asked.parameters
    assert isinstance(wish, EditParameters)

    job = lighten(asked, at(5))

    assert job.degraded == ("fewer_steps", "smaller_size")
    assert job.parameters == wish.model_copy(update={"steps": 12})
    assert (asked.steps, asked.size) == (20, (512, 512))
    assert (job.id, job.seed, job.deadline, job.control) == (
        asked.id,
        asked.seed,
        asked.deadline,
        asked.control,
    )


def test_a_new_image_is_made_lighter_too() -> None:
    wish = GenerateParameters(prompt="a cat", width=512, height=512, steps=10)
    job = replace(a_job(size=(512, 512)), parameters=wish)

    lighter = lighten(job, at(4))

    assert (lighter.steps, lighter.size) == (6, (384, 384))


def test_a_recognition_has_nothing_to_give() -> None:
    job = replace(a_job(size=(512, 512)), parameters=PredictParameters(top=3))

    assert lighten(job, at(5)) is job


# ── The policy ───────────────────────────────────────────────────────────────────────────────────


def served(scene: Scene, job: Job) -> list[Job]:
    seen = []

    async def serve(job: Job) -> Outcome:
        seen.append(job)
        return an_outcome()

    run(degradation(serve, scene.governor, scene.meter), job)
    return seen


def test_a_job_is_handed_on_as_the_rungs_in_force_say_and_counted_once_for_each() -> None:
    scene = Scene(pinned=4)

    [job] = served(scene, a_job(steps=20, size=(512, 512)))

    assert (job.steps, job.size) == (12, (384, 384))
    assert value(scene.meter, DEGRADED, action="fewer_steps") == 1
    assert value(scene.meter, DEGRADED, action="smaller_size") == 1
    assert value(scene.meter, DEGRADED) == 2


def test_a_job_that_has_nothing_to_give_is_not_counted() -> None:
    scene = Scene(pinned=4)

    served(scene, a_job(steps=2, size=(64, 64)))

    assert value(scene.meter, DEGRADED) == 0


def test_a_modest_caller_is_not_degraded_because_others_fill_the_queue() -> None:
    scene = Scene()
    scene.governor.level = 5
    low, usual = a_job(priority="low", steps=20), a_job(steps=20)
    low.is_modest = usual.is_modest = True

    assert [served(scene, job)[0].steps for job in (low, usual)] == [20, 20]
    usual.is_modest = False
    assert served(scene, usual)[0].steps == 12


def test_a_level_of_the_operator_holds_for_modest_callers_too() -> None:
    job = a_job(steps=20)
    job.is_modest = True
    assert served(Scene(pinned=4), job)[0].steps == 12


def test_on_the_last_rung_low_priority_is_refused() -> None:
    scene = Scene(pinned=5)

    with pytest.raises(Overloaded, match="Low-priority") as refused:
        served(scene, a_job(priority="low"))

    assert refused.value.retry_after_seconds == 30
    assert value(scene.meter, REJECTED, reason="shed") == 1
    assert value(scene.meter, DEGRADED, action="shed_low_priority") == 1


@pytest.mark.parametrize(("priority", "level"), [("low", 4), ("normal", 5), ("high", 5)])
def test_other_priorities_are_not_refused(priority: str, level: int) -> None:
    assert len(served(Scene(pinned=level), a_job(priority=priority))) == 1


def test_a_smaller_size_is_one_that_the_model_can_make() -> None:
    governor = at(4)
    governor.multiple = lambda: 16

    assert lighten(a_job(steps=4, size=(96, 512)), governor).size == (64, 384)
    assert lighten(a_job(steps=4, size=(86, 104)), governor).size == (64, 64)

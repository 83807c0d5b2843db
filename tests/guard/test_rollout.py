"""The decisions of a rollout."""

import random
from dataclasses import replace

import msgspec
import pytest

from benchmarks.guard.comparing import of_rollouts, rolled, slow
from safelight.guard.arms import Arm
from safelight.guard.rollout import Plan, Rollout

SEEDS = 20


def a_rollout(**changed: object) -> Rollout:
    rollout = Rollout(replace(Plan("b"), **changed))  # type: ignore[arg-type]
    rollout.start(0.0)
    return rollout


def serve(rollout: Rollout, number: int, *, b_factor: float = 1.0, seed: int = 1) -> None:
    chance = random.Random(seed)
    for _ in range(number):
        rollout.add_first(ok=True, seconds_per_unit=chance.lognormvariate(0, 0.1))
        rollout.add_second(ok=True, seconds_per_unit=b_factor * chance.lognormvariate(0, 0.1))


@pytest.mark.parametrize("figure", of_rollouts(SEEDS), ids=lambda figure: figure.name)
def test_every_figure_of_rollouts_is_reached(figure: object) -> None:
    assert getattr(figure, "is_met"), figure  # noqa: B009 - the class is one of benchmarks


def test_an_owner_keeps_its_model_at_a_step_and_b_at_every_higher_one() -> None:
    rollout = a_rollout()
    owners = [f"owner-{n}" for n in range(2000)]
    before = {owner for owner in owners if rollout.serves(owner, "1")}
    assert before == {owner for owner in owners if rollout.serves(owner, "2")}
    assert len(before) == pytest.approx(0.05 * 2000, rel=0.3)
    rollout.place = 1
    after = {owner for owner in owners if rollout.serves(owner, "1")}
    assert before < after
    assert len(after) == pytest.approx(0.25 * 2000, rel=0.2)


def test_without_owners_each_request_has_its_own_chance() -> None:
    rollout = a_rollout(steps=(50, 100))
    served = sum(rollout.serves("", f"request-{n}") for n in range(1000))
    assert served == pytest.approx(500, rel=0.15)


def test_silence_and_time_alone_never_promote() -> None:
    rollout = a_rollout()
    rollout.decide(1e9)
    assert rollout.decide(2e9) is None
    assert (rollout.place, rollout.status) == (0, "running")
    assert rollout.decisions[-1].action == "hold"


def test_a_clock_that_jumps_back_changes_nothing() -> None:
    rollout = a_rollout()
    serve(rollout, 300)
    assert rollout.decide(-1e9) is not None
    assert rollout.place == 1


def test_enough_equal_requests_promote_and_the_next_step_needs_its_own() -> None:
    rollout = a_rollout()
    serve(rollout, 300)
    decision = rollout.decide(1.0)
    assert decision is not None
    assert (decision.action, decision.percent) == ("promote", 25)
    assert decision.figures["requests_b"] == 300
    decision = rollout.decide(2.0)
    assert decision is not None
    assert decision.action == "hold"
    assert rollout.place == 1


def test_too_little_evidence_holds_and_names_what_is_missing() -> None:
    rollout = a_rollout(least=10)
    serve(rollout, 12)
    decision = rollout.decide(1.0)
    assert decision is not None
    assert decision.action == "hold"
    assert "proven" in decision.reason


def test_three_failures_in_a_row_roll_back_at_once() -> None:
    rollout = a_rollout()
    for _ in range(3):
        rollout.add_second(ok=False, seconds_per_unit=None)
    decision = rollout.decide(1.0)
    assert decision is not None
    assert decision.action == "roll_back"
    assert rollout.percent == 0
    assert not any(rollout.serves(f"owner-{n}", "") for n in range(1000))


def test_errors_that_both_models_have_are_not_the_fault_of_b() -> None:
    chance, rollout = random.Random(3), a_rollout()
    for _ in range(200):
        rollout.add_first(ok=chance.random() > 0.3, seconds_per_unit=1.0)
        rollout.add_second(ok=chance.random() > 0.3, seconds_per_unit=1.0)
        rollout.b.in_a_row = 0
        assert rollout.fault() is None


def test_a_paused_rollout_stays_but_is_still_guarded() -> None:
    rollout = a_rollout()
    rollout.pause(1.0)
    serve(rollout, 300)
    assert rollout.decide(2.0) is None
    assert rollout.percent == 5
    serve(rollout, 100, b_factor=3.0)
    decision = rollout.decide(3.0)
    assert decision is not None
    assert decision.action == "roll_back"


def test_a_resumed_rollout_goes_on_with_the_evidence_of_its_step() -> None:
    rollout = a_rollout()
    rollout.pause(1.0)
    serve(rollout, 300)
    assert rollout.decide(2.0) is None
    assert rollout.resume(3.0).action == "resume"
    decision = rollout.decide(4.0)
    assert decision is not None
    assert (decision.action, decision.percent) == ("promote", 25)


def test_the_operator_can_promote_pause_and_abort() -> None:
    rollout = a_rollout(steps=(10, 100))
    assert rollout.promote(1.0).percent == 100
    rollout.promote(2.0)
    assert rollout.status == "done"
    other = a_rollout()
    assert other.abort(1.0).percent == 0
    assert other.decide(2.0) is None


def test_a_rollout_survives_a_restart_at_its_step() -> None:
    rollout = rolled(slow, 1)
    again = msgspec.json.decode(msgspec.json.encode(rollout), type=Rollout)
    assert again == rollout


def test_decisions_are_bounded() -> None:
    rollout = a_rollout()
    for number in range(300):
        rollout.pause(float(number))
    assert len(rollout.decisions) == 100


@pytest.mark.parametrize("steps", [(), (0, 50), (50, 25), (5, 5), (50, 101)])
def test_steps_that_make_no_sense_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="steps must rise"):
        Plan("b", steps)


def test_a_state_that_names_no_step_of_its_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="does not have"):
        Rollout(Plan("b"), place=4)


def test_a_finished_rollout_is_still_guarded() -> None:
    rollout = a_rollout(steps=(100,))
    rollout.promote(1.0)
    serve(rollout, 300)
    assert rollout.decide(2.0) is None
    serve(rollout, 100, b_factor=3.0)
    decision = rollout.decide(3.0)
    assert decision is not None
    assert decision.action == "roll_back"


def test_without_latencies_nothing_is_promoted() -> None:
    rollout = a_rollout()
    for _ in range(1000):
        rollout.add_first(ok=True, seconds_per_unit=None)
        rollout.add_second(ok=True, seconds_per_unit=None)
    rollout.decide(1.0)
    assert rollout.decisions[-1].reason == "latency is not proven to be as good"


def test_failures_in_a_row_of_both_models_are_not_the_fault_of_b() -> None:
    rollout = a_rollout()
    for _ in range(3):
        rollout.add_first(ok=False, seconds_per_unit=None)
        rollout.add_second(ok=False, seconds_per_unit=None)
    assert rollout.fault() is None


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (1, 2, 0), (3, 0, 4), (0, -1, 0)], ids=str)
def test_counts_that_no_requests_can_give_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="more requests than it had"):
        Arm(*numbers)


def test_an_objective_without_errors_is_refused() -> None:
    with pytest.raises(ValueError, match="objective"):
        Plan("b", objective=1.0)

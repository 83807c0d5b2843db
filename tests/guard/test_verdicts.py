import pytest

from safelight.guard.verdicts import BROKEN, GOOD_RUNS, Deep, Health, State, step_limit

GOOD, SLOW, WRONG = Deep(State.GOOD), Deep(State.SLOW), Deep(State.WRONG, "it differs")


def verdict(health: Health) -> State:
    return health.verdict  # a property: for mypy it would never change


def after(*runs: Deep) -> Health:
    health = Health()
    for run in runs:
        health.ran(run)
    return health


def test_nothing_is_known_of_a_model_without_runs() -> None:
    assert Health().verdict is State.UNKNOWN
    assert not Health().broken


def test_one_wrong_run_of_three_is_no_verdict_but_the_next_run_comes_at_once() -> None:
    health = after(GOOD, GOOD, WRONG)
    assert verdict(health) is State.GOOD
    assert health.suspect
    health.ran(GOOD)
    assert not health.suspect


@pytest.mark.parametrize("runs", [(WRONG, WRONG), (WRONG, GOOD, WRONG)])
def test_two_wrong_runs_of_three_are_wrong(runs: tuple[Deep, ...]) -> None:
    health = after(GOOD, GOOD, *runs)
    assert verdict(health) is State.WRONG
    assert health.reason == "it differs"


def test_three_slow_runs_are_slow_and_the_model_stays_in_service() -> None:
    assert after(GOOD, SLOW, SLOW).verdict is State.GOOD
    health = after(SLOW, SLOW, SLOW)
    assert verdict(health) is State.SLOW
    assert not health.broken
    health.ran(GOOD)
    assert verdict(health) is State.GOOD


@pytest.mark.parametrize("state", [State.HUNG, State.DEAD])
def test_one_run_without_an_answer_is_enough(state: State) -> None:
    assert after(GOOD, Deep(state, "no step")).verdict is state


@pytest.mark.parametrize("state", sorted(BROKEN))
def test_a_broken_model_recovers_after_three_good_runs_in_a_row(state: State) -> None:
    health = after(GOOD, Deep(state), Deep(state))
    for run in (GOOD, GOOD, WRONG, *[GOOD] * (GOOD_RUNS - 1)):
        health.ran(run)
        assert health.broken
    health.ran(GOOD)
    assert verdict(health) is State.GOOD
    assert health.reason == ""


def test_a_shallow_success_never_clears_a_deep_failure() -> None:
    health = after(WRONG, WRONG)
    for _ in range(10):
        health.answered(in_time=True)
    assert verdict(health) is State.WRONG


def test_a_deep_success_never_clears_a_shallow_failure() -> None:
    health = after(GOOD)
    for _ in range(3):
        health.answered(in_time=False)
    assert verdict(health) is State.DEAD
    for _ in range(5):
        health.ran(GOOD)
    assert verdict(health) is State.DEAD
    for _ in range(GOOD_RUNS):
        health.answered(in_time=True)
    assert verdict(health) is State.GOOD


def test_two_misses_and_an_answer_are_no_death() -> None:
    health = after(GOOD)
    for in_time in (False, False, True, False, False):
        health.answered(in_time=in_time)
    assert verdict(health) is State.GOOD


def test_a_model_that_was_loaded_again_must_prove_itself() -> None:
    health = after(WRONG, WRONG)
    health.forget()
    assert health.broken
    for _ in range(GOOD_RUNS):
        health.ran(GOOD)
    assert verdict(health) is State.GOOD


def test_a_run_hangs_after_twenty_usual_steps_but_not_before_ten_seconds() -> None:
    assert step_limit(10.0, 4) == pytest.approx(50.0)
    assert step_limit(0.01, 0) == 10.0


def test_a_result_that_noise_cannot_cause_needs_no_second_run() -> None:
    assert after(GOOD, Deep(State.WRONG, "old image", certain=True)).verdict is State.WRONG

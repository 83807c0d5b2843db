from safelight.guard.turns import Turns


def runs(turns: Turns, seconds: int, cost: float, step: int = 1) -> int:
    """Return how many runs begin in so many seconds."""
    done = 0
    for now in range(0, seconds, step):
        if turns.due(float(now), cost):
            turns.spend(float(now), cost, ran=True)
            done += 1
    return done


def test_a_cheap_run_comes_once_in_each_interval() -> None:
    assert runs(Turns(60.0, 0.01), 3600, 0.1) == 60


def test_a_day_of_expensive_runs_takes_no_more_than_the_budget() -> None:
    day, cost = 86_400, 7.0
    assert runs(Turns(60.0, 0.01), day, cost) * cost <= 0.0101 * day + 40


def test_a_run_that_costs_more_than_an_hour_of_budget_still_comes() -> None:
    assert runs(Turns(60.0, 0.001), 40_000, 30.0, step=10) >= 1


def test_without_a_budget_no_run_is_due() -> None:
    turns = Turns(60.0, 0.0)
    assert not turns.due(0.0, 0.0)
    assert not turns.due(1e6, 0.0, soon=True)


def test_a_run_that_was_overtaken_is_due_again_at_once_and_its_time_counts() -> None:
    turns = Turns(60.0, 0.01)
    assert turns.due(0.0, 1.0)
    turns.spend(0.0, 4.5, ran=False)
    assert not turns.due(1.0, 1.0)  # 0.5 s of the budget are left
    assert turns.due(60.0, 1.0)


def test_a_suspect_model_is_checked_before_the_interval_ends() -> None:
    turns = Turns(60.0, 0.01)
    turns.spend(0.0, 0.1, ran=True)
    assert not turns.due(1.0, 0.1)
    assert turns.due(1.0, 0.1, soon=True)


def test_a_model_that_fails_at_once_is_run_once_a_second_at_most() -> None:
    turns = Turns(60.0, 0.01)
    turns.spend(0.0, 0.0, ran=True)
    assert not turns.due(0.5, 0.0, soon=True)
    assert turns.due(1.0, 0.0, soon=True)


def test_a_clock_that_jumps_makes_one_run_due_and_does_not_break_the_budget() -> None:
    turns = Turns(60.0, 0.01)
    turns.spend(0.0, 0.1, ran=True)
    assert turns.due(1e9, 1.0)
    turns.spend(1e9, 36.0, ran=True)
    assert not turns.due(1e9 + 61, 1.0)
    assert not turns.due(5.0, 1.0)

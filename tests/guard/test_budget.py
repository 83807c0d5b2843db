"""A budget is never exceeded by more than one piece of work, whatever the clock does."""

import pytest

from safelight.guard.budget import Budget


def test_a_budget_of_0_allows_nothing() -> None:
    budget = Budget(0.0)
    assert not budget.allows(0.0)
    assert not budget.allows(1e9)


def test_work_of_a_day_stays_within_the_budget() -> None:
    budget, spent = Budget(60.0), 0.0
    for second in range(86_400):
        if budget.allows(float(second)):
            budget.spend(5.0)
            spent += 5.0
    assert spent == pytest.approx(24 * 60, abs=15)


@pytest.mark.parametrize("jump", [-1e9, 1e12])
def test_a_clock_that_jumps_adds_at_most_an_hour(jump: float) -> None:
    budget = Budget(60.0)
    budget.allows(1000.0)
    budget.spend(60.0)
    budget.allows(1000.0 + jump)
    assert budget.left <= 60.0
    budget.spend(200.0)
    assert not budget.allows(1000.0 + jump + 1)

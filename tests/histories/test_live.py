"""A step's page has the values that the history has at that step."""

import numpy as np

from safelight.metrics.registry import parse
from tests.histories.exposition import DOWN, Grid, Target
from tests.histories.live import NUMBER, POOL, SEED, chosen, page_of
from tests.histories.present import page, values

BEGIN = 1_800_000_000


def target(grid: Grid) -> Target:
    life = np.array([0, 0, DOWN, 1, 1])
    made = Target(grid, "edit-1", "edit-1-a:8000", life, np.ones(5, dtype=bool), age_seconds=60)
    made.gauge("level", np.array([1.0, 2.5, 9.0, np.nan, 4.0]), gpu="0", kind="a")
    made.counter("events_total", np.array([1, 2, 9, 3, 0]), True)
    return made


def test_a_page_equals_the_series_at_its_step_and_continues_the_past() -> None:
    shown = page(target(Grid(15, 5)), BEGIN)
    assert shown.up == (True, True, False, True, True)
    assert parse(shown.exposition(4)) == {
        ("process_start_time_seconds", frozenset()): BEGIN + 45 - 12,
        ("level", frozenset({("gpu", "0"), ("kind", "a")})): 4.0,
        ("events_total", frozenset()): 3.0,
    }
    assert "level" not in shown.exposition(3)
    own, past = 'job="edit-1",instance="edit-1-a:8000"', list(shown.past(BEGIN, BEGIN + 30))
    assert f'level{{{own},gpu="0",kind="a"}} 2.5 {BEGIN + 15}\n' in past
    assert f"up{{{own}}} 1.0 {BEGIN}\n" in past
    assert shown.step_at(BEGIN + 29.9) == 1
    assert shown.step_at(BEGIN + 1e6) == 4


def test_runs_of_values_and_gaps_are_read() -> None:
    assert values("1x2 _x2 2.5 stale 1e+06") == (1, 1, 1, None, None, 2.5, None, 1e6)


def test_ten_different_incidents_are_chosen_and_their_services_were_healthy() -> None:
    ten = chosen(SEED)
    assert {incident.name for incident in ten} == {*POOL[:NUMBER]}
    alerts = [name for incident in ten for name in incident.alerts]
    assert len(alerts) == len({*alerts})
    black = next(incident for incident in ten if incident.name == "black images")
    shown = page_of(black, 4, BEGIN, SEED)
    assert (shown.job, shown.instance) == ("edit-4", "edit-4-a:8000")
    invalid = next(one for one in shown.series if "black" in one.labels)
    past = shown.step_at(BEGIN + 7200)
    assert len({*invalid.values[:past]}) == 1, "no black image in the past"
    assert len({*invalid.values[past:]}) > 10
    assert all(shown.up)

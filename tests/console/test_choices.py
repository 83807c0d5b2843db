"""What a viewer chose becomes an expression that asks for that and nothing else."""

import re

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.console.choices import Span, chosen
from safelight.dashboards.catalog import boards
from safelight.errors import InvalidParameter

LIVE = boards()[0]
SPAN = Span.of(0.0, 1800.0)


@pytest.mark.parametrize(
    ("seconds", "step"),
    [(900, 15), (3600, 30), (10_800, 60), (86_400, 600), (604_800, 3600), (2_592_000, 21_600)],
)
def test_a_longer_range_has_points_farther_apart(seconds: int, step: int) -> None:
    span = Span.of(1_000_000.0, 1_000_000.0 + seconds)
    assert span.step == step
    assert (span.end - span.begin) % step == 0
    assert 1_000_000.0 - step - 60 < span.begin <= 1_000_000.0


@pytest.mark.parametrize(
    ("scrape", "step", "rate"),
    [(5, 15, 60), (15, 15, 60), (30, 30, 120), (60, 60, 240), (61, 60, 244)],
)
def test_points_and_rates_are_not_finer_than_the_scrapes(scrape: int, step: int, rate: int) -> None:
    span = Span.of(0.0, 1800.0, scrape)
    assert (span.step, span.rate_seconds) == (step, rate)
    assert chosen(LIVE, {}, span).rate_interval == f"{rate}s"


def test_the_last_point_of_a_long_range_is_now_and_viewers_of_a_minute_share_it() -> None:
    now = 1_800_000_000.0
    ends = {Span.of(now + late - 7 * 86_400, now + late).end for late in (1.0, 30.0, 60.0)}
    assert ends == {now + 60}


@pytest.mark.parametrize(
    ("begin", "end"), [(0, 59), (0, 401 * 86_400), (100, 0), (-90, -10), (5e9, 5e9 + 900)]
)
def test_a_range_that_makes_no_sense_is_refused(begin: float, end: float) -> None:
    with pytest.raises(InvalidParameter, match="one minute to 400 days"):
        Span.of(begin, end)


def test_a_range_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        Span.of(float("nan"), 1000.0)


@pytest.mark.parametrize("namespace", ["A", "x" * 41, 'a{b="c"}', "1a", "ä"])
def test_a_namespace_that_no_metric_has_is_refused(namespace: str) -> None:
    with pytest.raises(InvalidParameter):
        chosen(LIVE, {"namespace": namespace}, SPAN)


@pytest.mark.parametrize("value", ["x" * 201, "two\nlines", "\x00"])
def test_a_label_that_no_service_has_is_refused(value: str) -> None:
    with pytest.raises(InvalidParameter):
        chosen(LIVE, {"job": value}, SPAN)


@given(st.text(min_size=1, max_size=50).filter(str.isprintable))
def test_any_name_of_a_service_matches_itself_and_cannot_leave_its_quotes(name: str) -> None:
    job = chosen(LIVE, {"job": name}, SPAN).job
    parsed = promql_parser.parse(f'up{{job=~"{job}"}}')
    assert isinstance(parsed, promql_parser.VectorSelector)
    [matcher] = parsed.matchers.matchers
    assert re.fullmatch(matcher.value, name)
    assert not re.fullmatch(matcher.value, f"{name}x")


def test_a_dashboard_of_one_service_keeps_its_namespace() -> None:
    fixed = next(board for board in boards() if board.is_fixed)
    own = chosen(fixed, {"namespace": "another"}, SPAN).namespace
    assert own in {variable.first for variable in fixed.variables}


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_every_query_of_every_dashboard_is_complete(board: object) -> None:
    filled = chosen(board, {"job": 'a"b\\c'}, SPAN)  # type: ignore[arg-type]
    for panel in board.panels:  # type: ignore[attr-defined]
        for query in panel.queries:
            expression = filled.fill(query.expr)
            assert "$" not in re.sub(r'"\$\d"', "", expression)
            promql_parser.parse(expression)

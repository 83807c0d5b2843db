"""The browser gets the panels that Grafana gets."""

import pytest

from safelight.console.panels import Dot, board_spec, curves, dots, is_instant
from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.catalog import boards
from safelight.diagnosis.prometheus import Exemplar, Series
from safelight.metrics.buckets import STEP_PLACES


def panel(shape: Shape, *queries: Query) -> Panel:
    return Panel("Is it?", "It is.", shape, "short", queries)


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_a_dashboard_has_the_panels_of_grafana_in_their_order(board: Board) -> None:
    spec = board_spec(board)
    shown = [panel for row in spec.rows for panel in row.panels]
    assert [each.id for each in shown] == list(range(len(board.panels)))
    for own, grafanas in zip(shown, board.panels, strict=True):
        assert (own.title, own.text, own.unit) == (grafanas.title, grafanas.text, grafanas.unit)
        assert (own.limit, own.shape) == (grafanas.limit, grafanas.shape.name.lower())
        assert own.empty.endswith((".", "?"))


def test_a_legend_has_the_values_of_its_labels() -> None:
    drawn = panel(Shape.LINES, Query("up", "{{ job }} on {{instance}}, {{none}}"))
    series = Series({"job": "a", "instance": "b", "__name__": "up"}, ((0.0, 1.0),))
    [curve], _ = curves(drawn, [[series]])
    assert curve.legend == "a on b, "
    assert curve.labels == {"job": "a", "instance": "b"}


def test_steps_are_in_the_order_of_their_positions() -> None:
    drawn = panel(Shape.LINES, Query("x", "{{step}}"))
    places = sorted(STEP_PLACES)  # as Prometheus sorts them
    assert places != list(STEP_PLACES)
    found, _ = curves(drawn, [[Series({"step": each}, ((0.0, 1.0),)) for each in places]])
    assert [each.legend for each in found] == list(STEP_PLACES)


def test_buckets_are_those_between_two_edges_in_their_order() -> None:
    drawn = panel(Shape.BUCKETS, Query("x", "{{le}}"))
    counted = {"+Inf": 10.0, "0.5": 2.0, "1": 7.0}
    series = [Series({"le": le}, ((0.0, count),)) for le, count in counted.items()]
    found, _ = curves(drawn, [series])
    assert [(curve.labels["le"], curve.points) for curve in found] == [
        ("0.5", [(0.0, 2.0)]),
        ("1", [(0.0, 5.0)]),
        ("+Inf", [(0.0, 3.0)]),
    ]


def test_more_series_than_anybody_can_tell_apart_are_counted_and_left_out() -> None:
    drawn = panel(Shape.LINES, Query("up", "{{instance}}"))
    many = [Series({"instance": str(number)}, ((0.0, 1.0),)) for number in range(60)]
    found, left_out = curves(drawn, [many])
    assert (len(found), left_out) == (50, 10)


def test_tables_numbers_and_bars_show_one_moment() -> None:
    instant = {shape for shape in Shape if is_instant(panel(shape))}
    assert instant == {Shape.BARS, Shape.BUCKETS, Shape.NUMBER, Shape.TABLE, Shape.ALERTS}


def test_dots_are_the_largest_exemplars_each_request_once() -> None:
    found = [Exemplar({"trace_id": f"t{n % 100}"}, float(n), 10.0 * n) for n in range(300)]
    both = Exemplar({"trace_id": "t1", "request_id": "r1"}, 1000.0, 5.0)
    shown = dots([*found, both, Exemplar({}, 9999.0, 1.0)])
    assert shown[:2] == [Dot(5.0, 1000.0, "r1"), Dot(2990.0, 299.0, "t99")]
    assert len(shown) == 60
    assert len({dot.request for dot in shown}) == 60

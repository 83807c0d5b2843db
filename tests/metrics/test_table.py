from collections.abc import Callable

import pytest

from safelight.metrics.catalog import HOST_SENT, HTTP_REQUESTS, IN_FLIGHT, MODEL_INFO, QUEUE_DEPTH
from safelight.metrics.metric import OTHER, Metric
from safelight.metrics.series import USED, VALUE, Cells, Labels, width
from safelight.metrics.table import Table

PATH = ("/", "GET", "200")


class Rows:
    """The rows of one process, with room for a few series."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.rows: dict[tuple[Metric, Labels], Cells] = {}

    def known(self, metric: Metric) -> list[Labels]:
        return [labels for each, labels in self.rows if each is metric]

    def row(self, metric: Metric, labels: Labels) -> Cells | None:
        if (metric, labels) not in self.rows:
            if len(self.rows) >= self.room and OTHER not in labels:
                return None
            self.rows[metric, labels] = [0.0] * width(metric)
        return self.rows[metric, labels]


@pytest.fixture
def table() -> Table:
    return Table(lambda: 1.0)


def count(table: Table, metric: Metric = HTTP_REQUESTS, labels: Labels = PATH) -> None:
    table.admit(metric, labels)[0].inc()


def value(table: Table, metric: Metric = HTTP_REQUESTS) -> float:
    return sum(row[VALUE] for each, _, row in table.rows() if each is metric)


def test_what_was_counted_before_is_shared(table: Table) -> None:
    rows = Rows()
    count(table)
    table.share(rows)
    count(table)
    assert rows.rows[HTTP_REQUESTS, PATH][VALUE] == 2


def test_a_series_that_others_have_no_room_for_counts_as_other(table: Table) -> None:
    rows = Rows(room=1)
    count(table)
    count(table, labels=("/b", "GET", "200"))
    table.share(rows)
    count(table, labels=("/b", "GET", "200"))
    count(table, labels=("/c", "GET", "200"))
    assert rows.rows[HTTP_REQUESTS, PATH][VALUE] == 1
    assert rows.rows[HTTP_REQUESTS, (OTHER,) * 3][VALUE] == 3


def test_after_leaving_it_counts_for_itself(table: Table) -> None:
    rows = Rows()
    table.share(rows)
    count(table)
    table.unshare()
    count(table)
    assert value(table) == 2
    assert rows.rows[HTTP_REQUESTS, PATH][VALUE] == 1


def test_a_child_process_counts_from_0_and_keeps_what_describes_it(table: Table) -> None:
    series, _ = table.admit(MODEL_INFO, ("m", "P", "S", "float32", "cpu", "none"))
    series.set(1)
    count(table)
    count(table, IN_FLIGHT, ())
    table.unshare(empty=True)
    assert (value(table), value(table, IN_FLIGHT), value(table, MODEL_INFO)) == (0, 0, 1)


def test_a_child_process_reads_an_external_total_anew(table: Table) -> None:
    assert table.advance(HOST_SENT, (), 100.0) == 100
    assert table.advance(HOST_SENT, (), 130.0) == 30
    table.unshare(empty=True)
    assert table.advance(HOST_SENT, (), 140.0) == 140


@pytest.mark.parametrize("keep", [Table.unshare, lambda table: table.share(Rows())])
def test_a_kept_series_counts_on_wherever_the_counts_are(
    table: Table, keep: Callable[[Table], None]
) -> None:
    series, _ = table.admit(HTTP_REQUESTS, PATH)
    series.inc()
    keep(table)
    series.inc()
    assert value(table) == 2


def test_a_forgotten_row_is_marked_as_unused(table: Table) -> None:
    rows = Rows()
    table.share(rows)
    count(table, QUEUE_DEPTH, ())
    table.forget(QUEUE_DEPTH, ())
    assert rows.rows[QUEUE_DEPTH, ()][USED] == 0
    count(table, QUEUE_DEPTH, ())
    assert list(rows.rows[QUEUE_DEPTH, ()]) == [1, 1]

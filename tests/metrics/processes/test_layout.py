from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from safelight.metrics.catalog import CATALOG, HTTP_REQUESTS, QUEUE_DEPTH
from safelight.metrics.metric import OTHER, Kind, Metric
from safelight.metrics.processes.layout import SIZE, Layout
from safelight.metrics.registry import Meter
from tests.metrics.test_registry import populated


def places(layout: Layout) -> list[tuple[Metric, tuple[str, ...], slice]]:
    layout.refresh()
    return list(layout.rows())


def test_two_processes_agree_on_every_place(tmp_path: Path) -> None:
    one, two = Layout(tmp_path / "series"), Layout(tmp_path / "series")
    for number in range(300):
        (one, two)[number % 2].place(HTTP_REQUESTS, (f"/{number}", "GET", "200"))
    one.place(HTTP_REQUESTS, (OTHER,) * 3)
    assert places(one) == places(two)
    assert len(places(one)) == HTTP_REQUESTS.series
    one.close()
    two.close()


def test_a_series_that_both_append_at_once_has_one_place(tmp_path: Path) -> None:
    path = tmp_path / "series"
    line = b'["queue_depth"]\n'
    path.write_bytes(line + line + b'["http_requests_total", "/", "GET", "200"]\n')
    layout = Layout(path)
    assert [part.start for _, _, part in places(layout)] == [8, 10]
    layout.close()


def test_a_torn_or_unknown_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "series"
    path.write_bytes(b'["http_req["queue_depth"]\n["of_the_future"]\n["queue_depth"]\n["queue')
    layout = Layout(path)
    assert [metric for metric, _, _ in places(layout)] == [QUEUE_DEPTH]
    layout.close()


def test_the_whole_catalogue_has_room(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "series")
    for metric, labels, _ in populated(Meter("pix")).children():
        assert layout.place(metric, labels) is not None
    assert layout.end <= SIZE
    layout.close()


def test_a_metric_that_the_catalogue_lacks_has_no_place(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "series")
    assert layout.place(Metric("new", "New.", Kind.GAUGE, QUEUE_DEPTH.family), ()) is None
    assert layout.known(CATALOG[0]) == {}
    layout.close()


@given(st.tuples(st.text(), st.text(), st.text()))
def test_any_text_as_a_label_is_read_as_it_was_written(labels: tuple[str, str, str]) -> None:
    with TemporaryDirectory() as folder:
        one, two = (Layout(Path(folder) / "series") for _ in range(2))
        assert one.place(HTTP_REQUESTS, labels) == two.place(HTTP_REQUESTS, labels) == 8
        one.close()
        two.close()

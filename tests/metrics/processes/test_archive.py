from collections.abc import Iterator
from pathlib import Path

import pytest

from safelight.metrics.catalog import HTTP_REQUESTS, IN_FLIGHT
from safelight.metrics.processes.archive import fold, load, path_of
from safelight.metrics.processes.folder import VALUES
from safelight.metrics.processes.layout import HEADER, SIZE, Layout
from safelight.metrics.processes.member import ADDRESS, CPU_SECONDS, Seen
from safelight.metrics.series import USED, VALUE, width

PATH = ("/", "GET", "200")


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    layout = Layout(tmp_path / "series")
    layout.place(HTTP_REQUESTS, PATH)
    layout.place(IN_FLIGHT, ())
    yield layout
    layout.close()


def ended(folder: Path, name: str, requests: float, address: float = 8000.0) -> Seen:
    (folder / f"{name}{VALUES}").touch()
    cells = memoryview(bytearray(8 * SIZE)).cast("d")
    cells[ADDRESS], cells[CPU_SECONDS] = address, 2.0
    cells[HEADER + USED], cells[HEADER + VALUE] = 1.0, requests
    gauge = HEADER + width(HTTP_REQUESTS)
    cells[gauge + USED], cells[gauge + VALUE] = 1.0, 5.0
    return Seen(name, 1, alive=False, cells=cells)


def test_counters_are_kept_and_gauges_are_not(tmp_path: Path, layout: Layout) -> None:
    fold(tmp_path, [ended(tmp_path, "1-1", 3), ended(tmp_path, "2-1", 4)], layout)
    fold(tmp_path, [ended(tmp_path, "3-1", 5)], layout)
    kept = load(path_of(tmp_path, 8000.0))
    assert kept.cells[HEADER + VALUE] == 12
    assert kept.cells[CPU_SECONDS] == 6
    assert sum(kept.cells[HEADER + width(HTTP_REQUESTS) :]) == 0


def test_the_file_of_an_ended_process_is_removed(tmp_path: Path, layout: Layout) -> None:
    fold(tmp_path, [ended(tmp_path, "1-1", 3)], layout)
    assert list(tmp_path.glob(f"*{VALUES}")) == []


def test_a_process_is_counted_once_if_its_removal_was_interrupted(
    tmp_path: Path, layout: Layout
) -> None:
    process = ended(tmp_path, "1-1", 3)
    fold(tmp_path, [process], layout)
    (tmp_path / f"1-1{VALUES}").touch()  # as if the process that folded it was killed before
    fold(tmp_path, [process, ended(tmp_path, "2-1", 4)], layout)
    assert load(path_of(tmp_path, 8000.0)).cells[HEADER + VALUE] == 7


def test_the_names_do_not_accumulate(tmp_path: Path, layout: Layout) -> None:
    for number in range(20):
        fold(tmp_path, [ended(tmp_path, f"{number}-1", 1)], layout)
    kept = load(path_of(tmp_path, 8000.0))
    assert len(kept.names) == 1
    assert kept.cells[HEADER + VALUE] == 20


def test_each_address_has_its_own(tmp_path: Path, layout: Layout) -> None:
    fold(tmp_path, [ended(tmp_path, "1-1", 3), ended(tmp_path, "2-1", 4, 8001.0)], layout)
    assert load(path_of(tmp_path, 8000.0)).cells[HEADER + VALUE] == 3
    assert load(path_of(tmp_path, 8001.0)).cells[HEADER + VALUE] == 4


def test_a_process_that_never_served_is_dropped(tmp_path: Path, layout: Layout) -> None:
    fold(tmp_path, [ended(tmp_path, "1-1", 3, address=0.0)], layout)
    assert [path.name for path in tmp_path.iterdir()] == ["series"]

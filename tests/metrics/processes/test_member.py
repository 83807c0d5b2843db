import os
from pathlib import Path

import pytest

from safelight.metrics.catalog import IN_FLIGHT
from safelight.metrics.processes.folder import VALUES, has_members
from safelight.metrics.processes.layout import SIZE
from safelight.metrics.processes.member import CPU_SECONDS, Member, look, numbers
from tests.metrics.processes.other import other


def test_others_read_and_annotate_the_numbers_of_a_process(tmp_path: Path) -> None:
    with other(tmp_path) as two:
        two.enter(IN_FLIGHT, amount=7)
        [path] = tmp_path.glob(f"*/*{VALUES}")
        seen = look(path)
        assert (seen.pid, seen.alive, seen.address) == (two.pid, True, 8000)
        assert 7 in numbers(seen.cells, SIZE)
        seen.cells[CPU_SECONDS] = 3
        two.kill()
        assert not look(path).alive
        assert look(path).cells[CPU_SECONDS] == 3


def test_the_file_is_named_after_its_process_and_is_complete_at_once(tmp_path: Path) -> None:
    member = Member(tmp_path)
    [path] = tmp_path.iterdir()
    assert path.name.startswith(f"{os.getpid()}-")
    assert path.stat().st_size == 8 * SIZE
    member.close()
    assert not has_members(tmp_path)


def test_a_file_of_another_size_is_no_member(tmp_path: Path) -> None:
    (tmp_path / f"1-1{VALUES}").write_bytes(b"")
    with pytest.raises(ValueError, match="mmap"):
        look(tmp_path / f"1-1{VALUES}")

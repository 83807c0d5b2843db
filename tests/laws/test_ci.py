"""The longer checks of CI: they fit their budget, and a part that fails or hangs is reported."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.measurements import Measurement
from scripts.ci import BUDGET_MINUTES, PARTS, Part, Result, run, run_all, table
from tests.serving.conftest import until

ROOT = Path(__file__).parent.parent.parent
BENCHMARKS = {
    "benchmarks",
    *(f"benchmarks.{file.parent.name}" for file in ROOT.glob("benchmarks/*/__main__.py")),
    "benchmarks.diagnosis",
}


def test_the_budgets_add_up_to_forty_minutes_at_most() -> None:
    assert sum(part.budget_minutes for part in PARTS) <= BUDGET_MINUTES


@pytest.mark.parametrize("module", sorted(BENCHMARKS))
def test_every_benchmark_runs_in_its_short_form_with_a_second_attempt(module: str) -> None:
    (part,) = (part for part in PARTS if part.command == f"SHORT=1 python -m {module}")

    measures_again_itself = module == "benchmarks"
    assert part.attempts == (1 if measures_again_itself else 2)


def test_the_benchmarks_measure_a_part_again_that_missed_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"noisy": iter([3.0, 1.0]), "steady": iter([1.0])}

    def measure(name: str) -> Iterator[Measurement]:
        yield Measurement(name, next(values[name]), "times", 2)

    monkeypatch.setattr(benchmarks, "SHORT", True)
    monkeypatch.setattr(benchmarks, "PARTS", {name: partial(measure, name) for name in values})
    assert benchmarks.main([]) == 0
    assert not list(values["noisy"])


def test_a_part_that_passes_at_its_second_attempt_passes(tmp_path: Path) -> None:
    mark = tmp_path / "tried"
    command = f"test -e {mark} || {{ touch {mark}; exit 1; }}"

    assert run(Part("noisy", command, 1, attempts=2)).verdict == "passed at attempt 2"
    mark.unlink()
    assert run(Part("once", command, 1)).verdict == "failed (1)"


def test_a_part_over_its_budget_is_ended_with_its_processes(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    result = run(Part("hangs", f"sleep 600 & echo $! > {file}; wait", 1 / 60))

    assert result.verdict == "over its budget"
    assert until(lambda: has_ended(int(file.read_text())), 5)


def test_a_part_may_use_the_time_that_the_parts_before_it_left() -> None:
    quick = Part("quick", "true", 5 / 60)
    slow = Part("slow", "sleep 1", 0.5 / 60)

    assert [result.verdict for result in run_all([quick, slow])] == ["passed", "passed"]
    assert [result.verdict for result in run_all([slow, quick])] == ["over its budget", "passed"]


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_table_has_each_parts_budget_time_and_verdict() -> None:
    text = table([Result(Part("wheels", "true", 5), 62.4, "passed")])

    assert text.splitlines()[1].split() == ["wheels", "5", "min", "1:02", "passed"]


def test_the_last_lines_of_a_part_that_failed_are_kept() -> None:
    result = run(Part("prints", "seq 100; echo sorry >&2; exit 1", 1))

    assert not result.passed
    assert result.last_lines[-2:] == ("100\n", "sorry\n")
    assert len(result.last_lines) == 25

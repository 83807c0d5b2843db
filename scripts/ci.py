"""Run the longer checks of CI, each within its budget, and print the time that each one took.

What a part leaves of its budget is spare time for the parts after it. So one slow part does not
fail, but all together never take longer than their budgets together.

`python scripts/ci.py` runs all; `python scripts/ci.py wheels benchmarks` runs those two.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import IO

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"


@dataclass(frozen=True)
class Part:
    """One check: a shell command and its budget in minutes.

    A part fails when its budget and the spare time of the parts before it are used up.

    A benchmark has two attempts within its budget, because machines are noisy. The first
    table of benchmarks measures again only the parts that missed a target. The budget of the
    benchmarks beside peers includes the installation of the peers: 1.5 minutes in a fresh clone.
    """

    name: str
    command: str
    budget_minutes: float
    attempts: int = 1


_GUARD = (
    "python -m benchmarks.guard.comparing && python -m benchmarks.guard.canary && "
    "python -m pytest -q -n 2 --dist loadfile tests/stories/test_wrong_model.py "
    "tests/stories/test_compared.py"
)
# To add a check, add a row. The budgets may add up to 40 minutes. The parts whose time varies most
# are last: downloads, and what one browser or one process does.
PARTS = (
    Part("fuzz", "python -m tests.fuzz 4 && python scripts/fuzz.py 14", 3),
    Part("soak", "python -m tests.soak 0.4", 1.5),
    Part("attacks", "SHORT=1 python -m pytest -q tests/attacks", 5),
    Part("truth", "python -m tests.truth", 2.5),
    Part("benchmarks of the diagnosis", "SHORT=1 python -m benchmarks.diagnosis", 1.5, attempts=2),
    Part("benchmarks of the monitoring", "SHORT=1 python -m benchmarks.monitoring", 2, attempts=2),
    Part("benchmarks beside peers", "SHORT=1 python -m benchmarks.serving", 6.5, attempts=2),
    Part("guard", _GUARD, 4.5, attempts=2),
    Part("benchmarks", "SHORT=1 python -m benchmarks", 5),
    Part("boards", "python -m pytest -q tests/grafana tests/stack/test_whole_boards.py", 2.5),
    Part("wheels in clean environments", "python -m scripts.wheels", 6),
)
BUDGET_MINUTES = 40.0
_SHOWN_LINES = 25  # of a part that failed, once more at the end


@dataclass(frozen=True)
class Result:
    """How a part ended."""

    part: Part
    seconds: float
    verdict: str
    last_lines: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether the part passed, at any attempt."""
        return self.verdict.startswith("passed")


def run(part: Part, spare_seconds: float = 0.0) -> Result:
    """Run one part. All its processes are ended when its budget and the spare time are used up."""
    print(f"\n── {part.name}: {part.command}", flush=True)
    environment = {**os.environ, "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}"}
    started = monotonic()
    end = started + part.budget_minutes * 60 + spare_seconds
    verdict, last_lines = "failed", tuple[str, ...]()
    for attempt in range(1, part.attempts + 1):
        verdict, last_lines = _attempt(part.command, environment, end - monotonic())
        if verdict == "passed":
            verdict += f" at attempt {attempt}" if attempt > 1 else ""
        if verdict.startswith(("passed", "over")):
            break
    return Result(part, monotonic() - started, verdict, last_lines)


def run_all(parts: Sequence[Part]) -> list[Result]:
    """Run the parts, one after another; each leaves its spare time to those after it."""
    results = list[Result]()
    spare_seconds = 0.0
    for part in parts:
        result = run(part, spare_seconds)
        spare_seconds += part.budget_minutes * 60 - result.seconds
        results.append(result)
    return results


def _attempt(
    command: str, environment: dict[str, str], seconds: float
) -> tuple[str, tuple[str, ...]]:
    """Run a command; return its verdict and the last lines that it printed."""
    process = subprocess.Popen(
        command,
        shell=True,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    last_lines: deque[str] = deque(maxlen=_SHOWN_LINES)
    assert process.stdout is not None
    reader = Thread(target=_echo, args=(process.stdout, last_lines), daemon=True)
    reader.start()
    try:
        code = process.wait(seconds)
        verdict = "passed" if code == 0 else f"failed ({code})"
    except subprocess.TimeoutExpired:
        verdict = "over its budget"
    finally:
        _end(process)
        reader.join(10)
    return verdict, tuple(last_lines)


def _echo(output: IO[str], last_lines: deque[str]) -> None:
    with output:
        for line in output:
            print(line, end="", flush=True)
            last_lines.append(line)


def _end(process: "subprocess.Popen[str]") -> None:
    """End all processes of an attempt, also those that outlived its shell."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def table(results: list[Result]) -> str:
    """Return the parts with their budgets and times."""
    lines = [f"{'part':<32}{'budget':>8}{'took':>8}  verdict"]
    for result in results:
        minutes, seconds = divmod(round(result.seconds), 60)
        took, budget = f"{minutes}:{seconds:02d}", f"{result.part.budget_minutes:g} min"
        lines.append(f"{result.part.name:<32}{budget:>8}{took:>8}  {result.verdict}")
    return "\n".join(lines)


def main(names: list[str]) -> int:
    """Run the named parts, or all; return the exit code."""
    unknown = set(names) - {part.name for part in PARTS}
    if unknown:
        print(f"Unknown: {', '.join(sorted(unknown))}. The parts are:", file=sys.stderr)
        print("\n".join(f"  {part.name}" for part in PARTS), file=sys.stderr)
        return 2
    results = run_all([part for part in PARTS if not names or part.name in names])
    for result in results:
        if not result.passed:
            print(f"\n── {result.part.name} ended with:\n{''.join(result.last_lines)}", end="")
    print(f"\n{table(results)}")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))

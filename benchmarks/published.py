"""Says of each figure in `docs/benchmarks.md` when it was measured, and whether it is too old.

Each part of the page that has a table says "Measured on DATE at `COMMIT`". Such a figure is too old
once the files that it measures have changed in more than 100 commits. The laws check that, and
`python -m benchmarks.published` lists all.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
LIMIT = 100
PATHS: dict[str, tuple[str, ...]] = {
    "Watching": (
        *("src/safelight/probes", "src/safelight/watching.py", "src/safelight/metrics"),
        *("benchmarks/http.py", "benchmarks/instructions.py", "benchmarks/steps.py"),
        *("benchmarks/exposition.py", "benchmarks/process.py"),
    ),
    "Several worker processes": ("src/safelight/metrics", "benchmarks/processes.py"),
    "Serving": (
        *("src/safelight/serving", "src/safelight/http_server", "src/safelight/records"),
        *("src/safelight/telemetry", "benchmarks/serving"),
    ),
    "Where the API process spends its CPU": (
        *("src/safelight/serving", "src/safelight/http_server", "src/safelight/telemetry"),
        *("benchmarks/without.py", "benchmarks/serving/profile.py"),
    ),
    "Admission": (
        *("src/safelight/serving/engine", "src/safelight/serving/policies"),
        "benchmarks/simulation",
    ),
    "HTTP servers": ("src/safelight/http_server", "benchmarks/http_servers.py"),
    "Monitoring": ("src/safelight/rules", "src/safelight/dashboards", "benchmarks/monitoring"),
    "Histories of operation": ("src/safelight/rules", "tests/histories"),
    "Diagnosis": ("src/safelight/diagnosis", "benchmarks/diagnosis.py"),
    "Live faults": ("src/safelight/diagnosis", "tests/truth/live.py"),
    "Background work": ("src/safelight/records", "benchmarks/background.py"),
    "Traces": (
        *("src/safelight/telemetry/spans.py", "src/safelight/telemetry/traces.py"),
        *("src/safelight/telemetry/trace_child.py", "benchmarks/background.py"),
    ),
    "Reading logs": (
        *("src/safelight/stack/tools/log_lines.py", "src/safelight/stack/tools/log_files.py"),
        *("src/safelight/cli/read_logs.py", "benchmarks/logs.py"),
    ),
    "Console": ("src/safelight/console", "benchmarks/pages.py"),
    "Quality and records": (
        *("src/safelight/quality", "src/safelight/records", "benchmarks/keeping.py"),
    ),
}
_HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)
_MEASURED = re.compile(r"Measured\s+on (\d{4}-\d\d-\d\d) at `([0-9a-f]{7,40})`")


@dataclass(frozen=True)
class Figures:
    """The figures of one part of the page that were measured at one commit."""

    part: str
    date: str
    commit: str

    def commits_since(self, root: Path = ROOT) -> int | None:
        """Return how many commits changed what they measure; None if git does not know theirs.

        A clone without its history, or a source archive, knows none.
        """
        if _git(root, "cat-file", "-e", f"{self.commit}^{{commit}}") is None:
            return None
        counted = _git(root, "rev-list", "--count", f"{self.commit}..HEAD", "--", *PATHS[self.part])
        return int(counted) if counted else None


def parts(page: str) -> Iterator[tuple[str, str]]:
    """Yield the heading and the text of each part of the page, without the parts below it."""
    _before, *found = _HEADING.split(page)
    yield from zip(found[::2], found[1::2], strict=True)


def figures(page: str) -> list[Figures]:
    """Return what the page says about the origin of its figures."""
    return [
        Figures(name, date, commit)
        for name, text in parts(page)
        for date, commit in _MEASURED.findall(text)
    ]


def origin() -> str:
    """Return the date and the commit of figures that are measured now, as the page has them."""
    commit = _git(ROOT, "rev-parse", "--short", "HEAD") or "unknown"
    changed = " with changes" if _git(ROOT, "status", "--porcelain", "-uno") else ""
    return f"Measured on {datetime.now(UTC):%Y-%m-%d} at `{commit}`{changed}"


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command; None if it fails."""
    try:
        done = subprocess.run(("git", *arguments), cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def main() -> None:
    """List the figures and the commits since."""
    for one in figures(PAGE.read_text()):
        print(f"{one.part}: {one.date}, {one.commit}, {one.commits_since()} of {LIMIT} commits")


if __name__ == "__main__":
    main()

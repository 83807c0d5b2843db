"""Check the generated dashboards with Grafana's own code (npm: @grafana/data, @grafana/schema).

`python scripts/boards_check.py` prints what was checked, and exits 1 if a dashboard is wrong.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from safelight.dashboards.board import Board
from safelight.dashboards.catalog import boards
from safelight.stack.files.grafana import board_files

CHECKER = Path(__file__).parent.parent / "tests" / "grafana"
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")


def expectations(built: tuple[Board, ...]) -> dict[str, dict[str, dict[str, object]]]:
    """Return which values of each panel are good, by uid and title."""
    return {
        board.uid: {
            panel.title: {"better": panel.better, "limit": panel.limit} for panel in board.panels
        }
        for board in built
    }


def check(files: dict[str, str], expected: dict[str, dict[str, dict[str, object]]]) -> int:
    """Run the checker on these dashboards; return its exit code."""
    install()
    with TemporaryDirectory() as name:
        for file, content in files.items():
            (Path(name) / file).write_text(content)
        (Path(name) / "expectations.json").write_text(json.dumps(expected))
        return subprocess.run(("node", "check.cjs", name), cwd=CHECKER, check=False).returncode


def install() -> None:
    """Install Grafana's code with npm, if its versions changed."""
    if _installed_at() < (CHECKER / "package-lock.json").stat().st_mtime:
        subprocess.run(_INSTALL, cwd=CHECKER, check=True)


def _installed_at() -> float:
    lock = CHECKER / "node_modules" / ".package-lock.json"
    return lock.stat().st_mtime if lock.exists() else 0.0


if __name__ == "__main__":
    sys.exit(check(board_files(), expectations(boards())))

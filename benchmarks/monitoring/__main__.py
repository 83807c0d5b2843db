"""Print every measurement of the monitoring, and exit 1 if a target is missed.

`python -m benchmarks.monitoring --full` uses a day in full resolution (minutes, and gigabytes).
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measurements import Measurement, as_markdown, verdict
from benchmarks.monitoring import faults, queries
from safelight.dashboards.catalog import boards
from safelight.rules.alerts import alerts
from safelight.stack.files.export import Choices, deployment

_NAMESPACE = "instructpix2pix"


def counts() -> Iterator[Measurement]:
    """Yield the numbers of dashboards, panels and alerts; tests check each of them."""
    dashboards = boards()
    panels = sum(len(board.panels) for board in dashboards)
    yield Measurement("dashboards", len(dashboards), "dashboards", 12)
    yield Measurement("panels", panels, "panels", 150)
    yield Measurement("alerts", len(alerts(_NAMESPACE)), "alerts", least=40)


def lint_errors() -> Iterator[Measurement]:
    """Yield the number of messages of promtool and amtool about the exported files."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in deployment(Choices(_NAMESPACE)).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        for command, file in (
            (("promtool", "check", "rules", "--lint=all"), "prometheus/rules/*.yml"),
            (("promtool", "check", "config", "--lint=all"), "prometheus/prometheus.yml"),
            (("amtool", "check-config"), "alertmanager/alertmanager.yml"),
        ):
            files = [str(path) for path in sorted(folder.glob(file))]
            process = subprocess.run(
                (*command, *files), capture_output=True, text=True, check=False
            )
            lines = [line for line in process.stderr.splitlines() if line]
            number = len(lines) + (process.returncode != 0)
            yield Measurement(f"messages of `{' '.join(command)}`", number, "lines", 0)


def main(arguments: list[str]) -> int:
    """Measure, print the table, and return the exit code."""
    full = "--full" in arguments
    with ThreadPoolExecutor(1) as pool:
        alerting = pool.submit(lambda: list(faults.measure()))  # it waits nearly all the time
        measurements = [*_run("counting", counts), *_run("linting", lint_errors)]
        queried = [
            *_run("querying dashboards", lambda: queries.measure_boards(full=full)),
            *_run("evaluating the rules", lambda: queries.measure_rules(full=full)),
        ]
        measurements += [*_run("waiting for alerts", alerting.result), *queried]
    print("\n".join(as_markdown(measurements)))
    return verdict(measurements)


def _run(name: str, part: Callable[[], Iterable[Measurement]]) -> Iterable[Measurement]:
    print(f"{name} …", file=sys.stderr)
    return part()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Prints every figure of the monitoring, and exits 1 where a target is missed.

`python -m benchmarks.monitoring --full` has a day in full resolution (minutes, and gigabytes).
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, as_markdown, verdict
from benchmarks.monitoring import asking, faults
from safelight.dashboards.catalog import boards
from safelight.rules.alerts import alerts
from safelight.stack.files.export import Choices, deployment

_NAMESPACE = "instructpix2pix"


def counts() -> Iterator[Figure]:
    """Yield how many boards, panels and alerts there are; tests prove each of them."""
    drawn = boards()
    yield Figure("boards", len(drawn), "boards", least=14)
    yield Figure("panels", sum(len(board.panels) for board in drawn), "panels", least=110)
    yield Figure("alerts", len(alerts(_NAMESPACE)), "alerts", least=40)


def complaints() -> Iterator[Figure]:
    """Yield how many words the programs have to say about what is exported."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in deployment(Choices(_NAMESPACE)).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        for command, file in (
            (("promtool", "check", "rules", "--lint=all"), "prometheus/rules/safelight.yml"),
            (("promtool", "check", "config", "--lint=all"), "prometheus/prometheus.yml"),
            (("amtool", "check-config"), "alertmanager/alertmanager.yml"),
        ):
            done = subprocess.run(
                (*command, str(folder / file)), capture_output=True, text=True, check=False
            )
            said = [line for line in done.stderr.splitlines() if line]
            worst = len(said) + (done.returncode != 0)
            yield Figure(f"complaints of `{' '.join(command)}`", worst, "lines", 0)


def main(arguments: list[str]) -> int:
    """Measure, print the table, and return the exit code."""
    full = "--full" in arguments
    with ThreadPoolExecutor(1) as beside:
        hurt = beside.submit(lambda: list(faults.measure()))  # it waits nearly all the time
        figures = [*_told("counting", counts), *_told("checking", complaints)]
        asked = [
            *_told("asking for boards", lambda: asking.measure_boards(full=full)),
            *_told("judging a hundred services", lambda: asking.measure_rules(full=full)),
        ]
        figures += [*_told("hurting a service, beside it", hurt.result), *asked]
    print("\n".join(as_markdown(figures)))
    return verdict(figures)


def _told(name: str, part: Callable[[], Iterable[Figure]]) -> Iterable[Figure]:
    print(f"{name} …", file=sys.stderr)
    return part()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

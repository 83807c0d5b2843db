"""Print a demo story while it runs, then its diagnosis, forecasts and radar."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from safelight.cli.diagnose import show
from safelight.cli.forecast import show as show_forecasts
from safelight.cli.options import console
from safelight.cli.radar import show as show_radar
from safelight.cli.records_access import write_file
from safelight.diagnosis.page import page
from safelight.diagnosis.report import as_data
from safelight.stories.outcome import Outcome, Scenario
from safelight.stories.scenarios import SCENARIOS


def run_story(name: str, html: Path | None) -> None:
    """Run a story of SCENARIOS, and print its diagnosis."""
    out = console()
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    result = _run(scenario, out)
    out.print()
    for note in result.notes:
        out.print(Text(f"  {note}"))
    out.print()
    show([result.diagnosis], out)
    if result.forecasts:
        show_forecasts(result.diagnosis.evidence.service.job, list(result.forecasts), out)
    if result.radar is not None:
        show_radar(result.radar, "minutes", out)
    if html is not None:
        # The story's Prometheus has stopped: the page shows expressions without links.
        write_file(html, page([as_data(result.diagnosis, None)]))


def _run(scenario: Scenario, out: Console) -> Outcome:
    """Return a story's result; on a terminal show the elapsed time."""
    out.print(Text(f"{scenario.name}: {scenario.about}", style="bold"))
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("starting", total=None)

        def report(line: str) -> None:
            progress.update(task, description=line)
            out.print(Text(f"  {line}", style="dim"))

        return scenario.run(report)

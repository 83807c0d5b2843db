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
from safelight.cli.shadow import read as read_shadow
from safelight.cli.shadow import show as show_shadow
from safelight.diagnosis.page import page
from safelight.diagnosis.report import Diagnosis, as_data
from safelight.errors import BadSetting
from safelight.stories.outcome import Outcome, Scenario
from safelight.stories.scenarios import SCENARIOS


def run_story(name: str, html: Path | None) -> None:
    """Run a story of SCENARIOS, and print its diagnosis."""
    out = console()
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    if html is not None and not scenario.has_diagnosis:
        raise BadSetting(f"The story {name} has no diagnosis to write. Leave out --html.")
    result = _run(scenario, out)
    out.print()
    for note in result.notes:
        out.print(Text(f"  {note}"))
    out.print()
    if result.comparison is not None:
        show_shadow(read_shadow(result.comparison), out)
    if result.diagnosis is not None:
        show([result.diagnosis], out)
        _forecasts(result, result.diagnosis, out)
    if result.radar is not None:
        show_radar(result.radar, "minutes", out)
    if html is not None and result.diagnosis is not None:
        # The story's Prometheus has stopped: the page shows expressions without links.
        write_file(html, page([as_data(result.diagnosis, None)]))


def _forecasts(result: Outcome, diagnosis: Diagnosis, out: Console) -> None:
    if result.forecasts:
        show_forecasts(diagnosis.evidence.service.job, list(result.forecasts), out)


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

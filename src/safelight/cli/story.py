"""How `safelight demo story` looks: what happens, as it happens, then what is said of it."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from safelight.cli.diagnose import show
from safelight.cli.forecast import show as show_forecasts
from safelight.cli.options import console
from safelight.cli.radar import show as show_radar
from safelight.cli.records_access import write
from safelight.diagnosis.page import page
from safelight.diagnosis.report import as_data
from safelight.stories.scenarios import SCENARIOS, Outcome, Scenario


def told(name: str, html: Path | None) -> None:
    """Tell a story of SCENARIOS, and show what the diagnosis says of it."""
    out = console()
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    end = _listened(scenario, out)
    out.print()
    for note in end.notes:
        out.print(Text(f"  {note}"))
    out.print()
    show([end.diagnosis], out)
    if end.forecasts:
        show_forecasts(end.diagnosis.evidence.service.job, list(end.forecasts), out)
    if end.radar is not None:
        show_radar(end.radar, "minutes", out)
    if html is not None:
        # Its Prometheus has ended: the page has the expressions, and no links that lead nowhere.
        write(html, page([as_data(end.diagnosis, None)]))


def _listened(scenario: Scenario, out: Console) -> Outcome:
    """Return a story's end; on a terminal with the time that it takes."""
    out.print(Text(f"{scenario.name}: {scenario.about}", style="bold"))
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("beginning", total=None)

        def tell(line: str) -> None:
            progress.update(task, description=line)
            out.print(Text(f"  {line}", style="dim"))

        return scenario.run(tell)

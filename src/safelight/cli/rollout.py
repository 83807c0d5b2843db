"""`safelight rollout`: give the callers of a service its second model, step by step."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from safelight.cli.operating import DEFAULT_ADDRESS, Address, get, post
from safelight.cli.options import console
from safelight.errors import BadSetting, ServiceFailed
from safelight.guard.rollout import Decision

_TIMEOUT_SECONDS = 60.0
_LARGEST = 100
_STYLES = {"promote": "green", "roll_back": "red", "abort": "red", "hold": "yellow"}

rollout = typer.Typer(
    help="Give the callers of a service its second model, step by step, and take it back."
)


class Answer(msgspec.Struct):
    """The answer of the routes under `/v1/rollout`."""

    first: str
    second: str
    state: str
    problem: str
    status: str
    percent: int
    figures: dict[str, float]
    missing: str
    steps: list[int]
    decisions: list[Decision]


@rollout.command()
def start(
    model: Annotated[str, typer.Argument(help="The second model of the service.")],
    url: Address = DEFAULT_ADDRESS,
    steps: Annotated[
        str, typer.Option(help="Shares of the callers, in percent, rising.")
    ] = "5,25,50,100",
    to: Annotated[
        int, typer.Option(min=1, max=_LARGEST, help="The last share; higher steps are left out.")
    ] = _LARGEST,
    least: Annotated[
        int, typer.Option(min=1, max=100_000, help="Requests of the second model for each step.")
    ] = 50,
) -> None:
    """Begin a rollout. Each step needs proof that the second model is as good.

    Example: safelight rollout start ./edit-v2 --to 100 --steps 5,25,50,100
    """
    content = {"model": model, "steps": _steps(steps, to), "least": least}
    _send(url, "start", content)


@rollout.command()
def status(url: Address = DEFAULT_ADDRESS) -> None:
    """Show the rollout with the figures of each decision.

    Example: safelight rollout status
    """
    show(_read(get(url, "/v1/rollout", timeout_seconds=_TIMEOUT_SECONDS)), console())


@rollout.command()
def pause(url: Address = DEFAULT_ADDRESS) -> None:
    """Stay at the present step until you resume. Guards still roll back.

    Example: safelight rollout pause
    """
    _send(url, "pause")


@rollout.command()
def resume(url: Address = DEFAULT_ADDRESS) -> None:
    """Decide again about the next step, after a pause.

    Example: safelight rollout resume
    """
    _send(url, "resume")


@rollout.command()
def promote(url: Address = DEFAULT_ADDRESS) -> None:
    """Go to the next step now, without proof.

    Example: safelight rollout promote
    """
    _send(url, "promote")


@rollout.command()
def abort(url: Address = DEFAULT_ADDRESS) -> None:
    """Give all callers the first model again, from the next request on.

    Example: safelight rollout abort
    """
    _send(url, "abort")


def _steps(text: str, to: int) -> list[int]:
    """Return the steps up to the last share, which is one of them. Raises BadSetting."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise BadSetting(f"--steps is {text[:60]!r}. Write percents, such as 5,25,50,100.")
    return [*(step for part in parts if (step := int(part[:9])) < to), to]


def _send(url: str, action: str, content: object = None) -> None:
    answer = post(url, f"/v1/rollout/{action}", timeout_seconds=_TIMEOUT_SECONDS, content=content)
    show(_read(answer), console())


def _read(answer: Mapping[str, object]) -> Answer:
    try:
        return msgspec.convert(answer, Answer)
    except msgspec.ValidationError:
        raise ServiceFailed("The service is of another version of Safelight. Update it.") from None


def show(answer: Answer, out: Console) -> None:
    """Print a rollout."""
    out.print(Text(f"A {answer.first}"))
    out.print(Text(f"B {answer.second or 'none'}: {answer.problem or answer.state}"))
    if answer.status == "none":
        out.print(Text("No rollout. Start one: safelight rollout start B"))
        return
    steps = ", ".join(map(str, answer.steps))
    out.print(Text(f"{answer.status}: B serves {answer.percent} % of the callers (steps {steps})"))
    if answer.missing:
        out.print(Text(f"The next step waits: {answer.missing}."))
    out.print()
    out.print(_decisions(answer.decisions))


def _decisions(decisions: list[Decision]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time (UTC)", "decision", "B serves", "reason", "figures"):
        table.add_column(name, justify="right" if name == "B serves" else "left")
    for each in decisions:
        figures = ", ".join(f"{name} {value:g}" for name, value in each.figures.items())
        table.add_row(
            f"{datetime.fromtimestamp(each.at, UTC):%Y-%m-%d %H:%M:%S}",
            Text(each.action.replace("_", " "), style=_STYLES.get(each.action, "")),
            f"{each.percent} %",
            Text(each.reason),
            figures,
        )
    return table

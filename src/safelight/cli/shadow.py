"""`safelight shadow`: show how the second model of a service compares with the first."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from safelight.cli.operating import DEFAULT_ADDRESS, Address, get
from safelight.cli.options import console
from safelight.errors import ServiceFailed
from safelight.guard.pairs import BY_NAME
from safelight.guard.shadow import ALL, Row

_TIMEOUT_SECONDS = 10.0
_COLOURS = {"better": "green", "worse": "red", "different": "yellow", "undecided": "dim"}
_MEANINGS = {
    "worse": "B is worse. Do not roll it out.",
    "better": "B is better, and lost nothing else that matters.",
    "undecided": "Nothing is proven yet.",
}


class Shadow(msgspec.Struct):
    """The answer of `GET /v1/shadow`."""

    first: str
    second: str
    state: str
    problem: str
    note: str
    verdict: str
    pairs: int
    limit: int
    ended: str
    copies: dict[str, int]
    budget_seconds: float
    rows: list[Row]


def shadow(
    url: Address = DEFAULT_ADDRESS,
    types: Annotated[
        bool, typer.Option("--types", help="Show all instruction types, not only findings.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how a service's second model (B) compares with the first (A), and on what evidence.

    Examples:

        safelight shadow

        safelight shadow http://127.0.0.1:8000 --types
    """
    answer = get(url, "/v1/shadow", timeout_seconds=_TIMEOUT_SECONDS)
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        return
    show(read(answer), console(), types=types)


def read(answer: Mapping[str, object]) -> Shadow:
    """Return the answer of a service. Raises ServiceFailed."""
    try:
        return msgspec.convert(answer, Shadow)
    except msgspec.ValidationError:
        raise ServiceFailed("The service is of another version of Safelight. Update it.") from None


def show(state: Shadow, out: Console, *, types: bool = False) -> None:
    """Print a comparison."""
    out.print(Text(f"A {state.first}"))
    out.print(Text(f"B {state.second}: {state.problem or state.state}"))
    for note in filter(None, (state.note, state.ended)):
        out.print(Text(note))
    counts = ", ".join(f"{number} {name}" for name, number in state.copies.items())
    out.print(Text(f"{state.pairs} pairs of at most {state.limit}; copies: {counts}"))
    if state.rows:
        out.print()
        out.print(table(state.rows, types=types))
    out.print()
    style = _COLOURS.get(state.verdict, "")
    meaning = _MEANINGS.get(state.verdict, "")
    out.print(Text.assemble("Verdict: ", (state.verdict, style), f". {meaning}"))


def table(rows: Iterable[Row], *, types: bool = False) -> Table:
    """Return the measures: those of all pairs, and of types if something was found there."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("measure", "requests", "pairs", "B to A", "surely between", "A to A", "verdict"):
        result.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for row in rows:
        if types or row.instruction_type == ALL or row.verdict in ("better", "worse"):
            result.add_row(*_cells(row))
    return result


_NUMBERS = ("pairs", "B to A", "surely between", "A to A")


def _cells(row: Row) -> tuple[str | Text, ...]:
    return (
        row.measure.replace("_", " "),
        row.instruction_type,
        str(row.n),
        _value(row, row.value),
        "-" if row.low is None or row.high is None else _between(row, row.low, row.high),
        _floor(row),
        Text(row.verdict, style=_COLOURS[row.verdict]),
    )


def _between(row: Row, low: float, high: float) -> str:
    return f"{_value(row, low)} and {_value(row, high)}"


def _floor(row: Row) -> str:
    """Return how far A is from itself, if that is measured."""
    if row.measure in BY_NAME and BY_NAME[row.measure].is_ratio:
        return ""
    return "unknown" if row.floor is None else f"± {100 * row.floor:.1f}"


def _value(row: Row, value: float) -> str:
    """Return a ratio as a factor, and a difference in points of 100."""
    if row.measure in BY_NAME and BY_NAME[row.measure].is_ratio:
        return f"x {value:.3f}"
    return f"{100 * value:+.1f}"

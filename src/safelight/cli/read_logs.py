"""`safelight logs`: read, filter, follow and count the JSON lines of a service."""

import json
from collections import Counter
from collections.abc import Iterable
from threading import Event
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from safelight.cli.options import console
from safelight.cli.times import SPANS, parse_age
from safelight.errors import BadSetting
from safelight.reasons import NO_ERROR
from safelight.settings import load
from safelight.stack.tools.log_files import STDIN, follow, read
from safelight.stack.tools.log_lines import (
    Choice,
    Line,
    Reading,
    Summary,
    is_request,
    reason_of,
    seconds_of,
    text,
    value,
)
from safelight.telemetry.private import escaped
from safelight.units import counted, duration

_POLL_SECONDS = 0.3

Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Log files, with those that were renamed; - is standard input. Default: the file of "
        "SAFELIGHT_LOG_OUTPUT.",
        show_default=False,
    ),
]
Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", help="Only requests that ended so (none: success). Repeatable."),
]
Types = Annotated[
    list[str] | None, typer.Option("--type", help="Only this instruction type. Repeatable.")
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="Only this id: of the server, the caller or the trace. Repeatable."),
]
Slow = Annotated[
    float, typer.Option(help="Only requests of at least so many seconds.", show_default=False)
]
Since = Annotated[
    str | None, typer.Option(help=f"How far back, such as {SPANS}. Default: all lines.")
]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Print new lines as they are written, until Ctrl-C.")
]
Count = Annotated[
    bool, typer.Option("--summary", help="Count the requests by hour and reason instead.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the lines, or the counts, as JSON.")]


def logs(
    files: Files = None,
    reason: Reasons = None,
    kind: Types = None,
    name: Ids = None,
    slow: Slow = 0.0,
    since: Since = None,
    follows: Follow = False,
    summary: Count = False,
    as_json: AsJson = False,
) -> None:
    """Read the log of a service: filter it, follow it, or count requests by hour and reason.

    Examples:

        safelight logs safelight.log --since 1h --slow 10

        safelight logs safelight.log --reason cuda_oom --reason timeout --summary

        safelight logs safelight.log --id 5c1f09aa27de4b1c8d3f0a6b7c8d9e0f --json

        journalctl -u safelight-instructpix2pix -o cat | safelight logs - --summary
    """
    paths = files or [_file_of_settings()]
    earliest = None if since is None else parse_age(since)
    ids = frozenset(each.lower() for each in name or ())  # a service writes ids so
    choice = Choice(frozenset(reason or ()), frozenset(kind or ()), ids, slow, earliest)
    reading = Reading()
    if follows:
        if summary or len(paths) > 1 or paths[0] == STDIN:
            raise BadSetting("--follow needs one file, and no --summary.")
        pause = Event()
        new = follow(paths[0], lambda: pause.wait(_POLL_SECONDS))
        _print_lines(reading.chosen(new, choice), as_json=as_json)
    chosen = reading.chosen(read(paths), choice)
    if summary:
        counts = Summary()
        for _, line in chosen:
            counts.add(line)
        _print_summary(counts, as_json=as_json)
    else:
        _print_lines(chosen, as_json=as_json)
    if reading.rejected:
        typer.echo(f"{counted(reading.rejected, 'line')} left out: they are not JSON.", err=True)


def _file_of_settings() -> str:
    output = load().log_output
    if output in ("stderr", "stdout"):
        raise BadSetting(
            f"The log goes to {output}. Name a file, or pipe the log to `safelight logs -`; with "
            "SAFELIGHT_LOG_OUTPUT a service writes to a file."
        )
    return output


def _print_lines(chosen: Iterable[tuple[bytes, Line]], *, as_json: bool) -> None:
    for raw, line in chosen:
        typer.echo(escaped(raw.decode(errors="replace")) if as_json else row_of(line))


def row_of(line: Line) -> str:
    """Return a line as text: its time, then the request or the event."""
    at = str(line.get("@timestamp", ""))[:23].replace("T", " ")
    if not is_request(line):
        level, message = text(line, "log.level"), text(line, "message")
        detail = text(line, "error.message") or text(line, "safelight.reason")
        return escaped(f"{at:<23}  {level.upper():<8} {message}{detail and f': {detail}'}")
    status, reason = value(line, "http.response.status_code"), reason_of(line)
    result = "ok" if reason == NO_ERROR else reason
    took, kind = duration(seconds_of(line)), text(line, "safelight.instruction_type")
    path, name = text(line, "url.path"), text(line, "http.request.id")
    return escaped(f"{at:<23}  {status!s:<4} {took:>8}  {result:<20} {path:<12} {kind:<20} {name}")


def _print_summary(counts: Summary, *, as_json: bool) -> None:
    if as_json:
        rows = [{"hour": hour, "requests": dict(found)} for hour, found in counts.hours.items()]
        document = {"hours": rows, "slowest_seconds": counts.slowest_seconds}
        typer.echo(json.dumps(document, indent=2))
        return
    total = counts.reasons.total()
    if not total:
        typer.echo("No request.")
        return
    reasons = [reason for reason, _ in counts.reasons.most_common() if reason != NO_ERROR]
    title = f"{counted(total, 'request')}; the slowest took {duration(counts.slowest_seconds)}"
    table = Table(box=None, header_style="dim")
    table.add_column("hour (UTC)", no_wrap=True)
    for column in ("requests", "ok", *reasons):
        table.add_column(Text(escaped(column)), justify="right")
    for hour in sorted(counts.hours):
        table.add_row(hour.replace("T", " "), *_cells(counts.hours[hour], reasons))
    if len(counts.hours) > 1:
        table.add_row("all", *_cells(counts.reasons, reasons), style="bold")
    out = console()
    out.print(title)
    out.print(table)


def _cells(found: Counter[str], reasons: list[str]) -> list[str]:
    return [str(found.total()), *(str(found[each] or "") for each in (NO_ERROR, *reasons))]

"""`safelight show`: everything that is known of one request, on one page."""

from itertools import islice
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from safelight.cli.diagnose import URL, diagnose_services
from safelight.cli.options import console, parse_address
from safelight.cli.read_logs import row_of
from safelight.cli.records_access import AsJson, State, Url, open_records
from safelight.cli.screen import legend, stacked_bar
from safelight.diagnosis.cost import price_of
from safelight.diagnosis.evidence import Spans
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.report import sentence
from safelight.errors import BadSetting, MonitoringFailed
from safelight.guard.pairs import BY_NAME
from safelight.reasons import NO_ERROR
from safelight.records.rows import Row
from safelight.settings import load
from safelight.stack.tools.log_files import read
from safelight.stack.tools.log_lines import Choice, Line, Reading
from safelight.telemetry.private import escaped
from safelight.units import duration, when

_BAR_COLUMNS = 60
_MOST_LINES = 50
_PRIVATE_MODE = 0o600  # of callers' images
_FINDING_SECONDS = 60.0  # after the request, when Prometheus has its samples
_SHOWN = {
    "by": ("model", "pipeline", "precision"),
    "asked": ("steps_asked", "guidance_asked", "image_guidance_asked"),
    "done": ("steps", "guidance_in_force", "image_guidance_in_force", "seed", "batch"),
    "changed": ("degraded", "overridden", "truncated"),
    "image": ("width", "height", "background_entropy"),
    "found": ("found_error", "found_score", "found_structure", "found_adherence"),
    "rating": ("rating", "rating_reason"),
}

Name = Annotated[str, typer.Argument(help="Id of the request, of its caller or of its trace.")]
Log = Annotated[
    str | None,
    typer.Option(help="Log file. Default: that of SAFELIGHT_LOG_OUTPUT.", show_default=False),
]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder for the images before, after and by a second model, if kept."),
]
PrometheusUrl = Annotated[
    str, typer.Option("--prometheus", help="Address of Prometheus; empty: no findings.")
]


def show(
    request_id: Name,
    log: Log = None,
    samples: Images = None,
    prometheus: PrometheusUrl = URL,
    as_json: AsJson = False,
    records_url: Url = None,
    state_folder: State = None,
) -> None:
    """Show one request: its record, stages, log lines, trace, images, and what was wrong then.

    Examples:

        safelight show 5c1f09aa27de4b1c8d3f0a6b7c8d9e0f

        safelight show 5c1f09aa27de4b1c8d3f0a6b7c8d9e0f --log safelight.log --samples images
    """
    with open_records(records_url, state_folder) as database:
        from safelight.records.queries import find_rows, sample_of, usual_stages

        rows = find_rows(database, request_id)
        if not rows:
            raise BadSetting(
                f"The records have no request {request_id[:80]!r}. It may be older than those that "
                "are kept, or not written yet: try again in a second."
            )
        row = rows[0]
        usual, images = usual_stages(database, row), sample_of(database, _text(row, "request_id"))
    lines, complaint = _log_lines(log, row)
    if as_json:
        if samples is not None:
            raise BadSetting("--samples cannot be combined with --json.")
        _print_json({**row, "usual_stages": usual, "log": [raw.decode() for raw, _ in lines]})
        return
    out = console()
    out.print(_title(row, len(rows)))
    out.print(_facts(row))
    _print_stages(row, usual, out)
    _print_heading("log", out)
    for _, line in lines:
        out.print(Text(row_of(line)), soft_wrap=True)
    if not lines:
        out.print(Text(f"  {complaint}", style="dim"), soft_wrap=True)
    _print_heading("trace and images", out)
    out.print(Text(f"  {_trace(row)}"), soft_wrap=True)
    out.print(Text(f"  {_saved(images, samples, row)}"), soft_wrap=True)
    _print_findings(row, prometheus, out)


def _log_lines(log: str | None, row: Row) -> tuple[list[tuple[bytes, Line]], str]:
    """Return the log lines of a request, and what to say if there are none."""
    output = log or load().log_output
    if output in ("stderr", "stdout"):
        return [], "unknown: name the log file with --log"
    choice = Choice(ids=frozenset({_text(row, "request_id")}))
    try:
        return list(islice(Reading().chosen(read([output]), choice), _MOST_LINES)), "no line"
    except BadSetting as error:
        return [], f"unknown: {error}"


def _print_json(document: dict[str, object]) -> None:
    import orjson

    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _title(row: Row, number: int) -> Text:
    reason, status = _text(row, "error"), _text(row, "status_code")
    result = "ok" if reason == NO_ERROR else reason
    colour = "bold green" if reason == NO_ERROR else "bold red"
    took, at = duration(_number(row, "seconds")), when(_number(row, "at"))
    names = ", ".join(_text(row, name) for name in ("instruction_type", "request_id"))
    text = Text.assemble((f"{status} {result}", colour), f" after {took}, {at}\n")
    text.append(f"{_text(row, 'namespace')} {_text(row, 'endpoint')}, {names}")
    if number > 1:
        text.append(f"\nthe newest of {number} requests with this id", style="yellow")
    return text


def _facts(row: Row) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="dim")
    grid.add_column(overflow="fold")
    for title, names in _SHOWN.items():
        known = [name for name in names if row.get(name) not in (None, "", False)]
        if known:
            grid.add_row(title, Text(", ".join(f"{name} {_text(row, name)}" for name in known)))
    if "second_model" in row:
        grid.add_row("compared", Text(_compared(row)))
    grid.add_row("cost", Text(_cost(row)))
    return grid


def _compared(row: Row) -> str:
    """Return what a second model made of the request, beside what the served one did."""
    measures = cast("dict[str, float]", row["second_measures"])
    values = (_measure(name, value) for name, value in measures.items() if name in BY_NAME)
    return f"with {_text(row, 'second_model')}: {', '.join(values)}"


def _measure(name: str, value: float) -> str:
    measure, title = BY_NAME[name], name.replace("_", " ")
    if measure.is_ratio:
        return f"{title} {value:.2f} times"
    sign = "" if measure.is_distance else "+"
    return f"{title} {100 * value:{sign}.1f} points"


def _cost(row: Row) -> str:
    if "device_seconds" not in row:
        return "unknown: the device time was not known at the end of the request"
    seconds = _number(row, "device_seconds")
    price = price_of(seconds, load().gpu_hour_price)
    priced = "unknown (set SAFELIGHT_GPU_HOUR_PRICE)" if price is None else f"{price:.3g}"
    return f"device time {duration(seconds)}, price {priced}"


def _text(row: Row, name: str) -> str:
    value = row.get(name, "")
    return f"{value:.4g}" if isinstance(value, float) else escaped(str(value))


def _number(row: Row, name: str) -> float:
    value = row[name]
    assert isinstance(value, int | float)
    return value


def _print_stages(row: Row, usual: dict[str, float], out: Console) -> None:
    stages = cast("dict[str, float]", row["stages"])
    total = sum(stages.values()) or 1.0
    shares = {stage: seconds / total for stage, seconds in stages.items()}
    _print_heading("stages", out)
    out.print(stacked_bar(shares, _BAR_COLUMNS))
    out.print(legend(shares))
    table = Table(box=None, header_style="dim")
    for column in ("stage", "this request", "usual", ""):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, seconds in stages.items():
        typical = usual.get(stage)
        factor = f"{seconds / typical:.1f} times" if typical and seconds > 2 * typical else ""
        cells = (duration(seconds), duration(typical) if typical is not None else "", factor)
        table.add_row(stage, *cells, style="bold" if factor else "")
    out.print(table)
    if not usual:
        out.print(Text("  too few earlier requests of this type to compare with", style="dim"))


def _trace(row: Row) -> str:
    """Return what there is to say of the trace of a request."""
    trace_id, page = _text(row, "trace_id"), load().trace_url
    if not trace_id:
        return "no trace: this request was ordinary, or there is no receiver (docs/tracing.md)"
    link = page.replace("{trace_id}", trace_id) if page else "SAFELIGHT_TRACE_URL makes a link"
    return f"trace {trace_id}  {link}"


def _saved(images: tuple[bytes, bytes, bytes] | None, folder: Path | None, row: Row) -> str:
    """Write the images of a request to a folder; return what there is to say of them."""
    if images is None:
        return "no images: SAFELIGHT_SAMPLES=true keeps some"
    if folder is None:
        return "images are kept: --samples FOLDER writes them"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for state, data in zip(("before", "after", "second"), images, strict=True):
            if data:  # no image before a generation, and seldom a second model's
                file = folder / f"{_text(row, 'request_id')}-{state}.jpg"
                file.touch(_PRIVATE_MODE)
                file.write_bytes(data)
    except OSError as error:
        raise BadSetting(f"{folder} cannot be written: {error.strerror}.") from None
    return f"images are in {folder}"


def _print_findings(row: Row, prometheus: str, out: Console) -> None:
    _print_heading("findings at that time", out)
    if not prometheus:
        out.print(Text("  not asked for", style="dim"))
        return
    try:
        with Prometheus(parse_address(prometheus)) as client:
            at = min(_number(row, "at") + _FINDING_SECONDS, client.now())
            diagnoses = diagnose_services(client, _text(row, "namespace"), at, Spans(), out)
    except (MonitoringFailed, BadSetting) as error:
        out.print(Text(f"  unknown: {error}", style="yellow"), soft_wrap=True)
        return
    findings = [each for diagnosis in diagnoses for each in diagnosis.findings]
    for finding in findings:
        severity = finding.sign.severity.word
        verdict = f"  {severity}  {finding.check.title}: {sentence(finding.sign.verdict)}"
        out.print(Text(verdict), soft_wrap=True)
    if not findings:
        out.print(Text("  none", style="green"))


def _print_heading(title: str, out: Console) -> None:
    out.print(Text(f"\n{title}", style="bold"))

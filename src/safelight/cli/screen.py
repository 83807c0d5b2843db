"""Turn a View into the screen of `safelight top`, as a Rich panel."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from safelight.metrics.catalog import LADDER, STAGES
from safelight.stack.tools.top import QUANTILES
from safelight.stack.tools.view import Engine, Gpu, View
from safelight.units import duration, share, size, sizes

_NAME_COLUMNS = 9
_BORDER_COLUMNS = 4
_GAP = 2
_MAX_BAR_COLUMNS = 100
_METER_COLUMNS = 24
_SPARKS = "▁▂▃▄▅▆▇█"
_MIN_LEGEND_SHARE = 0.01
_COLOURS = dict(
    zip(
        STAGES,
        (
            "bright_black",
            "white",
            "yellow",
            "bright_blue",
            "bright_cyan",
            "blue",
            "magenta",
            "green",
            "cyan",
            "bright_yellow",
            "bright_magenta",
            "bright_green",
            "red",
        ),
        strict=True,
    )
)

Row = tuple[str, RenderableType]


def screen(view: View, url: str, width: int) -> Panel:
    """Return the whole screen for a terminal of `width` columns."""
    inner = min(width - _BORDER_COLUMNS - _NAME_COLUMNS - _GAP, _MAX_BAR_COLUMNS)
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(style="dim", width=_NAME_COLUMNS, no_wrap=True)
    table.add_column()
    for name, content in (*_service(view), *_model(view, inner), *_machine(view)):
        table.add_row(name, content)
    period = f"last {view.seconds:.0f} s" if view.seconds >= 1 else "first reading"
    return Panel(
        table,
        title=Text.assemble((f" {url} ", "bold")),
        title_align="left",
        subtitle=Text(f" {period} · Ctrl-C to stop ", style="dim"),
        subtitle_align="right",
    )


def _service(view: View) -> Iterator[Row]:
    yield "model", _workers(view)
    rate = Text(f"{view.requests_per_second:.2f}/s".ljust(_GAP + 8), style="bold")
    yield "requests", rate.append(_sparkline(view.recent_rates), style="cyan")
    if view.failures:
        each = (f"{reason} {rate:.2f}/s" for reason, rate in view.failures.items())
        yield "failed", Text(_joined(each), style="red")
    pairs = zip(QUANTILES, view.latency_seconds, strict=True)
    yield "latency", Text(_joined(f"P{q * 100:g} {_seconds(value)}" for q, value in pairs))
    queue = [f"{view.queue_depth:.0f} waiting", f"{view.in_flight:.0f} in flight"]
    yield "queue", Text(_joined([*queue, f"wait P95 {_seconds(view.queued_seconds)}"]))
    if view.engine is not None:
        yield from _engine(view.engine)


def _engine(engine: Engine) -> Iterator[Row]:
    """Yield the rows about batches, GPU use and degradation."""
    text = Text(f"mean {engine.batch_mean:.1f}" if engine.batch_mean else "none in this time")
    if engine.batch_limit is not None:
        text.append(f"   limit {engine.batch_limit:.0f}", style="dim")
    total = sum(engine.batch_sizes.values())
    for requests, number in engine.batch_sizes.items():
        text.append(f"   {requests}\u00a0", style="dim")
        text.append(_unbroken(share(number / total)), style="cyan")
    yield "batches", text
    backlog = f"{_seconds(engine.work_seconds)} of work waiting"
    shares = (f"{use} {share(ratio)}" for use, ratio in engine.device_shares.items())
    yield "device", Text(_joined([backlog, *shares]))
    yield "level", _degradation(engine)
    if engine.refused:
        each = (f"{reason} {rate:.2f}/s" for reason, rate in engine.refused.items())
        yield "refused", Text(_joined(each), style="red")


def _degradation(engine: Engine) -> Text:
    level = int(engine.degradation_level)
    text = Text("full service", style="green")
    if level:
        text = Text(f"level {level}: {', '.join(LADDER[:level])}", style="yellow")
    if engine.circuit_open:
        text.append("   circuit open", style="red")
    return text


def _workers(view: View) -> Text:
    text = Text(view.model)
    if view.sleeps:
        text.append(" · ○ ", style="green").append("sleeps until the next request")
    elif view.workers_ready is not None:
        mark, colour = ("●", "green") if view.workers_ready else ("○", "yellow")
        number = f"{view.workers_ready:.0f} worker{'' if view.workers_ready == 1 else 's'} ready"
        text.append(f" · {mark} ", style=colour).append(number)
    if view.worker_restarts:
        text.append(f" · {view.worker_restarts:.0f} restarted", style="red")
    return text


def _model(view: View, width: int) -> Iterator[Row]:
    yield "", ""
    if not view.stage_shares:
        yield "stages", Text("no request ended in this time", style="dim")
    else:
        yield "stages", stacked_bar(view.stage_shares, width)
        yield "", legend(view.stage_shares)
    yield "steps", Text(f"{view.steps_per_second:.1f}/s", style="bold")
    slowest = max(view.step_seconds.values(), default=0.0)
    for place, mean in view.step_seconds.items():
        yield place.rjust(_NAME_COLUMNS), _meter(mean / slowest, "green").append(_seconds(mean))


def _machine(view: View) -> Iterator[Row]:
    yield "", ""
    if view.cpu_ratio is not None:
        yield "CPU", _load(view.cpu_ratio).append(share(view.cpu_ratio))
    if view.memory is not None:
        used, total = view.memory
        yield "memory", _load(used / total).append(sizes((used, total)))
    for device, (used, peak) in view.vram.items():
        yield f"VRAM {device}"[:_NAME_COLUMNS], Text(f"{size(used)} used, peak {size(peak)}")
    for gpu in view.gpus:
        yield f"GPU {gpu.name}"[:_NAME_COLUMNS], _gpu(gpu)


def _gpu(gpu: Gpu) -> Text:
    text = Text()
    if gpu.utilization_ratio is not None:
        text.append(_load(gpu.utilization_ratio)).append(f"{share(gpu.utilization_ratio)}  ")
    if gpu.used_bytes is not None and gpu.total_bytes:
        text.append(f"{sizes((gpu.used_bytes, gpu.total_bytes))}  ")
    if gpu.celsius is not None:
        text.append(f"{gpu.celsius:.0f} °C")
    return text


def stacked_bar(shares: dict[str, float], width: int) -> Text:
    """Return one bar of exactly `width` cells, divided by the shares."""
    bar, drawn_cells, total_share = Text(no_wrap=True), 0, 0.0
    for stage, ratio in shares.items():
        total_share += ratio
        cells = round(total_share * width) - drawn_cells
        bar.append("█" * cells, style=_COLOURS[stage])
        drawn_cells += cells
    return bar


def legend(shares: dict[str, float]) -> Text:
    """Return the colour, name and share of each stage, the largest first."""
    text = Text()
    for stage, ratio in sorted(shares.items(), key=lambda pair: -pair[1]):
        if ratio >= _MIN_LEGEND_SHARE:
            # No-break spaces keep a name and its number on one line.
            text.append("■\u00a0", style=_COLOURS[stage]).append(
                f"{_unbroken(f'{stage} {share(ratio)}')}  "
            )
    return text


def _unbroken(text: str) -> str:
    """Return the text with no-break spaces."""
    return text.replace(" ", "\u00a0")


def _load(ratio: float) -> Text:
    return _meter(ratio, "green" if ratio < 0.7 else "yellow" if ratio < 0.9 else "red")


def _meter(ratio: float, colour: str) -> Text:
    filled = round(min(max(ratio, 0.0), 1.0) * _METER_COLUMNS)
    bar = Text("━" * filled, style=colour, end="").append(
        "━" * (_METER_COLUMNS - filled), style="grey23"
    )
    return bar.append("  ", style="default")


def _sparkline(values: tuple[float, ...]) -> str:
    highest = max(values, default=0.0)
    if not highest:
        return ""
    return "".join(_SPARKS[round(value / highest * (len(_SPARKS) - 1))] for value in values)


def _joined(texts: Iterable[str]) -> str:
    return "   ".join(texts)


def _seconds(value: float | None) -> str:
    return "-" if value is None else duration(value)

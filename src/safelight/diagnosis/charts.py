"""SVG charts of the radar and of the trade-off. Every text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from math import cos, pi, sin

from safelight.diagnosis.estimates import Estimate
from safelight.diagnosis.radar import AXES, Radar, Type
from safelight.diagnosis.tradeoff import Choice, Tradeoff
from safelight.units import counted

_TOP = 10.0
_SIDE, _COLUMNS, _RADIUS = 300, 3, 72
_WIDTH, _HEIGHT, _LEFT = 760, 460, 70
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.t{font-weight:bold;font-size:14px}.s{fill:#777}"
    ".g{fill:none;stroke:#ccc}.b{fill:none;stroke:#d1352b;stroke-dasharray:2 3}"
    ".v{fill:#d1352b;fill-opacity:.2;"
    "stroke:#d1352b;stroke-width:2}.f{fill:none;stroke:#d1352b;stroke-width:2}.w{stroke:#999}"
)


def radar_svg(scores: Radar, limit: int = 12) -> str:
    """Return one chart for each of the most frequent types with a score on some axis.

    Dotted lines show the 95 % intervals. An axis without a score has a grey name.
    """
    shown = [each for each in scores.types if any(each.axes.values())][:limit]
    rows = max(1, -(-len(shown) // _COLUMNS))
    charts = (
        f'<g transform="translate({place % _COLUMNS * _SIDE},{place // _COLUMNS * _SIDE})">'
        f"{_chart(each)}</g>"
        for place, each in enumerate(shown)
    )
    empty = _text(20, 40, "No instruction type has enough requests yet.")
    inside = "".join(charts) if shown else empty
    return _svg(_COLUMNS * _SIDE, rows * _SIDE, "Scores per instruction type", inside)


def tradeoff_svg(tradeoff: Tradeoff) -> str:
    """Return quality over time, one point per setting with its 95 % intervals."""
    choices = tradeoff.choices
    if not choices:
        empty = _text(20, 40, "No setting has enough requests yet.")
        return _svg(_WIDTH, _HEIGHT, "Quality over time", empty)
    across = _Scale([end for c in choices for end in (c.seconds.low, c.seconds.high)], _LEFT, 700)
    up = _Scale([end for c in choices for end in (c.quality.low, c.quality.high)], 400, 30)
    front = " ".join(
        f"{across(c.seconds.value):.1f},{up(c.quality.value):.1f}" for c in tradeoff.front
    )
    marks = "".join(_mark(choice, across, up) for choice in choices)
    axes = (
        f'<path class="w" fill="none" d="M{_LEFT},20V400H720"/>'
        + "".join(_text(across(tick), 420, f"{tick:.3g} s", "middle") for tick in across.ticks)
        + "".join(_text(_LEFT - 8, up(tick) + 4, f"{tick:.3g}", "end") for tick in up.ticks)
        + _text(_LEFT, 14, tradeoff.by)
    )
    line = f'<polyline class="f" points="{front}"/>'
    return _svg(_WIDTH, _HEIGHT, "Quality over time", axes + line + marks)


class _Scale:
    """Linear scale from values to pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        self._low, self._high = low - margin if low < 0 else max(0.0, low - margin), high + margin
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        position = (value - self._low) / (self._high - self._low)
        return self._start + position * (self._end - self._start)

    @property
    def ticks(self) -> list[float]:
        """Return five values for the labels of the axis."""
        return [self._low + (self._high - self._low) * part / 4 for part in range(5)]


def _mark(choice: Choice, across: _Scale, up: _Scale) -> str:
    x, y = across(choice.seconds.value), up(choice.quality.value)
    arms = (
        f'<path class="w" d="M{across(choice.seconds.low):.1f},{y:.1f}'
        f"H{across(choice.seconds.high):.1f}M{x:.1f},{up(choice.quality.low):.1f}"
        f'V{up(choice.quality.high):.1f}"/>'
    )
    colour = "#d1352b" if choice.on_front else "#999"
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
    anchor = "end" if x > _WIDTH * 2 / 3 else "start"
    name = _text(x + (-9 if anchor == "end" else 9), y + 16, str(choice.setting), anchor)
    return arms + dot + name


def _chart(each: Type) -> str:
    middle = _SIDE / 2
    rings = "".join(_shape("g", [level] * len(AXES)) for level in (2.5, 5.0, 7.5, _TOP))
    scores = [each.axes[axis] for axis in AXES]
    ends = "".join(
        _shape("b", [getattr(f, end) if f else 0.0 for f in scores]) for end in ("low", "high")
    )
    value = _shape("v", [f.value if f else 0.0 for f in scores])
    names = "".join(_axis_name(*row) for row in zip(range(len(AXES)), AXES, scores, strict=True))
    title = _text(middle, 18, each.name.replace("_", " "), "middle", "t")
    count = _text(middle, 34, counted(each.requests, "request"), "middle", "s")
    return title + count + rings + value + ends + names


def _axis_name(place: int, axis: str, score: Estimate | None) -> str:
    x, y = _point(place, _TOP * 1.08)
    anchor = ("middle", "start", "middle", "end")[place]
    down = (-4, 4, 12, 4)[place]
    value = f"{score.value:.1f}" if score else "?"
    return _text(x, y + down, f"{axis} {value}", anchor, "" if score else "s")


def _shape(style: str, levels: Iterable[float]) -> str:
    points = (_point(place, level) for place, level in enumerate(levels))
    return f'<polygon class="{style}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _point(place: int, level: float) -> tuple[float, float]:
    angle = 2 * pi * place / len(AXES) - pi / 2
    radius = _RADIUS * level / _TOP
    return _SIDE / 2 + radius * cos(angle), _SIDE / 2 + 20 + radius * sin(angle)


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _svg(width: int, height: int, title: str, inside: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{inside}</svg>\n'
    )

"""The four axes of the instruction radar, 0 to 10, as panels."""

from safelight.dashboards.board import Better, Panel, Query, Shape
from safelight.dashboards.boards.common import COUNT, RANGE, by
from safelight.dashboards.boards.instructions import TYPE
from safelight.rules.axes import radar_axes

_TOP = 10.0
_TEXTS = {
    "accuracy": (
        "Accuracy: which instructions work?",
        "Success ratio, multiplied by the similarity of image and prompt where it is known.",
    ),
    "speed": ("Speed: which instructions are fast?", "10 for no time, 5 for 3 seconds."),
    "structure": (
        "Structure: which instructions keep the picture?",
        "Mean structural similarity of input and output image.",
    ),
    "stability": (
        "Stability: whose quality varies little?",
        "10 for equal quality scores, 0 for a standard deviation of 0.25.",
    ),
}


def axes() -> tuple[Panel, ...]:
    """Return a panel for each axis of the radar, worst type first."""
    return tuple(_axis(*_TEXTS[name], score) for name, score in radar_axes(RANGE).items())


def _axis(title: str, description: str, score: str) -> Panel:
    return Panel(
        title,
        description,
        Shape.BARS,
        COUNT,
        (Query(f"sort({score})", by(*TYPE)),),
        needs="five assessed images of an instruction type",
        better=Better.HIGH,
        maximum=_TOP,
    )

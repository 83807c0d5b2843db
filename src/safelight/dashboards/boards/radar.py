"""The four axes of the instruction radar, 0 to 10, from metrics.

The axes are those of diagnosis/radar.py. It reads records, which have each request; here the speed
is that of the mean time, and the deviation of the score comes from its quantiles.
"""

from safelight.dashboards.board import Better, Panel, Query, Shape
from safelight.dashboards.boards.common import COUNT, RANGE, by
from safelight.dashboards.boards.instructions import EDITS, TYPE, TYPED
from safelight.diagnosis.radar import TARGET_SECONDS, UNSTABLE_DEVIATION
from safelight.metrics.catalog import (
    ADHERENCE,
    QUALITY_SCORE,
    REQUEST_SECONDS,
    REQUESTS,
    STRUCTURE,
    SUCCESSES,
)

_TOP = 10.0


def axes() -> tuple[Panel, ...]:
    """Return a panel for each axis of the radar, worst type first."""
    success = RANGE.success_ratio(SUCCESSES, REQUESTS, TYPE, TYPED)
    adherence = RANGE.mean(ADHERENCE, TYPE, TYPED)
    seconds = RANGE.mean(REQUEST_SECONDS, TYPE, TYPED)
    low, high = (RANGE.quantile(q, QUALITY_SCORE, TYPE, TYPED) for q in (0.16, 0.84))
    spread = f"({high} - {low}) / 2"
    return (
        _axis(
            "Accuracy: which instructions work?",
            "Success ratio, multiplied by the similarity of image and prompt where it is known.",
            f"{success} * {adherence} or {success}",
        ),
        _axis(
            "Speed: which instructions are fast?",
            f"10 for no time, 5 for {TARGET_SECONDS:g} seconds.",
            f"{TARGET_SECONDS:g} / ({TARGET_SECONDS:g} + {seconds})",
        ),
        _axis(
            "Structure: which instructions keep the picture?",
            "Mean structural similarity of input and output image.",
            RANGE.mean(STRUCTURE, TYPE, TYPED),
        ),
        _axis(
            "Stability: whose quality varies little?",
            "10 for equal quality scores. The deviation is estimated from the score's quantiles.",
            f"clamp_min(1 - {spread} / {UNSTABLE_DEVIATION:g}, 0)",
        ),
    )


def _axis(title: str, description: str, score: str) -> Panel:
    query = Query(f"sort({_TOP:g} * ({score}))", by(*TYPE))
    return Panel(
        title,
        description,
        Shape.BARS,
        COUNT,
        (query,),
        needs=EDITS,
        better=Better.HIGH,
        maximum=_TOP,
    )

"""Dashboard of the instruction types: success, quality, speed, ratings and errors."""

from safelight.dashboards.board import Better, Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    RANGE,
    SHARE,
    board,
    by,
    lines,
    panel,
    quantiles,
    row,
)
from safelight.errors import StructureCorruption
from safelight.metrics.catalog import (
    ADHERENCE,
    ERROR,
    INSTRUCTION_TYPE,
    QUALITY_SCORE,
    REQUEST_SECONDS,
    REQUESTS,
    STRUCTURE,
    SUCCESSES,
    USER_RATING,
)
from safelight.metrics.promql import Matchers
from safelight.reasons import NO_ERROR
from safelight.rules.thresholds import Thresholds

_TYPE = (INSTRUCTION_TYPE,)
_FAILED: Matchers = {ERROR: f"!{NO_ERROR}"}


def instructions(limits: Thresholds) -> Board:
    """Return the dashboard of the instruction types."""
    return board(
        "Instructions",
        "Which instruction types succeed, which are slow, and which fail, and why?",
        row("Success", *_success(limits)),
        row("Image quality", *_image_quality()),
        row("Structure", *_structure()),
        row("Speed", *_speed()),
        row("Ratings", *_ratings()),
        row("Errors", *_errors()),
    )


def _success(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        panel(
            Shape.GRID,
            "Success over time",
            "Share of successful requests, one row per type. Red means failures.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS, _TYPE), by(*_TYPE)),
        ),
        Panel(
            "Success, worst first",
            "In the time range. Red is below the limit of SuccessRatioLow.",
            Shape.BARS,
            SHARE,
            (Query(f"sort({RANGE.success_ratio(SUCCESSES, REQUESTS, _TYPE)})", by(*_TYPE)),),
            limit=limits.success_ratio,
            better=Better.HIGH,
        ),
        panel(
            Shape.BARS,
            "Most requested",
            "Requests by type, in the time range. `other`: no type of the taxonomy fits.",
            COUNT,
            Query(f"sort_desc({RANGE.increase(REQUESTS, _TYPE)} > 0)", by(*_TYPE)),
        ),
        panel(
            Shape.STACK,
            "Requests over time",
            "Requests by type. A new kind of request appears here first.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, _TYPE), by(*_TYPE)),
        ),
    )


def _image_quality() -> tuple[Panel, ...]:
    spread = "({} - {}) / 2".format(
        *(RANGE.quantile(q, QUALITY_SCORE, _TYPE) for q in (0.84, 0.16))
    )
    return (
        panel(
            Shape.BARS,
            "Score, worst first",
            "Mean quality score of each type, in the time range.",
            QUALITY_SCORE.unit,
            Query(f"sort({RANGE.mean(QUALITY_SCORE, _TYPE)} >= 0)", by(*_TYPE)),
        ),
        panel(
            Shape.BARS,
            "Score deviation, largest first",
            "Standard deviation of the score of each type, estimated from its quantiles.",
            QUALITY_SCORE.unit,
            Query(f"sort_desc({spread} >= 0)", by(*_TYPE)),
        ),
        panel(
            Shape.BARS,
            "Prompt adherence, worst first",
            "Mean similarity of image and prompt, by CLIP or by the tagger of the demos.",
            SHARE,
            Query(f"sort({RANGE.mean(ADHERENCE, _TYPE)} >= 0)", by(*_TYPE)),
            needs="a CLIP model, or a demo",
            better=Better.HIGH,
        ),
    )


def _structure() -> tuple[Panel, ...]:
    reason: Matchers = {ERROR: StructureCorruption.reason}
    requests = RANGE.increase(REQUESTS, _TYPE)
    destroyed = RANGE.increase(REQUESTS, _TYPE, reason)
    return (
        panel(
            Shape.BARS,
            "Structural similarity, lowest first",
            "Mean similarity of input and output. It is normally lower for a new background.",
            SHARE,
            Query(f"sort({RANGE.mean(STRUCTURE, _TYPE)} >= 0)", by(*_TYPE)),
            better=Better.HIGH,
        ),
        panel(
            Shape.BARS,
            "Destroyed images",
            "Share of the requests of each type that ended with `structure_corruption`.",
            SHARE,
            Query(f"sort_desc(({destroyed} or 0 * {requests}) / {requests})", by(*_TYPE)),
            better=Better.LOW,
        ),
    )


def _speed() -> tuple[Panel, ...]:
    seconds = REQUEST_SECONDS.unit
    return (
        lines(
            "P50",
            "Median time of a request, by type.",
            seconds,
            *quantiles(REQUEST_SECONDS, 0.5, by_labels=_TYPE),
        ),
        lines(
            "P95",
            "95 % of the requests of each type are faster.",
            seconds,
            *quantiles(REQUEST_SECONDS, 0.95, by_labels=_TYPE),
        ),
        panel(
            Shape.BARS,
            "Mean time",
            "In the time range, slowest first.",
            seconds,
            Query(f"sort_desc({RANGE.mean(REQUEST_SECONDS, _TYPE)} >= 0)", by(*_TYPE)),
        ),
    )


def _ratings() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.BARS,
            "Mean rating",
            "First ratings in the time range, 1 to 5, worst first.",
            COUNT,
            Query(f"sort({RANGE.mean(USER_RATING, _TYPE)} >= 0)", by(*_TYPE)),
            needs="callers who rate responses",
        ),
        lines(
            "Mean rating over time",
            "First ratings by type, 1 to 5.",
            COUNT,
            Query(NOW.mean(USER_RATING, _TYPE), by(*_TYPE)),
            needs="callers who rate responses",
        ),
    )


def _errors() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Failures by type",
            "Failed requests by instruction type.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, _TYPE, _FAILED), by(*_TYPE)),
        ),
        panel(
            Shape.STACK,
            "Failures by reason",
            "Failed requests by reason: model errors, invalid input, timeouts and refusals.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, (ERROR,), _FAILED), by(ERROR)),
        ),
        panel(
            Shape.BARS,
            "Type and reason",
            "Failed requests in the time range, the most frequent pairs first.",
            COUNT,
            Query(
                f"topk(15, {RANGE.increase(REQUESTS, (INSTRUCTION_TYPE, ERROR), _FAILED)} > 0)",
                by(INSTRUCTION_TYPE, ERROR),
            ),
        ),
    )

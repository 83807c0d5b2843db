"""The board of the instructions: which of them serve people well, and which do not."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    SHARE,
    WHOLE,
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
    """Return the board of the types of instruction."""
    return board(
        "Instructions",
        "Which instructions serve people well, which are slow, and which fail, and why?",
        row("Success", *_success(limits)),
        row("Looks", *_looks()),
        row("What edits keep", *_kept()),
        row("Speed", *_speed()),
        row("Ratings", *_rated()),
        row("Errors", *_errors()),
    )


def _success(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        panel(
            Shape.GRID,
            "Success over time",
            "Share of requests that succeeded, a row for each type; red fails.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS, _TYPE), by(*_TYPE)),
        ),
        Panel(
            "Success, worst first",
            "Over the time shown; red is under what is promised.",
            Shape.BARS,
            SHARE,
            (Query(f"sort({WHOLE.success_ratio(SUCCESSES, REQUESTS, _TYPE)})", by(*_TYPE)),),
            limit=limits.success_ratio,
        ),
        panel(
            Shape.BARS,
            "Asked most",
            "Requests of each type over the time shown; `other` fits no type of the taxonomy.",
            COUNT,
            Query(f"sort_desc({WHOLE.increase(REQUESTS, _TYPE)} > 0)", by(*_TYPE)),
        ),
        panel(
            Shape.STACK,
            "Asked over time",
            "Requests by their type: a new fashion shows here first.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, _TYPE), by(*_TYPE)),
        ),
    )


def _looks() -> tuple[Panel, ...]:
    spread = "({} - {}) / 2".format(
        *(WHOLE.quantile(q, QUALITY_SCORE, _TYPE) for q in (0.84, 0.16))
    )
    return (
        panel(
            Shape.BARS,
            "Score, worst first",
            "Mean looks of each type's pictures, over the time shown.",
            QUALITY_SCORE.unit,
            Query(f"sort({WHOLE.mean(QUALITY_SCORE, _TYPE)} >= 0)", by(*_TYPE)),
        ),
        panel(
            Shape.BARS,
            "Unsteady first",
            "How far the score of a type is spread: half the distance that two thirds lie within.",
            QUALITY_SCORE.unit,
            Query(f"sort_desc({spread} >= 0)", by(*_TYPE)),
        ),
        panel(
            Shape.BARS,
            "Fits what was asked, least first",
            "Mean adherence of each type, by CLIP or by the demos' tagger.",
            SHARE,
            Query(f"sort({WHOLE.mean(ADHERENCE, _TYPE)} >= 0)", by(*_TYPE)),
            needs="a CLIP model, or a demo",
        ),
    )


def _kept() -> tuple[Panel, ...]:
    corrupted: Matchers = {ERROR: StructureCorruption.reason}
    asked = WHOLE.rate(REQUESTS, _TYPE)
    return (
        panel(
            Shape.BARS,
            "Structure kept, least first",
            "Mean structural similarity of input and output; a new background keeps less by right.",
            SHARE,
            Query(f"sort({WHOLE.mean(STRUCTURE, _TYPE)} >= 0)", by(*_TYPE)),
        ),
        panel(
            Shape.BARS,
            "Destroyed what it should keep",
            "Share of each type's requests that ended as structure_corruption.",
            SHARE,
            Query(
                f"sort_desc(({WHOLE.rate(REQUESTS, _TYPE, corrupted)} or 0 * {asked}) / {asked})",
                by(*_TYPE),
            ),
        ),
    )


def _speed() -> tuple[Panel, ...]:
    seconds = REQUEST_SECONDS.unit
    return (
        lines(
            "Half of the requests",
            "Median time of a request, by its type.",
            seconds,
            *quantiles(REQUEST_SECONDS, 0.5, by_labels=_TYPE),
        ),
        lines(
            "P95",
            "The slow twentieth of each type.",
            seconds,
            *quantiles(REQUEST_SECONDS, 0.95, by_labels=_TYPE),
        ),
        panel(
            Shape.BARS,
            "Mean time",
            "Over the time shown, slowest first.",
            seconds,
            Query(f"sort_desc({WHOLE.mean(REQUEST_SECONDS, _TYPE)} >= 0)", by(*_TYPE)),
        ),
    )


def _rated() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.BARS,
            "Mean rating",
            "Of the first ratings over the time shown, 1 to 5, worst first.",
            COUNT,
            Query(f"sort({WHOLE.mean(USER_RATING, _TYPE)} >= 0)", by(*_TYPE)),
            needs="callers who rate",
        ),
        lines(
            "Mean rating over time",
            "A type whose pictures please less and less.",
            COUNT,
            Query(NOW.mean(USER_RATING, _TYPE), by(*_TYPE)),
            needs="callers who rate",
        ),
    )


def _errors() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Failed, by type",
            "Requests that failed, by the type of their instruction.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, _TYPE, _FAILED), by(*_TYPE)),
        ),
        panel(
            Shape.STACK,
            "Failed, by reason",
            "The model's failures, bad input, timeouts and refusals apart.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, (ERROR,), _FAILED), by(ERROR)),
        ),
        panel(
            Shape.BARS,
            "Type and reason",
            "Failed requests over the time shown, the most frequent pairs first.",
            COUNT,
            Query(
                f"topk(15, {WHOLE.increase(REQUESTS, (INSTRUCTION_TYPE, ERROR), _FAILED)} > 0)",
                by(INSTRUCTION_TYPE, ERROR),
            ),
        ),
    )

"""Dashboard of the instruction types: success, failures, speed and structure."""

from safelight.dashboards.board import Better, Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    RANGE,
    SHARE,
    bars,
    board,
    by,
    lines,
    panel,
    row,
)
from safelight.errors import StructureCorruption
from safelight.metrics.catalog import (
    BACKGROUND,
    BACKGROUNDS,
    ERROR,
    IMAGE_SIZE,
    INSTRUCTION_TYPE,
    NO_INSTRUCTION,
    OUTCOME,
    REQUEST_SECONDS,
    REQUESTS,
    SIZE_SECONDS,
    STRUCTURE,
    SUCCESSES,
)
from safelight.metrics.promql import Matchers
from safelight.reasons import NO_ERROR
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import ENGINE, INSTRUCTIONS, QUALITY, REQUEST

TYPE = (INSTRUCTION_TYPE,)
# Requests without an instruction, such as unreadable ones, are no type.
TYPED: Matchers = {INSTRUCTION_TYPE: f"!{NO_INSTRUCTION}"}
EDITS = "requests with an instruction"
_FAILED: Matchers = {**TYPED, ERROR: f"!{NO_ERROR}"}
_BY_TYPE = by(*TYPE)


def instructions(limits: Thresholds) -> Board:
    """Return the dashboard of the instruction types."""
    return board(
        INSTRUCTIONS,
        "Instructions",
        "Which instruction types fail, and why? Which are slow?",
        row("Failures", QUALITY, *_failures(limits)),
        row("Structure and backgrounds", QUALITY, *_structure(limits), *_backgrounds()),
        row("Speed", REQUEST, *_speed(limits)),
        row("Traffic", ENGINE, *_traffic()),
    )


def _failures(limits: Thresholds) -> tuple[Panel, ...]:
    failures = RANGE.increase(REQUESTS, (INSTRUCTION_TYPE, ERROR), _FAILED)
    return (
        Panel(
            "Which instructions fail most?",
            "Success ratio in the time range, worst first. Red is below the limit of "
            "SuccessRatioLow.",
            Shape.BARS,
            SHARE,
            (Query(f"sort({RANGE.success_ratio(SUCCESSES, REQUESTS, TYPE, TYPED)})", _BY_TYPE),),
            limit=limits.success_ratio,
            better=Better.HIGH,
            needs=EDITS,
        ),
        bars(
            "Why does an instruction fail?",
            "Failed requests in the time range, the most frequent pairs of type and reason first.",
            COUNT,
            Query(f"topk(15, {failures} > 0)", by(INSTRUCTION_TYPE, ERROR)),
            needs="failed requests",
        ),
        panel(
            Shape.STACK,
            "Since when does an instruction fail?",
            "Failed requests per second, by type.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, TYPE, _FAILED), _BY_TYPE),
            needs="failed requests",
        ),
    )


def _structure(limits: Thresholds) -> tuple[Panel, ...]:
    requests = RANGE.increase(REQUESTS, TYPE, TYPED)
    destroyed = RANGE.increase(REQUESTS, TYPE, {**TYPED, ERROR: StructureCorruption.reason})
    return (
        Panel(
            "Which instructions destroy the image?",
            "Share of the requests of each type that ended with `structure_corruption`.",
            Shape.BARS,
            SHARE,
            (Query(f"sort_desc({RANGE.part(destroyed, requests)})", _BY_TYPE),),
            limit=1 - limits.success_ratio,
            better=Better.LOW,
            needs=EDITS,
        ),
        bars(
            "How similar are input and output?",
            "Mean structural similarity, lowest first. It is normally lower for a new background.",
            SHARE,
            Query(f"sort({RANGE.mean(STRUCTURE, TYPE)})", _BY_TYPE),
            better=Better.HIGH,
            needs="assessed edits",
        ),
    )


def _backgrounds() -> tuple[Panel, ...]:
    succeeded = NOW.increase(BACKGROUNDS, (BACKGROUND,), {OUTCOME: "succeeded"})
    total = NOW.increase(BACKGROUNDS, (BACKGROUND,))
    return (
        lines(
            "Do busy backgrounds fail more?",
            "Success ratio. If `busy` is far below `calm`, callers should follow the advice.",
            SHARE,
            Query(NOW.part(succeeded, total), by(BACKGROUND)),
            needs="edits of images",
        ),
    )


def _speed(limits: Thresholds) -> tuple[Panel, ...]:
    seconds, pair = REQUEST_SECONDS.unit, (INSTRUCTION_TYPE, IMAGE_SIZE)
    slowest = RANGE.quantile(0.9, SIZE_SECONDS, pair, TYPED)
    return (
        lines(
            "Which instruction became slow?",
            "P95 by type.",
            seconds,
            Query(
                NOW.quantile(0.95, REQUEST_SECONDS, TYPE, TYPED), f"{_BY_TYPE} P95", exemplars=True
            ),
            limit=limits.request_p95_seconds,
            needs=EDITS,
        ),
        bars(
            "Which instruction takes longest, at which size?",
            "P90 in the time range by type and image size, slowest first.",
            seconds,
            Query(f"topk(15, {slowest})", by(*pair)),
            needs=EDITS,
        ),
    )


def _traffic() -> tuple[Panel, ...]:
    return (
        bars(
            "What do callers ask for?",
            "Requests by type, in the time range. `other`: no type of the taxonomy fits.",
            COUNT,
            Query(f"sort_desc({RANGE.increase(REQUESTS, TYPE, TYPED)} > 0)", _BY_TYPE),
            needs=EDITS,
        ),
        panel(
            Shape.STACK,
            "Do callers ask for something new?",
            "Requests by type. A new kind of request appears here first.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, TYPE, TYPED), _BY_TYPE),
            needs=EDITS,
        ),
    )

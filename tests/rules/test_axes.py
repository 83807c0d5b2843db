"""The radar from metrics is the radar from records, also with failures and few observations."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest

from safelight.diagnosis.radar import AXES, radar
from safelight.metrics.exact import ExactQueries
from safelight.metrics.promql import Queries
from safelight.metrics.registry import Meter, parse
from safelight.records.rows import AssessedRequest
from safelight.rules.axes import radar_axes
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.meter import assessment_sink, metrics_sink
from tests.reading import text
from tests.rules.promtool import NAMESPACE, TARGET, Series, complaint, part
from tests.telemetry.making import RECORD, changed

KINDS = {"add_hat": 30, "make_him_old": 7, "change_background": 12, "rare": 3, "none": 9}
ERRORS = ("none", "none", "none", "structure_corruption", "none", "cuda_oom", "rate_limited")
EXACT = ExactQueries(NAMESPACE, "1h", resets=True)
RULES = "groups: []"


def edits(meter: Meter) -> Iterator[AssessedRequest]:
    """Count edits of several types, and yield their rows in the records."""
    count, assess = metrics_sink(meter), assessment_sink(meter)
    for kind, number in KINDS.items():
        for place in range(number):
            error = ERRORS[place % len(ERRORS)]
            seconds, status = 0.5 + place / 5, 200 if error != "cuda_oom" else 500
            count(
                changed(
                    RECORD,
                    seconds=seconds + 0.3,  # in the queue
                    instruction_type=kind,
                    error=error,
                    status_code=status,
                )
            )
            row = AssessedRequest(f"{place}", 0.0, NAMESPACE, kind, error, status, seconds)
            if place % 2 == 0 and error in ("none", "structure_corruption"):
                row = replace(
                    row,
                    score=0.6 + place / 99,
                    structure=0.9 - place / 99,
                    adherence=0.95 - place / 80,
                )
                assess(
                    Assessment(
                        row.request_id,
                        kind,
                        error,
                        score=row.score,
                        structure=row.structure,
                        adherence=row.adherence,
                    )
                )
            yield row


def as_series(meter: Meter) -> list[Series]:
    """Return the exposed samples, which appear after ten minutes and stay."""
    return [
        Series(name, f"_x10 {value!r}x20", {**TARGET, **dict(labels)})
        for (name, labels), value in parse(text(meter)).items()
        if name.startswith(NAMESPACE)
    ]


@pytest.mark.parametrize("axis", AXES)
def test_p15_an_axis_from_metrics_is_that_from_records(axis: str, tmp_path: Path) -> None:
    meter = Meter(NAMESPACE)
    types = radar(list(edits(meter))).types
    expected: list[dict[str, Any]] = [
        {"labels": f'{{instruction_type="{each.name}"}}', "value": round(score.value, 6)}
        for each in types
        if (score := each.axes[axis]) is not None
    ]
    assert 2 <= len(expected) < len(KINDS) - 1
    check = {
        "expr": f"round({radar_axes(EXACT)[axis]}, 1e-6)",
        "eval_time": "20m",
        "exp_samples": expected,
    }
    assert not complaint(tmp_path, [part(as_series(meter), promql_expr_test=[check])], RULES)


@pytest.mark.parametrize("queries", [Queries(NAMESPACE), EXACT], ids=["plain", "exact"])
def test_every_axis_is_an_expression_by_instruction_type(queries: Queries) -> None:
    axes = radar_axes(queries)
    assert tuple(axes) == AXES
    for expression in axes.values():
        assert isinstance(promql.parse(expression), promql.BinaryExpr | promql.ParenExpr)
        assert "by (instruction_type)" in expression

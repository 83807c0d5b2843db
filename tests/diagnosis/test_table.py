"""Laws over the table of checks, and over the expressions by which evidence is asked for."""

from collections.abc import Iterator

import promql_parser as promql
import pytest

from safelight.diagnosis.checks.table import CHECKS
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans
from safelight.diagnosis.finding import Check
from safelight.diagnosis.queries import CURVES, FACTS, Asking, series_names
from safelight.metrics.foreign import FOREIGN
from safelight.reference.metrics import lookup
from tests.laws.test_expressions import selectors

NAMES = [check.name for check in CHECKS]
ASKING = Asking("instructpix2pix", 'a "job" \\ of {ours}')
EXPRESSIONS = (ASKING.moment(300), ASKING.moment(3600, 86_400), ASKING.curves(60))


each_check = pytest.mark.parametrize("check", CHECKS, ids=NAMES)


def test_names_and_titles_are_nobody_elses() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 24
    assert len({check.title for check in CHECKS}) == len(CHECKS)


@each_check
def test_a_check_says_how_it_knows_what_to_do_and_what_would_confirm_it(check: Check) -> None:
    assert check.name.isidentifier()
    assert check.name.islower()
    assert len(check.formula) > 20
    assert check.remedy
    assert all(len(step) > 15 and step.endswith((".", ":")) for step in check.remedy)
    assert len(check.experiment) > 20
    assert check.alternatives


@each_check
def test_what_a_check_explains_is_another_check(check: Check) -> None:
    assert set(NAMES) >= check.explains
    assert check.name not in check.explains


@each_check
def test_a_check_finds_nothing_where_nothing_is_known(check: Check) -> None:
    nothing = Evidence(Service("a", "b"), 0.0, Spans(), Reading())

    assert list(check.judge(nothing)) == []


def names(expression: str) -> Iterator[str]:
    return (node.name for node in selectors(promql.parse(expression)))


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=["now", "yesterday", "curves"])
def test_an_expression_parses_and_names_only_the_catalogue(expression: str) -> None:
    named = set(names(expression))

    assert len(named) > 10
    assert [n for n in named if n not in FOREIGN and lookup(n, "instructpix2pix") is None] == []


def test_all_that_is_asked_for_is_named() -> None:
    asked = {name for expression in EXPRESSIONS for name in names(expression)}

    assert asked == series_names("instructpix2pix")


def test_a_fact_is_asked_for_once() -> None:
    for rows in (FACTS, CURVES):
        keys = [row.key(part) for row in rows for part in row.parts]
        assert len(set(keys)) == len(keys)


def test_a_fact_is_told_by_labels_of_its_metric() -> None:
    for row in (*FACTS, *CURVES):
        assert set(row.by) <= set(row.metric.labels), row.metric.name

"""Laws over the table of checks, and over the expressions that read the evidence."""

import ast
import inspect
from collections import Counter
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import promql_parser as promql
import pytest

from safelight.diagnosis.checks import (
    event_loop,
    fleet,
    golden,
    gpus,
    hosts,
    image_quality,
    load,
    memory,
    outputs,
    stages,
    steps,
    targets,
)
from safelight.diagnosis.checks.table import CHECKS
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans
from safelight.diagnosis.finding import Check
from safelight.diagnosis.queries import CURVES, FACTS, FactQueries, key, series_names
from safelight.metrics.foreign import FOREIGN
from safelight.reference.metrics import lookup
from safelight.rules.thresholds import Thresholds
from tests.laws.test_expressions import selectors

MODULES = (
    event_loop,
    fleet,
    golden,
    gpus,
    hosts,
    image_quality,
    load,
    memory,
    outputs,
    stages,
    steps,
    targets,
)
NAMES = [check.name for check in CHECKS]
QUERIES = FactQueries("instructpix2pix", 'a "job" \\ of {ours}')
EXPRESSIONS = (QUERIES.instant(300), QUERIES.instant(3600, 86_400), QUERIES.curves(60))
FORMULA = 3  # place among a check's arguments

each_check = pytest.mark.parametrize("check", CHECKS, ids=NAMES)
each_module = pytest.mark.parametrize(
    "module", MODULES, ids=[module.__name__.rpartition(".")[2] for module in MODULES]
)


def test_names_and_titles_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 24
    assert len({check.title for check in CHECKS}) == len(CHECKS)


@each_check
def test_a_check_has_a_formula_a_remedy_an_experiment_and_alternatives(check: Check) -> None:
    assert check.name.isidentifier()
    assert check.name.islower()
    assert len(check.formula) > 20
    assert check.remedy
    assert all(len(step) > 15 and step.endswith((".", ":")) for step in check.remedy)
    assert len(check.experiment) > 20
    assert check.alternatives


@each_check
def test_a_check_explains_other_checks_only(check: Check) -> None:
    assert set(NAMES) >= check.explains
    assert check.name not in check.explains


@each_check
def test_a_check_finds_nothing_without_data(check: Check) -> None:
    empty = Evidence(Service("a", "b"), 0.0, Spans(), Reading())

    assert list(check.judge(empty)) == []


# ── Formulas ─────────────────────────────────────────────────────────────────────────────────────


@cache
def tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def texts(module: ModuleType) -> dict[str, ast.expr]:
    """Return the private module-level texts that formulas are composed of."""
    return {
        node.targets[0].id: node.value
        for node in tree(module).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.JoinedStr)
    }


def formulas(module: ModuleType) -> list[ast.expr]:
    calls = (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call))
    return [
        call.args[FORMULA]
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Check"
    ]


def pieces(module: ModuleType, text: ast.expr) -> Iterator[ast.expr]:
    """Yield the literal texts and the formatted expressions of a formula, without formats."""
    if not isinstance(text, ast.JoinedStr):
        yield text
        return
    for part in text.values:
        if not isinstance(part, ast.FormattedValue):
            yield part
        elif isinstance(part.value, ast.Name) and part.value.id in texts(module):
            yield from pieces(module, texts(module)[part.value.id])
        else:
            yield part.value


def constants(expressions: list[ast.expr]) -> set[str]:
    return {
        node.id
        for expression in expressions
        for node in ast.walk(expression)
        if isinstance(node, ast.Name) and node.id.isupper()
    }


@each_module
def test_a_formula_has_no_number_that_is_not_a_constant(module: ModuleType) -> None:
    values = [
        node.value
        for formula in formulas(module)
        for piece in pieces(module, formula)
        for node in ast.walk(piece)
        if isinstance(node, ast.Constant)
    ]

    assert formulas(module)
    assert [value for value in values if not isinstance(value, str)] == []
    assert [value for value in values if any(sign.isdigit() for sign in str(value))] == []


@each_module
def test_a_check_uses_the_constants_of_its_formula(module: ModuleType) -> None:
    composed = [*formulas(module), *texts(module).values()]
    named = constants([piece for text in composed for piece in pieces(module, text)])
    loads = Counter(
        node.id
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )
    printed = Counter(
        node.id for text in composed for node in ast.walk(text) if isinstance(node, ast.Name)
    )
    local = {name for name in named if name.startswith("_")}

    assert named
    assert {name for name in local if loads[name] <= printed[name]} == set()


@each_module
def test_checks_declare_the_limits_that_they_read(module: ModuleType) -> None:
    read = {
        node.attr
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and node.attr in Thresholds.model_fields
    }
    tables = [value for value in vars(module).values() if isinstance(value, tuple)]
    checks = [check for table in tables for check in table if isinstance(check, Check)]
    declared = {limit for check in checks for limit in check.limits}
    # The helper `error_limit` reads these.
    assert declared - {"success_ratio", "timeout_ratio", "refused_ratio"} <= read <= declared


@each_module
def test_a_check_module_imports_no_other_check_module(module: ModuleType) -> None:
    imports = {node.module for node in ast.walk(tree(module)) if isinstance(node, ast.ImportFrom)}
    package = "safelight.diagnosis.checks."

    assert {name for name in imports if name and name.startswith(package)} <= {f"{package}common"}


# ── Expressions ──────────────────────────────────────────────────────────────────────────────────


def names(expression: str) -> Iterator[str]:
    return (node.name for node in selectors(promql.parse(expression)))


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=["now", "yesterday", "curves"])
def test_an_expression_parses_and_names_only_the_catalogue(expression: str) -> None:
    series = set(names(expression))

    assert len(series) >= 8
    assert [n for n in series if n not in FOREIGN and lookup(n, "instructpix2pix") is None] == []


def test_the_names_of_all_series_are_known() -> None:
    series = {name for expression in EXPRESSIONS for name in names(expression)}

    # Services are found by their info, which no fact needs.
    assert series | {"safelight_service_info"} == series_names("instructpix2pix")


def test_each_fact_is_queried_once() -> None:
    for rows in (FACTS, CURVES):
        keys = [key(fact.metric, *part) for fact in rows for part in fact.parts()]
        assert len(set(keys)) == len(keys)


def test_a_fact_has_labels_of_its_metric_only() -> None:
    for fact in (*FACTS, *CURVES):
        assert set(fact.by) <= set(fact.metric.labels), fact.metric.name

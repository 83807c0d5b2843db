"""Old names of metrics have the values of the new ones, in a real Prometheus' promtool."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from safelight.metrics.catalog import GPU_UTILIZATION, HTTP_REQUESTS, REQUEST_SECONDS, REQUESTS
from safelight.reference.metrics import lookup
from safelight.rules.files import as_yaml, groups, rule_file
from safelight.rules.recording import HTTP_FAILED
from safelight.rules.renamed import OLD_NAMES, OldName, renamed_groups
from safelight.rules.rule import Recording
from tests.rules.promtool import NAMESPACE, histogram, judge, series

VERSION = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]


def value(expr: str, expected: float, labels: str) -> dict[str, Any]:
    return {
        "expr": expr,
        "eval_time": "20m",
        "exp_samples": [{"labels": labels, "value": expected}],
    }


@pytest.mark.parametrize("row", OLD_NAMES, ids=lambda row: row.name)
def test_an_old_name_is_free_and_kept_only_until_its_version(row: OldName) -> None:
    def numbers(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    assert numbers(row.until) > numbers(VERSION), "its time is over: delete the row"
    names = [
        rule.record
        for group in groups(NAMESPACE)
        for rule in group.rules
        if isinstance(rule, Recording)
    ]
    assert names.count(row.name) <= 1
    assert lookup(row.name, NAMESPACE) is None


def test_the_exported_rules_keep_the_failures_of_a_job(tmp_path: Path) -> None:
    samples = [
        series(HTTP_REQUESTS, "0+6x300", handler=handler, method="POST", status="500")
        for handler in ("/api/edit", "/api/other")
    ]
    old = "job:http_requests_errors:increase15m"
    checks = [
        value(f"round({old})", 180, '{job="safelight"}'),
        value(f"{old} == sum by (job) ({HTTP_FAILED})", 180, f'{old}{{job="safelight"}}'),
    ]
    judge(tmp_path, samples, promql_expr_test=checks)


def test_every_kind_of_metric_keeps_its_old_name_with_its_labels(tmp_path: Path) -> None:
    rows = (
        OldName("latency_seconds", REQUEST_SECONDS, "9.0.0"),
        OldName("calls_total", REQUESTS, "9.0.0"),
        OldName("gpu_busy_ratio", GPU_UTILIZATION, "9.0.0"),
        OldName("calls:rate5m", lambda q: q.rate(REQUESTS), "9.0.0"),
    )
    labels = {"endpoint": "/api/edit", "status_code": "200", "instruction_type": "add_hat"}
    samples = (
        *histogram(REQUEST_SECONDS, 2.0, **labels),
        series(REQUESTS, "0+6x300", **labels, error="none"),
        series(GPU_UTILIZATION, "0.4x300", gpu="0"),
    )
    latency = f"{NAMESPACE}_latency_seconds"
    new = REQUEST_SECONDS.full_name(NAMESPACE)
    where = ", ".join(f'{k}="{v}"' for k, v in {**labels, "instance": "127.0.0.1:8000"}.items())
    text = f'{{{where}, job="safelight"}}'
    checks = [
        value(
            f"{NAMESPACE}_calls_total", 120, f'{NAMESPACE}_calls_total{text[:-1]}, error="none"}}'
        ),
        value(
            "gpu_busy_ratio",
            0.4,
            'gpu_busy_ratio{gpu="0", instance="127.0.0.1:8000", job="safelight"}',
        ),
        value("round(calls:rate5m, 0.01)", 0.1, "{}"),
        *(
            value(f"count({latency}{end} == on (le, job) {new}{end})", count, "{}")
            for end, count in (
                ("_bucket", len(REQUEST_SECONDS.buckets) + 1),
                ("_count", 1),
                ("_sum", 1),
            )
        ),
    ]
    judge(tmp_path, samples, as_yaml(renamed_groups(NAMESPACE, rows)), promql_expr_test=checks)


def test_without_old_names_no_group_is_exported() -> None:
    assert renamed_groups(NAMESPACE, ()) == ()
    names = [group.name for group in groups(NAMESPACE)]
    assert names.count(f"{NAMESPACE}-renamed") == bool(OLD_NAMES)
    assert rule_file("one", "two").count("-renamed") == 1, "the second service needs no copy"

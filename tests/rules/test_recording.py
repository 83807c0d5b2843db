from pathlib import Path
from typing import Any

from safelight.metrics.catalog import (
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_UTILIZATION,
    INFERENCE_SECONDS,
    MODEL_INFO,
    REQUEST_SECONDS,
    REQUESTS,
    SUCCESSES,
)
from safelight.rules.files import rule_file
from safelight.rules.recording import recording_groups
from tests.rules.promtool import NAMESPACE, Series, histogram, judge, series

_EDIT = {"endpoint": "/api/edit", "status_code": "200", "instruction_type": "add_hat"}
_MODEL = {
    "model": "demo-edit",
    "pipeline": "StableDiffusionInstructPix2PixPipeline",
    "scheduler": "EulerAncestralDiscreteScheduler",
    "precision": "float32",
    "device": "cpu",
}


def value(expr: str, expected: float, labels: str) -> dict[str, Any]:
    sample = {"labels": labels, "value": expected}
    return {"expr": expr, "eval_time": "20m", "exp_samples": [sample]}


def served() -> tuple[Series, ...]:
    return (
        *histogram(REQUEST_SECONDS, 2.0, **_EDIT),
        series(REQUESTS, "0+6x300", **_EDIT, error="none"),
        series(MODEL_INFO, "1x300", **_MODEL),
    )


def test_a_level_is_recorded_for_each_job(tmp_path: Path) -> None:
    ratio = f"{NAMESPACE}:request_success:ratio_rate5m"
    samples = (
        series(REQUESTS, "0+4x300", **_EDIT, error="none"),
        series(SUCCESSES, "0+3x300", endpoint="/api/edit", instruction_type="add_hat"),
    )
    check = value(ratio, 0.75, f'{ratio}{{job="safelight"}}')
    judge(tmp_path, samples, promql_expr_test=[check])


def test_a_job_that_never_succeeded_has_a_ratio_of_0(tmp_path: Path) -> None:
    ratio = f"{NAMESPACE}:request_success:ratio_rate5m"
    failed = series(REQUESTS, "0+4x300", **_EDIT, error="model_error")
    judge(tmp_path, [failed], promql_expr_test=[value(ratio, 0, f'{ratio}{{job="safelight"}}')])


def test_gpu_metrics_exist_under_their_usual_names(tmp_path: Path) -> None:
    samples = (
        series(GPU_UTILIZATION, "0.4x300", gpu="0"),
        series(GPU_MEMORY_USED, "7e9x300", gpu="0"),
        series(GPU_MEMORY_TOTAL, "28e9x300", gpu="0"),
    )
    on = '{gpu="0", instance="127.0.0.1:8000", job="safelight"}'
    checks = [
        value("gpu_utilization_percent", 40, f"gpu_utilization_percent{on}"),
        value("gpu_utilization", 40, f"gpu_utilization{on}"),
        value("gpu_memory_used", 0.25, f"gpu_memory_used{on}"),
        value("gpu_memory_total", 28e9, f"gpu_memory_total{on}"),
    ]
    judge(tmp_path, samples, promql_expr_test=checks)


def test_z2_the_share_of_gpu_memory_exists_under_the_name_of_the_article(tmp_path: Path) -> None:
    samples = (
        series(GPU_MEMORY_USED, "36e9x300", gpu="1"),
        series(GPU_MEMORY_TOTAL, "40e9x300", gpu="1"),
    )
    on = '{gpu="1", instance="127.0.0.1:8000", job="safelight"}'
    check = value("zimage_gpu_mem_usage", 0.9, f"zimage_gpu_mem_usage{on}")
    judge(tmp_path, samples, rule_file("zimage"), promql_expr_test=[check])


def test_the_mean_inference_time_exists_under_its_usual_name(tmp_path: Path) -> None:
    name = f"{NAMESPACE}_inference_latency"
    samples = histogram(INFERENCE_SECONDS, 1.5, precision="float16")
    check = value(f"round({name}, 0.01)", 1.5, '{instance="127.0.0.1:8000", job="safelight"}')
    judge(tmp_path, samples, promql_expr_test=[check])


def test_recorded_names_have_level_metric_and_operation() -> None:
    levels = recording_groups(NAMESPACE)[0].recordings
    assert all(rule.record.count(":") == 2 for rule in levels if "request:rate" not in rule.record)
    assert all(rule.record.startswith(f"{NAMESPACE}:") for rule in levels)

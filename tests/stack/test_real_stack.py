"""Tests of a real stack: the three demos, Prometheus, Alertmanager and node-exporter."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from time import monotonic

import httpx
import psutil
import pytest
from PIL import Image

from safelight.metrics.registry import parse
from safelight.stack.tools.top import QUANTILES, Reading, Window
from tests.reading import OPENMETRICS
from tests.stack.real import EDITOR, GENERATOR, NAMESPACE, RECOGNISER, Real
from tests.stack.waiting import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
RECOVERY_SECONDS, FIRST_SAMPLE_SECONDS = 10.0, 60.0
ROW_P2 = (
    f'sum(rate({NAMESPACE}_request_success_total{{instruction_type=~"make.*old|age.*"}}[1h]))'
    f' / sum(rate({NAMESPACE}_request_total{{instruction_type=~"make.*old|age.*"}}[1h]))'
)


def test_the_first_sample_is_in_prometheus_within_a_minute(real: Real) -> None:
    assert real.first_sample_seconds < FIRST_SAMPLE_SECONDS


@pytest.mark.parametrize(("service", "count"), [(EDITOR, 14), (GENERATOR, 13), (RECOGNISER, 11)])
def test_prometheus_has_a_value_for_every_check(service: str, count: int, real: Real) -> None:
    results = real.results[service]
    assert len(results) == count
    assert [result.check.title for result in results if not result.passed] == []


@pytest.mark.parametrize(
    "job", [EDITOR, GENERATOR, RECOGNISER, "node", "prometheus", "alertmanager"]
)
def test_the_target_shows_up(job: str, real: Real) -> None:
    """Row P10."""
    targets = {one["labels"]["job"]: one for one in real.get("targets")["activeTargets"]}
    assert targets[job]["health"] == "up", targets[job]["lastError"]
    assert real.query(f'up{{job="{job}"}}') == [1]


def test_the_query_of_row_p2_returns_a_ratio(real: Real) -> None:
    """Below 1 is allowed: an edit that damaged its image counts as a failure."""
    [ratio] = real.query(ROW_P2)
    assert 0 < ratio <= 1


@pytest.mark.parametrize("name", ["request_success_total", "request_total"])
def test_prometheus_and_the_service_count_the_same_edits_of_row_p2(name: str, real: Real) -> None:
    counted = real.counted(name, instruction_type="make_him_old")
    assert counted >= 1
    old = f'{NAMESPACE}_{name}{{instruction_type="make_him_old"}}'
    eventually(
        lambda: sum(real.query(old)) == counted, within=15, what=f"Prometheus has the same {name}"
    )


@pytest.mark.parametrize(
    ("row", "histogram", "max_seconds"),
    [
        ("P1", "request_duration_seconds", 60),
        ("P3", "request_queued_duration_seconds", 10),
        ("P5", "step_latency_seconds", 2),
    ],
)
def test_the_p95_is_within_its_range(
    row: str, histogram: str, max_seconds: float, real: Real
) -> None:
    rate = f"rate({NAMESPACE}_{histogram}_bucket[5m])"
    [p95] = real.query(f"histogram_quantile(0.95, sum by (le) ({rate}))")
    assert 0 < p95 <= max_seconds, row


def test_steps_are_counted_by_position(real: Real) -> None:
    """Row P5: the edits of the check have twelve steps."""
    counted = real.get("query", query=f"sum by (step) ({NAMESPACE}_step_latency_seconds_count)")
    steps = {one["metric"]["step"]: float(one["value"][1]) for one in counted["result"]}
    edits = steps["11-20"] / 2
    assert edits >= 1
    assert steps == {"1-5": 5 * edits, "6-10": 5 * edits, "11-20": 2 * edits}


@pytest.mark.parametrize(
    "metric",
    [
        "host_cpu_utilization_ratio",
        "host_memory_used_bytes",
        "host_disk_read_bytes_total",
        "host_disk_written_bytes_total",
        "node_cpu_seconds_total",
    ],
)
def test_the_machine_is_measured(metric: str, real: Real) -> None:
    """Row Z4."""
    assert real.query(metric)


def test_http_requests_are_counted_under_common_metric_names(real: Real) -> None:
    """Row D1."""
    where = '{handler="/api/edit",method="POST",status="200"}'
    [edits] = real.query(f"http_requests_total{where}")
    assert edits >= 1
    assert real.query('http_request_duration_seconds_count{handler="/api/edit",method="POST"}')


def test_exemplars_link_a_latency_to_its_trace(real: Real) -> None:
    name = f"{NAMESPACE}_request_duration_seconds_bucket"
    data = real.get("query_exemplars", query=name, start="0", end="9999999999")
    traces = [one["labels"]["trace_id"] for series in data for one in series["exemplars"]]
    assert traces
    assert all(len(trace) == 32 for trace in traces)


def test_every_rule_is_loaded_and_healthy(real: Real) -> None:
    groups = real.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["type"] for rule in rules} == {"recording", "alerting"}
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []


def test_the_alertmanager_is_discovered(real: Real) -> None:
    assert len(real.get("alertmanagers")["activeAlertmanagers"]) == 1


def test_promtool_accepts_the_metrics(real: Real) -> None:
    response = real.metrics()
    assert response.headers["content-type"].startswith("text/plain")
    process = subprocess.run(
        ("promtool", "check", "metrics"),
        input=response.text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_openmetrics_is_served_with_exemplars(real: Real) -> None:
    response = real.metrics(OPENMETRICS)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
    assert re.search(r'# \{request_id="\w{32}",trace_id="\w{32}"\}', response.text)


def test_top_shows_the_same_quantiles_as_prometheus(real: Real) -> None:
    now = parse(real.metrics().text)
    view = Reading(now, {}, 1.0, NAMESPACE).view()

    def same() -> bool:
        name = f"sum by (le) ({NAMESPACE}_request_duration_seconds_bucket)"
        values = [real.query(f"histogram_quantile({q}, {name})") for q in QUANTILES]
        return [value for [value] in values] == pytest.approx(list(view.latency_seconds))

    eventually(same, within=15, what="Prometheus has scraped what top read")
    assert "demo-edit" in Window(10).add(now, 0.0).model


def test_a_worker_killed_during_an_edit_is_counted_and_replaced(real: Real) -> None:
    api = psutil.Process(real.stack.pid(EDITOR))
    [worker] = [one for one in api.children() if "safelight.serving.worker.child" in one.cmdline()]
    died = real.counted("worker_restarts_total", reason="died")
    with ThreadPoolExecutor(1) as pool:
        caller = pool.submit(real.edit, steps=100, size=256)
        busy_seconds = worker.cpu_times().user + 0.2
        eventually(
            lambda: worker.cpu_times().user > busy_seconds, within=30, what="the edit started"
        )
        worker.kill()
        killed_at = monotonic()
        response = caller.result(timeout=60)
    assert response.status_code == httpx.codes.OK  # from the new worker
    assert real.counted("worker_restarts_total", reason="died") == died + 1
    rest_seconds = RECOVERY_SECONDS - (monotonic() - killed_at)
    eventually(real.is_ready, within=rest_seconds, what="ready again")
    assert (api.pid, api.is_running()) == (real.stack.pid(EDITOR), True)
    _require_image(real.edit())
    eventually(
        lambda: real.query(f'{NAMESPACE}_worker_restarts_total{{reason="died"}} >= {died + 1}'),
        within=20,
        what="Prometheus counts the restart",
    )


def _require_image(response: httpx.Response) -> None:
    assert response.status_code == httpx.codes.OK, response.text
    with Image.open(BytesIO(response.content)) as image:
        assert (image.format, image.size) == ("PNG", (64, 64))


# ── Examples ─────────────────────────────────────────────────────────────────────────────────────


def _run(real: Real, folder: Path, *command: str) -> str:
    urls = {
        f"{word}_URL": real.stack.plan.find(name).url
        for word, name in (("EDIT", EDITOR), ("GENERATE", GENERATOR), ("PREDICT", RECOGNISER))
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **urls, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_the_httpx_example_generates_edits_and_recognises(real: Real, tmp_path: Path) -> None:
    output = _run(real, tmp_path, sys.executable, str(EXAMPLES / "portraits.py"))
    assert "denoise" in output
    assert "sunglasses" in output
    with Image.open(tmp_path / "edited.png") as image:
        assert image.size == (64, 64)


def test_the_curl_and_openai_examples_run(real: Real, tmp_path: Path) -> None:
    assert '"label"' in _run(real, tmp_path, "bash", str(EXAMPLES / "portraits.sh"))
    openai = str(EXAMPLES / "openai_client.py")
    assert "edited.png" in _run(real, tmp_path, sys.executable, openai, "portrait.png")

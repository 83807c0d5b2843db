"""The real stack, started once: the three demos, Prometheus, Alertmanager and node-exporter."""

import os
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
HEAL_SECONDS, FIRST_POINT_SECONDS = 10.0, 60.0
ROW_P2 = (
    f'sum(rate({NAMESPACE}_request_success_total{{instruction_type=~"make.*old|age.*"}}[1h]))'
    f' / sum(rate({NAMESPACE}_request_total{{instruction_type=~"make.*old|age.*"}}[1h]))'
)


def test_the_first_point_is_in_prometheus_within_a_minute(real: Real) -> None:
    assert real.first_point_seconds < FIRST_POINT_SECONDS


@pytest.mark.parametrize(("service", "most"), [(EDITOR, 14), (GENERATOR, 13), (RECOGNISER, 11)])
def test_prometheus_knows_everything_that_it_is_asked(service: str, most: int, real: Real) -> None:
    answers = real.answers[service]
    assert len(answers) == most
    assert [answer.question.title for answer in answers if not answer.good] == []


@pytest.mark.parametrize(
    "job", [EDITOR, GENERATOR, RECOGNISER, "node", "prometheus", "alertmanager"]
)
def test_the_target_shows_up(job: str, real: Real) -> None:
    """Row P10."""
    targets = {each["labels"]["job"]: each for each in real.get("targets")["activeTargets"]}
    assert targets[job]["health"] == "up", targets[job]["lastError"]
    assert real.query(f'up{{job="{job}"}}') == [1]


def test_the_query_of_row_p2_is_answered(real: Real) -> None:
    """With a share, not with 1: an edit that destroyed what it should have kept counts too."""
    [share] = real.query(ROW_P2)
    assert 0 < share <= 1


@pytest.mark.parametrize("name", ["request_success_total", "request_total"])
def test_prometheus_counts_the_edits_of_row_p2_as_the_service_does(name: str, real: Real) -> None:
    counted = real.counted(name, instruction_type="make_him_old")
    assert counted >= 1
    old = f'{NAMESPACE}_{name}{{instruction_type="make_him_old"}}'
    eventually(
        lambda: sum(real.query(old)) == counted, within=15, what=f"Prometheus' {name} as counted"
    )


@pytest.mark.parametrize(
    ("row", "histogram", "most_seconds"),
    [
        ("P1", "request_duration_seconds", 60),
        ("P3", "request_queued_duration_seconds", 10),
        ("P5", "step_latency_seconds", 2),
    ],
)
def test_the_p95_is_a_time(row: str, histogram: str, most_seconds: float, real: Real) -> None:
    rate = f"rate({NAMESPACE}_{histogram}_bucket[5m])"
    [p95] = real.query(f"histogram_quantile(0.95, sum by (le) ({rate}))")
    assert 0 < p95 <= most_seconds, row


def test_steps_are_told_apart_by_their_place(real: Real) -> None:
    """Row P5: the edits of the check have twelve steps."""
    counted = real.get("query", query=f"sum by (step) ({NAMESPACE}_step_latency_seconds_count)")
    steps = {each["metric"]["step"]: float(each["value"][1]) for each in counted["result"]}
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


def test_http_requests_are_counted_under_the_names_people_know(real: Real) -> None:
    """Row D1."""
    where = '{handler="/api/edit",method="POST",status="200"}'
    [edits] = real.query(f"http_requests_total{where}")
    assert edits >= 1
    assert real.query('http_request_duration_seconds_count{handler="/api/edit",method="POST"}')


def test_exemplars_lead_from_a_latency_to_its_trace(real: Real) -> None:
    name = f"{NAMESPACE}_request_duration_seconds_bucket"
    found = real.get("query_exemplars", query=name, start="0", end="9999999999")
    traces = [each["labels"]["trace_id"] for series in found for each in series["exemplars"]]
    assert traces
    assert all(len(trace) == 32 for trace in traces)


def test_every_rule_is_loaded_and_healthy(real: Real) -> None:
    groups = real.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["type"] for rule in rules} == {"recording", "alerting"}
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []


def test_the_alertmanager_is_discovered(real: Real) -> None:
    assert len(real.get("alertmanagers")["activeAlertmanagers"]) == 1


def test_promtool_has_no_complaint_about_the_metrics(real: Real) -> None:
    text = real.metrics()
    assert text.headers["content-type"].startswith("text/plain")
    command = ("promtool", "check", "metrics")
    checked = subprocess.run(command, input=text.text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_openmetrics_is_served_with_exemplars(real: Real) -> None:
    answer = real.metrics(OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert '# {trace_id="' in answer.text


def test_top_says_the_same_as_prometheus(real: Real) -> None:
    now = parse(real.metrics().text)
    seen = Reading(now, {}, 1.0, NAMESPACE).view()

    def same() -> bool:
        name = f"sum by (le) ({NAMESPACE}_request_duration_seconds_bucket)"
        said = [real.query(f"histogram_quantile({q}, {name})") for q in QUANTILES]
        return [value for [value] in said] == pytest.approx(list(seen.latency_seconds))

    eventually(same, within=15, what="Prometheus has scraped what top read")
    assert "demo-edit" in Window(10).add(now, 0.0).model


def test_a_worker_that_is_killed_in_the_middle_of_an_edit_is_seen_counted_and_healed(
    real: Real,
) -> None:
    api = psutil.Process(real.stack.pid(EDITOR))
    [worker] = [
        each for each in api.children() if "safelight.serving.worker.child" in each.cmdline()
    ]
    died = real.counted("worker_restarts_total", reason="died")
    with ThreadPoolExecutor(1) as pool:
        caller = pool.submit(real.edit, steps=100, size=256)
        at_work = worker.cpu_times().user + 0.2
        eventually(lambda: worker.cpu_times().user > at_work, within=30, what="the edit began")
        worker.kill()
        killed_at = monotonic()
        answer = caller.result(timeout=60)
    assert answer.status_code == httpx.codes.OK  # by the worker's successor
    assert real.counted("worker_restarts_total", reason="died") == died + 1
    eventually(real.is_ready, within=HEAL_SECONDS - (monotonic() - killed_at), what="ready again")
    assert (api.pid, api.is_running()) == (real.stack.pid(EDITOR), True)
    _is_good(real.edit())
    eventually(
        lambda: real.query(f'{NAMESPACE}_worker_restarts_total{{reason="died"}} >= {died + 1}'),
        within=20,
        what="Prometheus knows of the death",
    )


def _is_good(answer: httpx.Response) -> None:
    assert answer.status_code == httpx.codes.OK, answer.text
    with Image.open(BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("PNG", (64, 64))


# ── The examples, as their readers run them ──────────────────────────────────────────────────────


def _run(real: Real, folder: Path, *command: str) -> str:
    urls = {
        f"{word}_URL": real.stack.plan.find(name).url
        for word, name in (("EDIT", EDITOR), ("GENERATE", GENERATOR), ("PREDICT", RECOGNISER))
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **urls, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_by_httpx_makes_edits_and_recognises(real: Real, tmp_path: Path) -> None:
    said = _run(real, tmp_path, sys.executable, str(EXAMPLES / "portraits.py"))
    assert "denoise" in said
    assert "sunglasses" in said
    with Image.open(tmp_path / "edited.png") as made:
        assert made.size == (64, 64)


def test_the_examples_by_curl_and_by_openais_client_run(real: Real, tmp_path: Path) -> None:
    assert '"label"' in _run(real, tmp_path, "bash", str(EXAMPLES / "portraits.sh"))
    openai = str(EXAMPLES / "openai_client.py")
    assert "edited.png" in _run(real, tmp_path, sys.executable, openai, "portrait.png")

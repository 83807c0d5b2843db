"""Query every panel of every dashboard in a real Prometheus after real traffic."""

import asyncio
import re
from collections import defaultdict
from contextlib import suppress
from time import time
from typing import Any

import httpx
import pytest

from safelight.dashboards.board import FIRING, INSTANT, Board, Panel
from safelight.dashboards.boards.common import NVIDIA_GPU
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen, first_choice
from safelight.metrics.catalog import INSTRUCTION_TYPE, NO_INSTRUCTION, REQUESTS, SUCCESSES
from safelight.metrics.metric import Label, Metric
from safelight.stack.tools.samples import parse_task, photo
from safelight.stack.tools.traffic import Traffic, drive
from tests.asking import HTTP
from tests.stack.real import EDITOR, Real
from tests.stack.waiting import eventually

BOARDS = boards()
# What the demos do not have, or not within these minutes.
ABSENT = {
    FIRING,
    "an hour of data",
    "a GPU, or metrics of PyTorch",
    "callers who rate responses",
    "more label values than a metric may have",
    "a receiver behind the relay",
    "two devices",
}
# Tests have no canary unless they say so (tests/conftest.py), and the demos no second model.
WITHOUT = {
    panel.title
    for board in BOARDS
    for row in board.rows
    if row.title in ("Canary", "Second model")
    for panel in row.panels
}
SECONDS = 12.0
RATES = {"edit": 1.0, "generate": 1.5, "predict": 4.0}
LONG = "a portrait of a person who smiles in the forest " * 20


async def send(url: str) -> None:
    """Send requests to a service for a dozen seconds."""
    async with httpx.AsyncClient(timeout=60) as client:
        task = parse_task(await client.get(f"{url}/v1/models"))
        traffic = Traffic(RATES[task], SECONDS, steps=None if task == "predict" else 2, task=task)
        await drive(traffic, url, client=client)


async def send_to_all(urls: list[str]) -> None:
    await asyncio.gather(*map(send, urls))


def send_bad_requests(url: str) -> None:
    """Send requests that fail. A rate needs two samples of a series, so send them twice."""
    with httpx.Client(base_url=url, timeout=60) as client:
        task = parse_task(client.get("/v1/models"))
        path = {"edit": "/api/edit", "generate": "/generate", "predict": "/predict"}[task]
        for _ in range(3):
            refused = client.post(path, data={"instruction": "x"}, files={"image": b"none"})
            assert refused.is_client_error, refused.text


def send_unusual_edit(url: str) -> None:
    """Send an edit with a guidance scale that has no effect and an instruction that is cut."""
    form = {"instruction": LONG, "steps": "2", "image_guidance_scale": "0.5"}
    response = HTTP.post(f"{url}/api/edit", data=form, files={"image": photo(64, 64)}, timeout=60)
    assert response.status_code == 200, response.text


def send_edits_of_one_type(url: str) -> None:
    """Send as many edits of a type as the radar needs, however few a slow machine made before."""
    form = {"instruction": "make him old", "steps": "4"}
    for seed in range(10):
        files, fields = {"image": photo(64, 64)}, {**form, "seed": str(seed)}
        response = HTTP.post(f"{url}/api/edit", data=fields, files=files, timeout=60)
        assert response.status_code == 200, response.text


@pytest.fixture(scope="module")
def busy(real: Real) -> Real:
    urls = [real.stack.plan.find(name).url for name in real.stack.plan.services]
    for url in urls:
        send_bad_requests(url)
    asyncio.run(send_to_all(urls))
    for url in urls:
        send_bad_requests(url)
    send_unusual_edit(real.service)
    send_edits_of_one_type(real.service)
    return real


def queried(real: Real, board: Board, panel: Panel, end: float) -> list[dict[str, Any]]:
    """Return the series that a panel shows for the last minutes. An error of a query raises."""
    chosen = Chosen(first_choice(board) or EDITOR, rate_interval="30s", range="10m")
    at = {"time": str(end)}
    path = "query"
    if panel.shape not in INSTANT:
        path, at = "query_range", {"start": str(end - 300), "end": str(end), "step": "15"}
    queries = (chosen.fill(query.expr) for query in panel.queries)
    return [one for query in queries for one in real.get(path, query=query, **at)["result"]]


def samples(real: Real, board: Board, panel: Panel) -> int:
    """Return how many values, without NaN, a panel shows for the last minutes."""
    series = queried(real, board, panel, time())
    values = (pair for one in series for pair in one.get("values", [one.get("value")]))
    return sum(value != "NaN" for _, value in values)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_shows_data_or_names_what_it_needs(board: Board, busy: Real) -> None:
    panels = {panel.title: panel for panel in board.panels}
    empty = set(panels)

    def all_shown() -> bool:
        empty.difference_update(t for t in list(empty) if samples(busy, board, panels[t]))
        return all(title in WITHOUT or is_absent(panels[title]) for title in empty)

    with suppress(AssertionError):  # what is missing is named below
        eventually(all_shown, within=60, what="data")
    missing = sorted(title for title in empty if not panels[title].needs)
    assert not missing, "no data"
    left = empty - WITHOUT
    unexplained = {title: panels[title].needs for title in left if not is_absent(panels[title])}
    assert not unexplained, "this demo has what these panels need"


def is_absent(panel: Panel) -> bool:
    """Return whether the demos on a CPU do not have what a panel needs."""
    return panel.needs in ABSENT or panel.needs.startswith(NVIDIA_GPU)


def counters(real: Real) -> dict[str, float]:
    """Return the samples of /metrics of the editor, by name and labels."""
    lines = HTTP.get(f"{real.service}/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def summed(samples: dict[str, float], metric: Metric, label: Label) -> dict[str, float]:
    """Return the sum of a counter's samples for each value of a label."""
    pattern = re.compile(rf'{metric.full_name(EDITOR)}\{{.*{label.name}="([^"]*)"')
    sums: defaultdict[str, float] = defaultdict(float)
    for name, value in samples.items():
        if match := pattern.match(name):
            sums[match[1]] += value
    return dict(sums)


def shown(real: Real, title: str, label: Label) -> dict[str, float]:
    """Return the values that a panel shows now, by a label."""
    board, panel = next((b, p) for b in BOARDS for p in b.panels if p.title == title)
    series = queried(real, board, panel, time())
    return {one["metric"][label.name]: float(one["value"][1]) for one in series}


def test_the_numbers_of_panels_equal_the_counters_of_the_service(busy: Real) -> None:
    """The whole life of the service is in the time range; no request is sent meanwhile."""

    def agree() -> bool:
        now = counters(busy)
        requests = summed(now, REQUESTS, INSTRUCTION_TYPE)
        requests.pop(NO_INSTRUCTION, None)
        successes = summed(now, SUCCESSES, INSTRUCTION_TYPE)
        ratios = {kind: successes.get(kind, 0.0) / count for kind, count in requests.items()}
        return shown(busy, "What do callers ask for?", INSTRUCTION_TYPE) == pytest.approx(
            requests, rel=0.01
        ) and shown(busy, "Which instructions fail most?", INSTRUCTION_TYPE) == pytest.approx(
            ratios, rel=0.01
        )

    eventually(agree, within=30, what="equal numbers")


def test_r2_a_recognition_service_counts_the_calls_of_its_model(busy: Real) -> None:
    url = busy.stack.plan.find("recognition").url
    lines = HTTP.get(f"{url}/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    samples = {name: float(value) for name, value in pairs}
    calls = samples['model_request_total{model_name="demo-recognize",status="success"}']
    successes = sum(n for name, n in samples.items() if "recognition_request_success_total" in name)
    assert calls == successes > 0
    assert samples['model_latency_seconds_count{model_name="demo-recognize"}'] == calls


def test_all_instances_and_jobs_are_found_by_the_variables(busy: Real) -> None:
    """Grafana fills its lists with these queries, and sends the values as regular expressions."""
    for board in BOARDS:
        chosen = Chosen(first_choice(board) or EDITOR)
        for variable in board.variables:
            if not variable.query:
                continue
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.query)
            assert match, variable.query
            metric, label = match.groups()
            series = busy.get("series", **{"match[]": chosen.fill(metric)})
            assert {one.get(label) for one in series} - {None}, (board.uid, variable.name)

"""Query every panel of every dashboard in a real Prometheus after real traffic."""

import asyncio
from time import time

import httpx
import pytest

from safelight.dashboards.board import Board, Panel
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen, first_choice
from safelight.stack.tools.samples import parse_task, photo
from safelight.stack.tools.traffic import Traffic, drive
from tests.asking import HTTP
from tests.stack.real import EDITOR, Real
from tests.stack.waiting import eventually

BOARDS = boards()
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


@pytest.fixture(scope="module")
def busy(real: Real) -> Real:
    urls = [real.stack.plan.find(name).url for name in real.stack.plan.services]
    for url in urls:
        send_bad_requests(url)
    asyncio.run(send_to_all(urls))
    for url in urls:
        send_bad_requests(url)
    send_unusual_edit(real.service)
    return real


def samples(real: Real, board: Board, panel: Panel) -> int:
    """Return how many values, without NaN, a panel shows for the last minutes."""
    chosen = Chosen(first_choice(board) or EDITOR, rate_interval="30s", range="10m")
    end = time()
    times = {"start": str(end - 300), "end": str(end), "step": "15"}
    results = (
        series
        for query in panel.queries
        for series in real.get("query_range", query=chosen.fill(query.expr), **times)["result"]
    )
    return sum(value != "NaN" for series in results for _, value in series["values"])


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_shows_data_or_names_what_it_needs(board: Board, busy: Real) -> None:
    panels = {panel.title: panel for panel in board.panels if not panel.needs}
    empty = set(panels)

    def all_shown() -> bool:
        empty.difference_update(t for t in list(empty) if samples(busy, board, panels[t]))
        return not empty

    try:
        eventually(all_shown, within=30, what="data")
    except AssertionError:
        pytest.fail(f"no data: {sorted(empty)}")

"""The console over HTTP, as a real process beside a real Prometheus."""

import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from safelight.console.pages import PAGES
from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen
from safelight.diagnosis.prometheus import Prometheus
from safelight.stories.replay import free_port
from tests.cli.running import started
from tests.stack.waiting import eventually


def data(address: str, path: str, **query: object) -> httpx.Response:
    return httpx.get(f"{address}/data/{path}", params=query, timeout=30)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [*(page.path for page in PAGES), "/dashboards/safelight-live"])
def test_every_page_is_there_and_is_not_kept(address: str, path: str) -> None:
    answer = httpx.get(f"{address}{path}", follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "<title>Safelight</title>" in answer.text


def test_no_page_can_run_code_of_others_or_be_shown_inside_of_another(address: str) -> None:
    for path in ("/", "/static/main.js", "/data/start", "/nothing"):
        policy = httpx.get(f"{address}{path}").headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_a_page_whose_name_leads_to_this_machine_cannot_read(address: str) -> None:
    answer = httpx.get(f"{address}/data/start", headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "status"), [("/nope", 404), ("/nope/x", 404), ("/requests/a%2Fb", 200)]
)
def test_people_who_came_to_no_page_get_the_console_which_says_so(
    address: str, path: str, status: int
) -> None:
    page = httpx.get(f"{address}{path}", headers={"accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page.headers["cache-control"]) == (status, "no-store")
    assert "<title>Safelight</title>" in page.text


@pytest.mark.parametrize("path", ["/nope", "/data/nope", "/static/nope.js"])
def test_programs_and_scripts_get_no_page_that_is_not_there(address: str, path: str) -> None:
    accept = "*/*" if path == "/nope" else "text/html"
    answer = httpx.get(f"{address}{path}", headers={"accept": accept})
    assert (answer.status_code, answer.text) == (404, "Not Found")


def test_browsers_ask_for_each_script_again(address: str) -> None:
    first = httpx.get(f"{address}/static/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = httpx.get(f"{address}/static/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_every_panel_of_every_dashboard_answers(address: str, board: object) -> None:
    uid, panels = board.uid, board.panels  # type: ignore[attr-defined]
    for place, panel in enumerate(panels):
        answer = data(address, "panel", board=uid, panel=place, seconds=3600)
        assert answer.status_code == 200, (panel.title, answer.text)
        assert len(answer.json()["queries"]) == len(panel.queries)


def test_a_panel_shows_what_prometheus_says(address: str, past: Prometheus) -> None:
    live = boards()[0]
    place = next(n for n, panel in enumerate(live.panels) if panel.title.startswith("QPS"))
    end = int(past.now()) // 60 * 60
    shown = data(address, "panel", board=live.uid, panel=place, seconds=1800, end=end).json()
    chosen = Chosen("instructpix2pix", rate_interval="240s", range="1800s")
    [expected] = past.curve(chosen.fill(live.panels[place].queries[0].expr), end - 1800, end, 60)
    assert [tuple(point) for point in shown["curves"][0]["points"]] == list(expected.points)
    assert len(expected.points) == 31


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ({"board": "none", "panel": 0}, 404, "dashboard"),
        ({"board": "safelight-live", "panel": 999}, 404, "panel"),
        ({"board": "safelight-live", "panel": "x"}, 404, "panel"),
        ({"board": "safelight-live", "panel": -1}, 404, "panel"),
        ({"board": "safelight-live", "panel": 0, "seconds": "x"}, 422, "seconds since 1970"),
        ({"board": "safelight-live", "panel": 0, "seconds": 1}, 422, "400 days"),
        ({"board": "safelight-live", "panel": 0, "seconds": "nan"}, 422, "400 days"),
        ({"board": "safelight-live", "panel": 0, "namespace": "A-"}, 422, "namespace"),
        ({"board": "safelight-live", "panel": 0, "job": "x" * 300}, 422, "200 characters"),
    ],
)
def test_bad_input_gets_a_clear_error(
    address: str, query: dict[str, object], status: int, says: str
) -> None:
    answer = data(address, "panel", **query)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_the_services_and_instances_of_prometheus_are_offered(address: str) -> None:
    assert data(address, "services").json() == [
        {"namespace": "instructpix2pix", "job": "safelight"}
    ]
    assert data(address, "instances", job="safelight").json() == ["safelight-0:8000"]
    assert data(address, "instances", job="other").json() == []


def test_live_data_arrives_as_events(address: str) -> None:
    with httpx.stream("GET", f"{address}/data/live", timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        line = next(line for line in answer.iter_lines() if line.startswith("data: "))
    assert '"job":"safelight"' in line


def test_no_more_than_a_hundred_pages_are_open_and_their_places_are_given_back(
    address: str,
) -> None:
    where = "127.0.0.1", int(address.rpartition(":")[2])
    head = b"GET /data/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with ExitStack() as stack:
        pages = [stack.enter_context(socket.create_connection(where, 60)) for _ in range(105)]
        for each in pages:
            each.sendall(head)
        heads = [each.recv(12) for each in pages]
        assert (heads.count(b"HTTP/1.1 200"), heads.count(b"HTTP/1.1 503")) == (100, 5)

    def is_open() -> bool:
        with httpx.stream("GET", f"{address}/data/live", timeout=60) as answer:
            return answer.is_success

    eventually(is_open, within=30, what="places are given back")


def test_a_thousand_page_views_without_a_browser_leave_no_memory_behind(
    address: str, past: Prometheus
) -> None:
    port = int(address.rpartition(":")[2])
    [console] = [
        each.pid
        for each in psutil.net_connections("tcp")
        if each.laddr and each.laddr.port == port and each.status == psutil.CONN_LISTEN
    ]
    process = psutil.Process(console)
    with httpx.Client(base_url=address) as client:
        for _ in range(50):
            client.get("/")
        before = process.memory_info().rss
        for _ in range(1000):
            assert client.get("/").is_success
            assert client.get("/dashboards/safelight-live").is_success
    assert process.memory_info().rss - before < 10_000_000


def test_a_prometheus_that_is_gone_is_said_and_the_console_stays(tmp_path: Path) -> None:
    port = free_port()
    where = ("--prometheus", "http://127.0.0.1:9", "--port", str(port))
    with started(tmp_path, "console", *where) as command:
        command.wait_for_output("console: http://127.0.0.1")
        url = f"http://127.0.0.1:{port}"
        answer = data(url, "panel", board="safelight-live", panel=0)
        assert answer.status_code == 502
        assert "Prometheus at http://127.0.0.1:9 cannot be queried" in answer.json()["detail"]
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert command.send(signal.SIGINT) in (0, 130)
    assert "Traceback" not in command.err


def test_an_open_page_does_not_keep_the_console_from_stopping(
    past: Prometheus, tmp_path: Path
) -> None:
    port = free_port()
    with started(tmp_path, "console", "--prometheus", past.url, "--port", str(port)) as command:
        command.wait_for_output("console: http://127.0.0.1")
        with httpx.stream("GET", f"http://127.0.0.1:{port}/data/live", timeout=60) as answer:
            next(answer.iter_lines())
            command.send(signal.SIGTERM, within=10)
    assert "Traceback" not in command.err

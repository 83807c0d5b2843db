"""What operators do with the console: real services, and a line in the audit log of each action."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from safelight.console.acts import ACTS
from safelight.console.gateway import ROUTES
from safelight.serving.http.scopes import ACCEPTED
from safelight.stack.tools.samples import photo
from safelight.stories.replay import free_port
from tests.console.acting import KEYS, OPERATING, OTHER, VIEWING, answering, say, say_ready, viewer
from tests.console.running import console
from tests.serving.conftest import RealService, serving

PAINTER = "tests.serving.models:painter"
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    """Start a service with a second model."""
    folder = tmp_path_factory.mktemp("service")
    more: dict[str, Any] = {"records_url": "", "api_keys": KEYS, "canary_seconds": "60"}
    with serving(folder, PAINTER, shadow=PAINTER, **more) as service:
        yield service


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@contextmanager
def keyed(folder: Path, state: Path, *urls: str, **more: str) -> Iterator[str]:
    """Start a console with keys; `more` are further options."""
    services = [part for url in urls for part in ("--service", url)]
    options = [part for name, value in more.items() for part in (f"--{name}", value)]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SAFELIGHT_API_KEYS", KEYS)
        with console(folder, *services, "--state-folder", str(state), *options) as url:
            yield url


@pytest.fixture(scope="module")
def address(
    service: RealService, state: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    nobody = f"http://127.0.0.1:{free_port()}"
    with keyed(tmp_path_factory.mktemp("console"), state, service.url, nobody) as url:
        yield url


@pytest.fixture
def anna(address: str) -> Iterator[httpx.Client]:
    """Return an operator."""
    with viewer(address, OPERATING) as client:
        yield client


@pytest.fixture
def ben(address: str) -> Iterator[httpx.Client]:
    """Return a viewer who may not act."""
    with viewer(address, VIEWING) as client:
        yield client


def act(who: httpx.Client, action: str, number: int = 0, **parameters: object) -> httpx.Response:
    return who.post(
        "/data/actions", json={"action": action, "service": number, "parameters": parameters}
    )


def log_of(who: httpx.Client) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = who.get("/data/actions").raise_for_status().json()
    return entries


def parts(who: httpx.Client, number: int = 0) -> dict[str, Any]:
    """Return what is so at a service now."""
    found = who.get("/data/state", params={"service": number}).raise_for_status().json()
    assert found["problem"] == ""
    known: dict[str, Any] = found["parts"]
    return known


def degraded(who: httpx.Client) -> str | None:
    """Return what the service changed of an edit with ten steps."""
    answer = who.post(
        "/service/0/api/edit",
        params={"instruction": "make him old", "steps": 10},
        content=photo(64, 64),
        headers=JPEG,
    )
    assert answer.status_code == 200, answer.text
    changed: str | None = answer.headers.get("x-safelight-degraded")
    return changed


# ── The closed table ─────────────────────────────────────────────────────────────────────────────


def test_the_table_has_every_action_of_a_service_and_nothing_else() -> None:
    own = {route for route, needed in ACCEPTED.items() if needed == ("operate",)}
    assert {act.route for act in ACTS if act.route} == own - {"GET /metrics"}
    assert len({act.name for act in ACTS}) == len(ACTS)
    for each in ACTS:
        assert each.says.endswith(".")
        assert each.undo.endswith(".")


def test_no_action_reaches_a_service_without_a_line_in_the_log(anna: httpx.Client) -> None:
    assert {each.route for each in ACTS}.isdisjoint(ROUTES)
    assert anna.post("/service/0/v1/drain").status_code in (404, 405)


# ── What is done ─────────────────────────────────────────────────────────────────────────────────


def test_a_drain_makes_readyz_503_and_its_end_200(anna: httpx.Client, service: RealService) -> None:
    assert act(anna, "drain").json()["result"] == "done"
    assert service.client.get("/readyz").status_code == 503
    drain = parts(anna)["drain"]
    assert (drain["draining"], drain["by"], drain["model"]) == (True, "anna", "awake")
    assert degraded(anna) is None  # it still answers

    assert act(anna, "end_drain").status_code == 200
    assert service.client.get("/readyz").status_code == 200
    assert parts(anna)["drain"]["draining"] is False


def test_a_pin_changes_the_steps_and_a_release_gives_them_back(anna: httpx.Client) -> None:
    act(anna, "pin", level=3)
    assert degraded(anna) == "fewer_steps"
    assert parts(anna)["degradation"]["by"] == "anna"
    act(anna, "release")
    assert degraded(anna) is None
    assert parts(anna)["degradation"]["level"] == 0


def test_the_canary_runs_and_says_what_it_found(anna: httpx.Client) -> None:
    assert act(anna, "canary").json()["result"] == "done"
    [worker] = parts(anna)["canary"]["workers"]
    assert worker["verdict"] in ("good", "unknown")


def test_a_rollout_starts_pauses_resumes_promotes_and_ends(anna: httpx.Client) -> None:
    model = parts(anna)["rollout"]["second"]
    assert act(anna, "rollout_start", model=model, steps=[5, 100], least=50).status_code == 200
    assert parts(anna)["rollout"]["percent"] == 5
    for action, status, percent in (
        ("rollout_pause", "paused", 5),
        ("rollout_resume", "running", 5),
        ("rollout_promote", "running", 100),
        ("rollout_abort", "aborted", 0),
    ):
        assert act(anna, action).status_code == 200, action
        found = parts(anna)["rollout"]
        assert (found["status"], found["percent"]) == (status, percent), action


def test_an_action_that_no_longer_fits_is_refused_in_words(
    service: RealService, address: str
) -> None:
    with viewer(address, OTHER) as cleo:
        refused = act(cleo, "rollout_abort")
        assert refused.status_code == 409
        assert refused.json()["detail"] == "No rollout is in progress."
        assert log_of(cleo)[0] | {"id": "", "at": "", "ended_at": ""} == {
            "id": "",
            "at": "",
            "ended_at": "",
            "name": "cleo",
            "service": service.url,
            "action": "rollout_abort",
            "title": "Abort the rollout",
            "parameters": {},
            "result": "refused",
            "status": 409,
            "detail": "No rollout is in progress.",
        }


def test_of_two_operators_who_drain_the_second_sees_who_was_first(
    anna: httpx.Client, address: str
) -> None:
    with viewer(address, OTHER) as cleo:
        both = [threading.Thread(target=act, args=(who, "drain")) for who in (anna, cleo)]
        for each in both:
            each.start()
        for each in both:
            each.join()
        first = parts(cleo)["drain"]["by"]
        assert first == parts(anna)["drain"]["by"]
        assert first in ("anna", "cleo")
        assert {entry["name"] for entry in log_of(anna)[:2]} == {"anna", "cleo"}
        assert act(cleo, "end_drain").status_code == 200
        assert parts(anna)["drain"]["by"] == ""


def test_sleep_and_wake(tmp_path: Path) -> None:
    with (
        serving(tmp_path, PAINTER, records_url="", api_keys=KEYS, canary_seconds="3600") as sleepy,
        keyed(tmp_path, tmp_path / "state", sleepy.url) as url,
        viewer(url, OPERATING) as anna,
    ):
        assert act(anna, "sleep").json()["result"] == "done"
        assert sleepy.client.get("/readyz").json()["status"] == "asleep"
        assert parts(anna)["drain"]["model"] == "asleep"
        canary = act(anna, "canary").json()
        assert canary["result"] == "failed"
        assert "Wake the model" in str(canary)
        assert act(anna, "wake").json()["result"] == "done"
        assert parts(anna)["ready"]["status"] == "ready"


# ── Who may ──────────────────────────────────────────────────────────────────────────────────────


def test_a_viewer_sees_everything_and_is_refused(
    anna: httpx.Client, ben: httpx.Client, service: RealService
) -> None:
    before = log_of(anna)
    refused = act(ben, "drain")
    assert refused.status_code == 403
    assert "operate" in refused.json()["detail"]
    assert service.client.get("/readyz").status_code == 200
    assert log_of(ben) == before
    assert parts(ben)["degradation"]["highest"] == 5


def test_nobody_acts_or_looks_without_a_session(address: str) -> None:
    assert httpx.post(f"{address}/data/actions", json={"action": "drain"}).status_code == 401
    for path in ("actions", "actions/table", "state?service=0"):
        assert httpx.get(f"{address}/data/{path}").status_code == 401


def test_a_page_of_another_origin_cannot_act(anna: httpx.Client) -> None:
    asked = {"action": "drain"}
    foreign = {"origin": "https://evil.example"}
    assert anna.post("/data/actions", json=asked, headers=foreign).status_code == 403


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        ({"action": "explode"}, 422, "no such action"),
        ({}, 422, "action"),
        ({"action": "drain", "service": 9}, 404, "service"),
        ({"action": "drain", "service": -1}, 422, "service"),
        ({"action": "drain", "parameters": {"level": 1}}, 422, "level"),
        ({"action": "pin"}, 422, "level"),
        ({"action": "pin", "parameters": {"level": 6}}, 422, "level"),
        ({"action": "pin", "parameters": {"level": "1"}}, 422, "level"),
        ({"action": "drain", "more": 1}, 422, "more"),
        ({"action": "rollout_start", "parameters": {"model": "x" * 2000}}, 422, "model"),
        (
            {
                "action": "rollout_start",
                "parameters": {"model": "b", "least": 1, "steps": [10**19]},
            },
            422,
            "steps",
        ),
    ],
)
def test_bad_input_is_refused_before_the_log_and_the_service(
    anna: httpx.Client, content: dict[str, object], status: int, says: str
) -> None:
    before = log_of(anna)
    refused = anna.post("/data/actions", json=content)
    assert (refused.status_code, says in refused.json()["detail"]) == (status, True), refused.text
    assert log_of(anna) == before


# ── The audit log ────────────────────────────────────────────────────────────────────────────────


def test_the_log_has_name_and_time_and_survives_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with answering(lambda handler: say(handler, 200)) as service:
        with keyed(tmp_path, state, service) as url, viewer(url, OPERATING) as anna:
            act(anna, "pin", level=2)
            [before] = log_of(anna)
        with keyed(tmp_path, state, service) as url, viewer(url, VIEWING) as ben:
            assert log_of(ben) == [before]
    assert (before["name"], before["service"], before["title"]) == ("anna", service, "Pin a level")
    assert (before["parameters"], before["result"], before["status"]) == ({"level": 2}, "done", 200)
    at = datetime.fromisoformat(before["at"])
    assert before["at"].endswith("Z")
    assert timedelta() <= datetime.now(UTC) - at < timedelta(minutes=2)
    assert (state / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_an_action_is_in_the_log_before_it_is_done(tmp_path: Path) -> None:
    file = tmp_path / "state" / "audit.jsonl"
    seen: list[str] = []

    def look(handler: Any) -> None:
        seen.append(file.read_text())
        say(handler, 200)

    with (
        answering(look) as service,
        keyed(tmp_path, file.parent, service) as url,
        viewer(url, OPERATING) as anna,
    ):
        act(anna, "drain")
        [line] = seen[0].splitlines()
        assert json.loads(line)["result"] == "running"
        [entry] = log_of(anna)
        assert entry["result"] == "done"


def test_of_two_operators_at_once_the_second_is_told_that_the_first_acts(tmp_path: Path) -> None:
    began, may = threading.Event(), threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        began.set()
        assert may.wait(60)
        say(handler, 200)

    with (
        answering(slow) as url,
        keyed(tmp_path, tmp_path / "state", url) as address,
        viewer(address, OPERATING) as anna,
        viewer(address, OTHER) as cleo,
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(act, anna, "pin", level=1)
        assert began.wait(30)
        try:
            second = act(cleo, "pin", level=2)
            other = pool.submit(act, cleo, "release")  # what ends an action is never held up
        finally:
            may.set()
        assert (second.status_code, second.json()["result"]) == (409, "refused")
        assert "a colleague began it" in second.json()["detail"]
        assert first.result().json()["result"] == "done"
        assert other.result().json()["result"] == "done"
        results = [(each["name"], each["result"]) for each in anna.get("/data/actions").json()]
        assert ("cleo", "refused") in results
        assert act(cleo, "pin", level=2).json()["result"] == "done"


def test_what_cannot_be_logged_is_not_done(tmp_path: Path) -> None:
    asked: list[str] = []

    def note(handler: Any) -> None:
        asked.append(handler.path)
        say(handler, 200)

    state = tmp_path / "state"
    (state / "audit.jsonl").mkdir(parents=True)
    with (
        answering(note) as service,
        keyed(tmp_path, state, service) as url,
        viewer(url, OPERATING) as anna,
    ):
        refused = act(anna, "drain")
        assert refused.status_code == 502
        assert "cannot be written" in refused.json()["detail"]
        assert asked == []
        assert "cannot be read" in anna.get("/data/actions").json()["detail"]

        (state / "audit.jsonl").rmdir()
        assert act(anna, "drain").status_code == 200
        assert asked == ["/v1/drain"]


def test_an_end_that_cannot_be_logged_is_said(tmp_path: Path) -> None:
    file = tmp_path / "state" / "audit.jsonl"

    def break_the_log(handler: Any) -> None:
        file.unlink()
        file.mkdir()
        say(handler, 200)

    with (
        answering(break_the_log) as service,
        keyed(tmp_path, file.parent, service) as url,
        viewer(url, OPERATING) as anna,
    ):
        done = act(anna, "drain").json()
        assert done["result"] == "done"
        assert "does not say how it ended" in done["problem"]


def test_a_console_that_ended_in_the_middle_leaves_an_unknown(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    begun = {"id": "a", "at": "2026-12-01T12:00:00Z", "action": "gone", "result": "running"}
    (state / "audit.jsonl").write_text(json.dumps(begun) + "\n")
    with keyed(tmp_path, state, "http://127.0.0.1:9") as url, viewer(url, VIEWING) as ben:
        [entry] = log_of(ben)
        assert (entry["result"], entry["title"]) == ("unknown", "gone")


def test_without_keys_the_log_says_anyone(tmp_path: Path) -> None:
    with (
        answering(lambda handler: say(handler, 200)) as service,
        console(tmp_path, "--service", service, "--state-folder", str(tmp_path / "state")) as url,
        httpx.Client(base_url=url, timeout=30) as somebody,
    ):
        act(somebody, "drain")
        assert log_of(somebody)[0]["name"] == "anyone on this machine"


# ── Services that fail ───────────────────────────────────────────────────────────────────────────


def test_a_service_that_stopped_is_said_in_words_and_in_the_log(anna: httpx.Client) -> None:
    failed = act(anna, "drain", 1)
    assert failed.status_code == 502
    assert "does not answer" in failed.json()["detail"]
    assert log_of(anna)[0]["result"] == "failed"
    assert "does not answer" in anna.get("/data/state", params={"service": 1}).json()["problem"]


def test_a_lost_answer_is_unknown(tmp_path: Path) -> None:
    with (
        answering(lambda handler: handler.connection.close()) as service,
        keyed(tmp_path, tmp_path / "state", service) as url,
        viewer(url, OPERATING) as anna,
    ):
        lost = act(anna, "drain")
        assert lost.status_code == 502
        assert "nobody knows" in lost.json()["detail"]
        assert log_of(anna)[0]["result"] == "unknown"


def test_a_key_that_the_service_does_not_know_is_said_and_asks_nobody_to_log_in(
    tmp_path: Path,
) -> None:
    with (
        answering(lambda handler: say(handler, 401)) as service,
        keyed(tmp_path, tmp_path / "state", service) as url,
        viewer(url, OPERATING) as anna,
    ):
        refused = act(anna, "drain")
        assert refused.status_code == 502
        assert "SAFELIGHT_API_KEYS_FILE" in refused.json()["detail"]
        assert (log_of(anna)[0]["result"], log_of(anna)[0]["status"]) == ("refused", 401)
        state = anna.get("/data/state", params={"service": 0}).json()
        assert "API key" in state["problem"]


def test_a_service_is_absent_then_slow_then_back(tmp_path: Path) -> None:
    port, leaves = free_port(), threading.Event()
    url_of_service = f"http://127.0.0.1:{port}"
    with keyed(tmp_path, tmp_path / "state", url_of_service) as url, viewer(url, VIEWING) as ben:

        def hang(_: object) -> None:
            leaves.wait(30)

        def state() -> dict[str, Any]:
            found: dict[str, Any] = ben.get("/data/state", params={"service": 0}).json()
            return found

        assert "does not answer" in state()["problem"]
        with answering(hang, port):
            assert "too slowly" in state()["problem"]
            leaves.set()
        with answering(lambda handler: say(handler, 200, b'{"status": "ready"}'), port):
            assert state()["parts"]["ready"] == {"status": "ready"}
            assert state()["problem"] == ""


def test_an_older_service_is_said_for_what_it_cannot_do(tmp_path: Path) -> None:
    with (
        answering(say_ready) as service,
        keyed(tmp_path, tmp_path / "state", service) as url,
        viewer(url, VIEWING) as ben,
    ):
        found = ben.get("/data/state", params={"service": 0}).json()
        assert found["parts"] == {"ready": {"status": "ready"}}
        assert "older version" in found["missing"]["degradation"]


# ── Limits ───────────────────────────────────────────────────────────────────────────────────────


def limits_of(who: httpx.Client) -> set[float]:
    boards = who.get("/data/start").raise_for_status().json()["boards"]
    rows = [row for board in boards for row in board["rows"]]
    return {panel["limit"] for row in rows for panel in row["panels"]}


def test_limits_are_read_again_and_a_mistake_keeps_the_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.toml"
    file.write_text("[thresholds]\nhttp_p95_seconds = 7.125\n")
    status = [200]
    with (
        answering(lambda handler: say(handler, status[0], b"no")) as prometheus,
        keyed(tmp_path, tmp_path / "state", monitoring=str(file), prometheus=prometheus) as url,
        viewer(url, OPERATING) as anna,
    ):
        assert 7.125 in limits_of(anna)
        file.write_text("[thresholds]\nhttp_p95_seconds = 8.125\n")
        assert act(anna, "reload").json()["result"] == "done"
        assert 8.125 in limits_of(anna)
        assert log_of(anna)[0]["service"] == "the console"

        status[0] = 403
        said = act(anna, "reload").json()["detail"]
        assert said.startswith("The console has read its file again.")
        assert "--web.enable-lifecycle" in said

        file.write_text("[thresholds]\nhttp_p95_seconds = 'long'\n")
        failed = act(anna, "reload")
        assert failed.status_code == 502
        assert "http_p95_seconds" in failed.json()["detail"]
        assert 8.125 in limits_of(anna)
        assert log_of(anna)[0]["result"] == "failed"

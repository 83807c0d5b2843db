import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from safelight.errors import BadSetting, SafelightError, ServiceFailed
from safelight.stack.tools.remote import Grafana, normalized
from tests.stack.grafanas import TOKEN, FakeGrafana, grafana
from tests.stack.waiting import free_ports

BOARDS: dict[str, dict[str, Any]] = {
    uid: {"uid": uid, "title": uid.title(), "tags": ["safelight"], "panels": []}
    for uid in ("core", "cards")
}
HTML = "<html>login</html>"


@pytest.fixture
def fake() -> Iterator[FakeGrafana]:
    with grafana() as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5) as http:
        yield http


def connect(fake: FakeGrafana, client: httpx.Client, token: str | None = TOKEN) -> Grafana:
    return Grafana(fake.url, client, token)


def error_of(kind: type[SafelightError], action: Callable[[], object]) -> str:
    with pytest.raises(kind) as raised:
        action()
    line = str(raised.value)
    assert "\n" not in line
    assert TOKEN not in line
    return line


# ── Push ─────────────────────────────────────────────────────────────────────────────────────────


def test_z10_dashboards_are_saved_in_the_folder_with_their_uids(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    saved = connect(fake, client).push(BOARDS)
    assert saved == [f"{fake.url}/d/{uid}/a-slug" for uid in BOARDS]
    assert fake.folders == {"safelight": "Safelight"}
    assert fake.folder_of == dict.fromkeys(BOARDS, "safelight")


def test_a_second_push_overwrites_and_creates_no_duplicate(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    connect(fake, client).push(BOARDS)
    connect(fake, client).push({"core": {**BOARDS["core"], "title": "New"}})
    assert fake.boards["core"]["title"] == "New"
    assert fake.boards["core"]["version"] == 2
    assert (len(fake.boards), len(fake.folders)) == (2, 1)


def test_changes_made_in_grafana_are_overwritten(fake: FakeGrafana, client: httpx.Client) -> None:
    connect(fake, client).push(BOARDS)
    fake.boards["core"] |= {"version": 9, "title": "by hand"}
    connect(fake, client).push(BOARDS)
    assert fake.boards["core"]["title"] == "Core"


def test_a_folder_created_by_hand_is_used(fake: FakeGrafana, client: httpx.Client) -> None:
    fake.folders["made-by-hand"] = "Safelight"
    connect(fake, client).push(BOARDS)
    assert set(fake.folder_of.values()) == {"made-by-hand"}


def test_a_grafana_without_prometheus_is_reported_before_anything_is_saved(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.role, fake.datasources = "Admin", [{"type": "loki"}]
    line = error_of(ServiceFailed, lambda: connect(fake, client).push(BOARDS))
    assert "no data source of the type Prometheus" in line
    assert "Connections, Data sources" in line
    assert fake.boards == {}


@pytest.mark.parametrize("role", ["Editor", "Admin"])
def test_an_editor_without_the_right_to_list_sources_can_push(
    role: str, fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.role = role
    assert len(connect(fake, client).push(BOARDS)) == 2


# ── Pull ─────────────────────────────────────────────────────────────────────────────────────────


def test_z10_pulled_dashboards_equal_the_pushed_ones(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    connect(fake, client).push(BOARDS)
    assert connect(fake, client).pull() == {uid: normalized(board) for uid, board in BOARDS.items()}


def test_dashboards_with_other_tags_are_not_pulled(fake: FakeGrafana, client: httpx.Client) -> None:
    connect(fake, client).push(BOARDS)
    fake.boards["theirs"] = {"uid": "theirs", "title": "Theirs", "tags": ["sales"]}
    assert set(connect(fake, client).pull()) == set(BOARDS)


def test_a_grafana_without_safelight_dashboards_is_reported(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    line = error_of(ServiceFailed, connect(fake, client).pull)
    assert "no dashboard with the tag safelight" in line
    assert "safelight grafana push" in line


@pytest.mark.parametrize("uid", ["../../etc/passwd", "", "a b", "x" * 41, "编辑"])
def test_an_invalid_uid_is_refused(uid: str, fake: FakeGrafana, client: httpx.Client) -> None:
    fake.boards[uid] = {"uid": uid, "title": "invalid", "tags": ["safelight"]}
    assert "invalid uid" in error_of(ServiceFailed, connect(fake, client).pull)


def test_the_text_of_a_dashboard_omits_id_and_version() -> None:
    text = normalized({"version": 3, "uid": "core", "id": 7, "title": "Kern · 核"})
    assert text == '{\n  "title": "Kern · 核",\n  "uid": "core"\n}\n'


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("token", [None, "wrong"])
def test_401_explains_the_token(token: str | None, fake: FakeGrafana, client: httpx.Client) -> None:
    line = error_of(BadSetting, lambda: connect(fake, client, token).push(BOARDS))
    assert 'returned 401 ("Invalid API key")' in line
    assert "--token-file" in line


def test_403_names_the_role(fake: FakeGrafana, client: httpx.Client) -> None:
    fake.role = "Viewer"
    line = error_of(BadSetting, lambda: connect(fake, client).push(BOARDS))
    assert "returned 403" in line
    assert "role Editor" in line


def test_another_server_is_reported(fake: FakeGrafana, client: httpx.Client) -> None:
    fake.failures["/api/health"] = (200, HTML)
    assert "is not a Grafana" in error_of(BadSetting, connect(fake, client).pull)
    fake.failures["/api/health"] = (404, HTML)
    assert "Is its path missing" in error_of(BadSetting, connect(fake, client).pull)


@pytest.mark.parametrize(
    ("path", "status", "kind", "message"),
    [
        ("/api/dashboards/db", 404, BadSetting, "Is --url the address of Grafana"),
        ("/api/dashboards/db", 412, ServiceFailed, "belongs to a plugin, or another user"),
        ("/api/dashboards/db", 500, ServiceFailed, "See Grafana's log"),
        ("/api/dashboards/db", 200, ServiceFailed, "returned 200 for /api/dashboards/db"),
        ("/api/folders", 500, ServiceFailed, "returned 500 for /api/folders"),
        ("/api/health", 503, ServiceFailed, "returned 503 for /api/health"),
        ("/api/health", 401, BadSetting, "--token-file"),
        ("/api/datasources", 302, ServiceFailed, "returned 302 for /api/datasources"),
    ],
)
def test_each_error_is_one_line_that_says_what_to_do(
    path: str,
    status: int,
    kind: type[SafelightError],
    message: str,
    fake: FakeGrafana,
    client: httpx.Client,
) -> None:
    fake.failures[path] = (status, HTML)
    line = error_of(kind, lambda: connect(fake, client).push(BOARDS))
    assert message in line
    assert "<html>" not in line


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/api/datasources", {"type": "prometheus"}),
        ("/api/datasources", ["prometheus"]),
        ("/api/datasources", [{"name": "prometheus"}]),
        ("/api/folders", {"title": "Safelight"}),
        ("/api/folders", []),
        ("/api/dashboards/db", []),
        ("/api/dashboards/db", {"url": 3}),
    ],
)
def test_an_unknown_response_to_a_push_is_reported_in_one_line(
    path: str, content: Any, fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.role, fake.failures[path] = "Admin", (200, json.dumps(content))
    line = error_of(ServiceFailed, lambda: connect(fake, client).push(BOARDS))
    assert "is not a Grafana, or an unknown version" in line
    assert path in line


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/api/search", {"uid": "core"}),
        ("/api/search", ["core"]),
        ("/api/search", [{"title": "Core"}]),
        ("/api/dashboards/uid/core", []),
        ("/api/dashboards/uid/core", {"meta": {}}),
        ("/api/dashboards/uid/core", {"dashboard": ["core"]}),
    ],
)
def test_an_unknown_response_to_a_pull_is_reported_in_one_line(
    path: str, content: Any, fake: FakeGrafana, client: httpx.Client
) -> None:
    connect(fake, client).push(BOARDS)
    fake.failures[path] = (200, json.dumps(content))
    line = error_of(ServiceFailed, connect(fake, client).pull)
    assert "is not a Grafana, or an unknown version" in line


@pytest.mark.parametrize("content", [5, True, [], ["database"], "database", None])
def test_an_unknown_health_response_is_not_grafanas(
    content: Any, fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.failures["/api/health"] = (200, json.dumps(content))
    assert "is not a Grafana" in error_of(BadSetting, connect(fake, client).pull)


def test_a_push_stopped_by_a_provisioned_dashboard_reports_its_progress(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.provisioned = {"cards"}
    line = error_of(ServiceFailed, lambda: connect(fake, client).push(BOARDS))
    assert "Cannot save provisioned dashboard" in line
    assert line.endswith("1 of 2 dashboards were saved; cards was not.")


def test_an_unreachable_grafana_is_reported(client: httpx.Client) -> None:
    [port] = free_ports(1)
    absent = Grafana(f"http://127.0.0.1:{port}", client, TOKEN)
    line = error_of(ServiceFailed, absent.pull)
    assert "cannot be reached: [Errno 111] Connection refused" in line


def test_control_characters_in_a_message_are_omitted(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.failures["/api/folders"] = (500, json.dumps({"message": "a\n\x1b[31mb" + "c" * 999}))
    line = error_of(ServiceFailed, lambda: connect(fake, client).push(BOARDS))
    assert "\x1b" not in line
    assert len(line) < 200

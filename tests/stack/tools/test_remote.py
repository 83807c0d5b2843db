import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from safelight.errors import BadSetting, SafelightError, ServiceFailed
from safelight.stack.tools.remote import Grafana, normal, read_boards, read_token
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
    with httpx.Client(timeout=5) as made:
        yield made


def reached(fake: FakeGrafana, client: httpx.Client, token: str | None = TOKEN) -> Grafana:
    return Grafana(fake.url, client, token)


def refusal(wanted: type[SafelightError], ask: Any) -> str:
    with pytest.raises(wanted) as raised:
        ask()
    line = str(raised.value)
    assert "\n" not in line
    assert TOKEN not in line
    return line


# ── Push ─────────────────────────────────────────────────────────────────────────────────────────


def test_z10_boards_are_saved_in_the_folder_under_their_uids(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    saved = reached(fake, client).push(BOARDS)
    assert saved == [f"{fake.url}/d/{uid}/a-slug" for uid in BOARDS]
    assert fake.folders == {"safelight": "Safelight"}
    assert fake.folder_of == dict.fromkeys(BOARDS, "safelight")


def test_a_second_push_overwrites_and_makes_nothing_twice(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    reached(fake, client).push(BOARDS)
    reached(fake, client).push({"core": {**BOARDS["core"], "title": "New"}})
    assert fake.boards["core"]["title"] == "New"
    assert fake.boards["core"]["version"] == 2
    assert (len(fake.boards), len(fake.folders)) == (2, 1)


def test_what_somebody_changed_in_grafana_is_overwritten(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    reached(fake, client).push(BOARDS)
    fake.boards["core"] |= {"version": 9, "title": "by hand"}
    reached(fake, client).push(BOARDS)
    assert fake.boards["core"]["title"] == "Core"


def test_a_folder_that_was_made_by_hand_is_used(fake: FakeGrafana, client: httpx.Client) -> None:
    fake.folders["made-by-hand"] = "Safelight"
    reached(fake, client).push(BOARDS)
    assert set(fake.folder_of.values()) == {"made-by-hand"}


def test_a_grafana_without_prometheus_is_told_before_anything_is_saved(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.role, fake.datasources = "Admin", [{"type": "loki"}]
    line = refusal(ServiceFailed, lambda: reached(fake, client).push(BOARDS))
    assert "no data source of the type Prometheus" in line
    assert "Connections, Data sources" in line
    assert fake.boards == {}


@pytest.mark.parametrize("role", ["Editor", "Admin"])
def test_an_editor_who_may_not_list_the_sources_may_push(
    role: str, fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.role = role
    assert len(reached(fake, client).push(BOARDS)) == 2


# ── Pull ─────────────────────────────────────────────────────────────────────────────────────────


def test_z10_what_was_pushed_comes_back_as_it_was(fake: FakeGrafana, client: httpx.Client) -> None:
    reached(fake, client).push(BOARDS)
    assert reached(fake, client).pull() == {uid: normal(board) for uid, board in BOARDS.items()}


def test_boards_of_other_tags_stay_where_they_are(fake: FakeGrafana, client: httpx.Client) -> None:
    reached(fake, client).push(BOARDS)
    fake.boards["theirs"] = {"uid": "theirs", "title": "Theirs", "tags": ["sales"]}
    assert set(reached(fake, client).pull()) == set(BOARDS)


def test_a_grafana_without_our_boards_is_told(fake: FakeGrafana, client: httpx.Client) -> None:
    line = refusal(ServiceFailed, reached(fake, client).pull)
    assert "no board with the tag safelight" in line
    assert "safelight grafana push" in line


@pytest.mark.parametrize("uid", ["../../etc/passwd", "", "a b", "x" * 41, "编辑"])
def test_a_strange_uid_becomes_no_file(uid: str, fake: FakeGrafana, client: httpx.Client) -> None:
    fake.boards[uid] = {"uid": uid, "title": "strange", "tags": ["safelight"]}
    assert "whose uid is" in refusal(ServiceFailed, reached(fake, client).pull)


def test_a_board_is_the_same_text_whoever_saved_it_and_how_often() -> None:
    text = normal({"version": 3, "uid": "core", "id": 7, "title": "Kern · 核"})
    assert text == '{\n  "title": "Kern · 核",\n  "uid": "core"\n}\n'


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("token", [None, "wrong"])
def test_401_says_which_token_is_wanted(
    token: str | None, fake: FakeGrafana, client: httpx.Client
) -> None:
    line = refusal(BadSetting, lambda: reached(fake, client, token).push(BOARDS))
    assert 'answered 401 ("Invalid API key")' in line
    assert "--token-file" in line


def test_403_says_which_role_is_wanted(fake: FakeGrafana, client: httpx.Client) -> None:
    fake.role = "Viewer"
    line = refusal(BadSetting, lambda: reached(fake, client).push(BOARDS))
    assert "answered 403" in line
    assert "role Editor" in line


def test_a_page_that_is_no_grafana_is_told(fake: FakeGrafana, client: httpx.Client) -> None:
    fake.trouble["/api/health"] = (200, HTML)
    assert "is no Grafana" in refusal(BadSetting, reached(fake, client).pull)
    fake.trouble["/api/health"] = (404, HTML)
    assert "Is its path missing" in refusal(BadSetting, reached(fake, client).pull)


@pytest.mark.parametrize(
    ("path", "status", "kind", "said"),
    [
        ("/api/dashboards/db", 404, BadSetting, "Is --url the address of Grafana"),
        ("/api/dashboards/db", 412, ServiceFailed, "belongs to a plugin, or somebody saves it"),
        ("/api/dashboards/db", 500, ServiceFailed, "Its own log says why"),
        ("/api/dashboards/db", 200, ServiceFailed, "answered 200 to /api/dashboards/db"),
        ("/api/folders", 500, ServiceFailed, "answered 500 to /api/folders"),
        ("/api/health", 503, ServiceFailed, "answered 503 to /api/health"),
        ("/api/health", 401, BadSetting, "--token-file"),
        ("/api/datasources", 302, ServiceFailed, "answered 302 to /api/datasources"),
    ],
)
def test_each_refusal_is_one_line_that_says_what_to_do(
    path: str,
    status: int,
    kind: type[SafelightError],
    said: str,
    fake: FakeGrafana,
    client: httpx.Client,
) -> None:
    fake.trouble[path] = (status, HTML)
    line = refusal(kind, lambda: reached(fake, client).push(BOARDS))
    assert said in line
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
def test_a_push_that_is_answered_in_another_form_is_one_line(
    path: str, content: Any, fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.role, fake.trouble[path] = "Admin", (200, json.dumps(content))
    line = refusal(ServiceFailed, lambda: reached(fake, client).push(BOARDS))
    assert "is no Grafana, or a version that we do not know" in line
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
def test_a_pull_that_is_answered_in_another_form_is_one_line(
    path: str, content: Any, fake: FakeGrafana, client: httpx.Client
) -> None:
    reached(fake, client).push(BOARDS)
    fake.trouble[path] = (200, json.dumps(content))
    line = refusal(ServiceFailed, reached(fake, client).pull)
    assert "is no Grafana, or a version that we do not know" in line


@pytest.mark.parametrize("content", [5, True, [], ["database"], "database", None])
def test_health_in_another_form_is_no_grafanas(
    content: Any, fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.trouble["/api/health"] = (200, json.dumps(content))
    assert "is no Grafana" in refusal(BadSetting, reached(fake, client).pull)


def test_a_provisioned_board_says_how_far_the_push_came(
    fake: FakeGrafana, client: httpx.Client
) -> None:
    fake.provisioned = {"cards"}
    line = refusal(ServiceFailed, lambda: reached(fake, client).push(BOARDS))
    assert "Cannot save provisioned dashboard" in line
    assert line.endswith("1 of 2 boards were saved; cards was not.")


def test_a_grafana_that_is_not_there_is_told(client: httpx.Client) -> None:
    [port] = free_ports(1)
    there = Grafana(f"http://127.0.0.1:{port}", client, TOKEN)
    assert "cannot be reached: [Errno 111] Connection refused" in refusal(ServiceFailed, there.pull)


def test_words_that_break_a_line_are_left_out(fake: FakeGrafana, client: httpx.Client) -> None:
    fake.trouble["/api/folders"] = (500, json.dumps({"message": "a\n\x1b[31mb" + "c" * 999}))
    line = refusal(ServiceFailed, lambda: reached(fake, client).push(BOARDS))
    assert "\x1b" not in line
    assert len(line) < 200


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_one_word_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    assert read_token(None) is None


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"a\nb", b"\xff", b"x" * 5000])
def test_a_file_without_a_token_is_one_line_that_does_not_show_it(
    content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    line = refusal(BadSetting, lambda: read_token(file))
    assert "holds no token" in line
    assert len(line) < 400


def test_a_token_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    line = refusal(BadSetting, lambda: read_token(tmp_path / "none"))
    assert "cannot be read: No such file" in line


def test_boards_are_read_by_their_uids(tmp_path: Path) -> None:
    for uid, board in BOARDS.items():
        (tmp_path / f"{uid}.json").write_text(normal(board))
    assert read_boards(tmp_path) == BOARDS


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"core"'])
def test_a_file_that_is_no_board_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "core.json").write_text(content)
    assert "core.json is no board" in refusal(BadSetting, lambda: read_boards(tmp_path))


def test_a_folder_without_boards_is_one_line(tmp_path: Path) -> None:
    assert "no boards" in refusal(BadSetting, lambda: read_boards(tmp_path))


def test_a_folder_of_boards_whose_name_is_too_long_is_one_line(tmp_path: Path) -> None:
    line = refusal(BadSetting, lambda: read_boards(tmp_path / ("n" * 300)))
    assert line == "The boards cannot be read: File name too long."

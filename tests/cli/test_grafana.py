import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from safelight.dashboards import replaced
from safelight.rules.thresholds import default_limits
from safelight.stack.files.grafana import board_files
from tests.cli.conftest import Call
from tests.stack.grafanas import TOKEN, FakeGrafana, grafana


@pytest.fixture
def fake() -> Iterator[FakeGrafana]:
    with grafana() as running:
        yield running


@pytest.fixture
def to_fake(fake: FakeGrafana, tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "token").write_text(TOKEN)
    return ("--url", fake.url, "--token-file", str(tmp_path / "token"))


def test_z10_push_and_pull_return_the_exported_dashboards(
    call: Call, fake: FakeGrafana, to_fake: tuple[str, ...], tmp_path: Path
) -> None:
    pushed = call("grafana", "push", *to_fake)
    assert (pushed.code, pushed.err) == (0, "")
    assert {f"{uid}.json" for uid in fake.boards} == set(board_files())
    assert pushed.out.splitlines()[-1].startswith(f"{len(fake.boards)} dashboards are in Grafana")
    pulled = call("grafana", "pull", str(tmp_path / "boards"), *to_fake)
    assert (pulled.code, pulled.err) == (0, "")
    for name, text in board_files().items():
        assert json.loads((tmp_path / "boards" / name).read_text()) == {
            key: value for key, value in json.loads(text).items() if key not in ("id", "version")
        }
    assert "; 0 changed." in call("grafana", "pull", str(tmp_path / "boards"), *to_fake).out


def test_a_changed_dashboard_can_be_pushed_to_another_grafana(
    call: Call, fake: FakeGrafana, to_fake: tuple[str, ...], tmp_path: Path
) -> None:
    call("grafana", "push", *to_fake)
    uid = next(iter(fake.boards))
    fake.boards[uid]["title"] = "By hand"
    call("grafana", "pull", str(tmp_path / "boards"), *to_fake)
    fake.boards.clear()
    assert call("grafana", "push", str(tmp_path / "boards"), *to_fake).code == 0
    assert fake.boards[uid]["title"] == "By hand"


@pytest.fixture
def old(fake: FakeGrafana, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the uid of a dashboard of an earlier version, which is in Grafana."""
    uid = "safelight-old"
    monkeypatch.setattr(replaced, "_REPLACEMENTS", {uid: ("safelight-live", "safelight-slo")})
    fake.folders["safelight"] = "Safelight"
    fake.boards[uid] = {"uid": uid, "title": "Old", "tags": ["safelight"], "id": 7, "version": 3}
    return uid


def test_dashboards_of_an_earlier_version_are_reported_and_stay(
    call: Call, fake: FakeGrafana, to_fake: tuple[str, ...], old: str
) -> None:
    pushed = call("grafana", "push", *to_fake)
    assert pushed.code == 0
    assert pushed.out.endswith(
        f"{old} no longer exists: see safelight-live and safelight-slo. Delete it with --prune.\n"
    )
    assert old in fake.boards


def test_prune_deletes_the_dashboards_of_an_earlier_version(
    call: Call, fake: FakeGrafana, to_fake: tuple[str, ...], old: str
) -> None:
    pushed = call("grafana", "push", "--prune", *to_fake)
    assert pushed.out.endswith("see safelight-live and safelight-slo. Deleted.\n")
    assert {f"{uid}.json" for uid in fake.boards} == set(board_files())
    assert old not in call("grafana", "push", "--prune", *to_fake).out


def test_pushed_dashboards_show_the_namespace_and_its_limits(
    call: Call, fake: FakeGrafana, to_fake: tuple[str, ...]
) -> None:
    assert call("grafana", "push", "--namespace", "zimage", *to_fake).code == 0
    text = board_files(default_limits("zimage"), "zimage")["safelight-live.json"]
    pushed = {**fake.boards["safelight-live"], "id": None, "version": None}
    assert pushed == {**json.loads(text), "id": None, "version": None}


def test_the_token_file_may_be_named_by_the_environment(
    call: Call, fake: FakeGrafana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("SAFELIGHT_GRAFANA_TOKEN_FILE", str(tmp_path / "token"))
    assert call("grafana", "push", "--url", fake.url).code == 0


def test_a_grafana_without_authentication_needs_no_token(call: Call, fake: FakeGrafana) -> None:
    fake.token = None
    assert call("grafana", "push", "--url", fake.url).code == 0


@pytest.mark.parametrize(("status", "code"), [(401, 2), (403, 2), (404, 2), (412, 1), (500, 1)])
def test_a_refusal_is_one_line_and_a_code(
    status: int, code: int, call: Call, fake: FakeGrafana, to_fake: tuple[str, ...]
) -> None:
    fake.failures["/api/dashboards/db"] = (status, "{}")
    answer = call("grafana", "push", *to_fake)
    assert (answer.code, answer.out) == (code, "")
    assert f"returned {status}" in answer.line
    assert TOKEN not in answer.line


def test_a_pull_that_is_refused_writes_nothing(
    call: Call, fake: FakeGrafana, to_fake: tuple[str, ...], tmp_path: Path
) -> None:
    call("grafana", "push", *to_fake)
    fake.failures[f"/api/dashboards/uid/{list(fake.boards)[-1]}"] = (500, "")
    answer = call("grafana", "pull", str(tmp_path / "boards"), *to_fake)
    assert answer.code == 1
    assert not (tmp_path / "boards").exists()


def test_an_invalid_address_is_one_line(call: Call) -> None:
    answer = call("grafana", "push", "--url", "ftp://grafana")
    assert answer.code == 2
    assert "is not a valid address" in answer.line


@pytest.mark.parametrize("verb", [("push",), ("pull", "boards")])
@pytest.mark.parametrize(
    "url",
    [
        "http://me:hush@127.0.0.1:1",
        "ftp://me:hush@grafana",
        "me:hush@grafana:99999",
        "http://me:hu/hush@grafana",
        "http://me:hu@hush@[::1",
    ],
)
def test_a_password_in_the_address_is_in_no_message(
    verb: tuple[str, ...], url: str, call: Call
) -> None:
    answer = call("grafana", *verb, "--url", url)
    assert answer.code in (1, 2)
    assert "hush" not in answer.line


def test_a_password_in_the_address_is_used_and_not_shown(call: Call, fake: FakeGrafana) -> None:
    fake.token = None
    pushed = call("grafana", "push", "--url", fake.url.replace("//", "//me:hush@"))
    assert pushed.code == 0
    assert "hush" not in pushed.out
    fake.failures["/api/dashboards/db"] = (500, "{}")
    assert "hush" not in call("grafana", "push", "--url", fake.url.replace("//", "//me:hush@")).err


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_no_option_takes_the_token_itself(verb: str, call: Call) -> None:
    help_text = call("grafana", verb, "--help").out
    assert "Example" in help_text
    assert "--token-file" in help_text
    assert "--token " not in help_text

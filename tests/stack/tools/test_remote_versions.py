"""Pushes to a Grafana that has dashboards of earlier versions, or others with their titles."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from safelight.dashboards import replaced
from safelight.dashboards.catalog import boards
from safelight.errors import ServiceFailed
from safelight.stack.tools.remote import FOLDER_UID, Grafana
from tests.stack.grafanas import TOKEN, FakeGrafana, grafana
from tests.stack.tools.test_remote import BOARDS, error_of

OLD = "safelight-old"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGrafana]:
    monkeypatch.setattr(replaced, "_REPLACEMENTS", {OLD: ("safelight-live",)})
    with grafana(folders={FOLDER_UID: "Safelight"}) as running:
        yield running


@pytest.fixture
def client(fake: FakeGrafana) -> Iterator[Grafana]:
    with httpx.Client(timeout=5) as http:
        yield Grafana(fake.url, http, TOKEN)


def test_every_replacement_of_a_deleted_dashboard_exists() -> None:
    present = {board.uid for board in boards()}
    for uid, others in replaced.replaced().items():
        assert uid not in present
        assert set(others) <= present, uid


def add(fake: FakeGrafana, uid: str, title: str, folder: str = FOLDER_UID, **more: Any) -> None:
    board = {"uid": uid, "title": title, "tags": ["safelight"], "id": 7, "version": 12}
    fake.boards[uid] = {**board, **more}
    fake.folder_of[uid] = folder


def test_an_earlier_version_is_updated_in_place(fake: FakeGrafana, client: Grafana) -> None:
    add(fake, "core", "Its old title", panels=[1])
    client.push(BOARDS)
    core = fake.boards["core"]
    assert (core["title"], core["id"], core["version"]) == ("Core", 7, 13)


def test_old_dashboards_are_found_by_uid_and_tag(fake: FakeGrafana, client: Grafana) -> None:
    add(fake, OLD, "Old")
    add(fake, "mine", "Mine")
    add(fake, "stranger", "Stranger", tags=[])
    assert client.outdated({OLD, "stranger", "absent"}) == [OLD]


def test_old_dashboards_are_deleted_only_on_request(fake: FakeGrafana, client: Grafana) -> None:
    add(fake, OLD, "Old")
    client.push(BOARDS)
    assert OLD in fake.boards
    client.push(BOARDS, delete=[OLD])
    assert set(fake.boards) == set(BOARDS)


def test_an_old_dashboard_that_is_already_gone_stops_nothing(
    fake: FakeGrafana, client: Grafana
) -> None:
    assert len(client.push(BOARDS, delete=[OLD])) == len(BOARDS)
    assert set(fake.boards) == set(BOARDS)


def test_a_provisioned_dashboard_cannot_be_deleted(fake: FakeGrafana, client: Grafana) -> None:
    add(fake, OLD, "Old")
    fake.provisioned = {OLD}
    line = error_of(ServiceFailed, lambda: client.push(BOARDS, delete=[OLD]))
    assert "provisioned dashboard cannot be deleted" in line
    assert "Change or remove the file instead." in line
    assert line.endswith(f"{OLD} was not deleted, and nothing was saved.")
    assert set(fake.boards) == {OLD}


@pytest.mark.parametrize("unique_titles", [True, False])
def test_a_dashboard_with_the_same_title_and_another_uid_is_not_overwritten(
    unique_titles: bool, fake: FakeGrafana, client: Grafana
) -> None:
    fake.unique_titles = unique_titles
    add(fake, "imported", "Core", panels=["by hand"])
    line = error_of(ServiceFailed, lambda: client.push(BOARDS))
    assert "another dashboard with the title 'Core' in the folder Safelight" in line
    assert "its uid is imported. Delete, rename or move it, and push again." in line
    assert fake.boards["imported"]["panels"] == ["by hand"]
    assert set(fake.boards) == {"imported"}, "nothing was saved"


def test_the_same_title_in_another_folder_is_no_conflict(
    fake: FakeGrafana, client: Grafana
) -> None:
    fake.unique_titles = True
    add(fake, "imported", "Core", folder="other")
    assert len(client.push(BOARDS)) == len(BOARDS)


def test_an_old_dashboard_with_the_same_title_is_replaced_if_it_is_deleted(
    fake: FakeGrafana, client: Grafana
) -> None:
    fake.unique_titles = True
    add(fake, OLD, "Core")
    line = error_of(ServiceFailed, lambda: client.push(BOARDS))
    assert f"{OLD} no longer exists: see safelight-live. Add --prune." in line
    client.push(BOARDS, delete=[OLD])
    assert set(fake.boards) == set(BOARDS)


def test_a_dashboard_that_grafana_saved_under_another_uid_is_reported(
    fake: FakeGrafana, client: Grafana
) -> None:
    fake.unique_titles = True
    add(fake, "untagged", "Core", tags=[])  # the search for the tag does not find it
    line = error_of(ServiceFailed, lambda: client.push(BOARDS))
    assert "its uid is untagged" in line
    assert line.endswith("0 of 2 dashboards were saved; core was not.")


@pytest.mark.parametrize(
    ("code", "content", "advice"),
    [
        (412, '{"status": "version-mismatch", "message": "changed"}', "Push again."),
        (412, '{"status": "name-exists", "message": "exists"}', "Delete, rename or move that."),
        (412, '{"status": "plugin-dashboard", "message": "x"}', "Remove the plugin, or change"),
        (400, '{"message": "Cannot save provisioned dashboard"}', "Change or remove the file"),
        (400, '{"message": "Dashboard title cannot be empty"}', "See Grafana's log."),
    ],
)
def test_the_advice_follows_the_reason_that_grafana_gives(
    code: int, content: str, advice: str, fake: FakeGrafana, client: Grafana
) -> None:
    fake.failures["/api/dashboards/db"] = (code, content)
    line = error_of(ServiceFailed, lambda: client.push(BOARDS))
    assert f"returned {code}" in line
    assert advice in line

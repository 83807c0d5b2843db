"""The token and dashboard files of `safelight grafana`."""

from pathlib import Path

import pytest

from safelight.dashboards import replaced
from safelight.errors import BadSetting
from safelight.stack.tools.remote import normalized, read_boards, read_token
from tests.stack.grafanas import TOKEN
from tests.stack.tools.test_remote import BOARDS, error_of


def test_a_token_is_one_word_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    assert read_token(None) is None


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"a\nb", b"\xff", b"x" * 5000])
def test_a_file_without_a_token_is_reported_without_its_content(
    content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    line = error_of(BadSetting, lambda: read_token(file))
    assert "contains no token" in line
    assert len(line) < 400


def test_a_missing_token_file_is_reported_in_one_line(tmp_path: Path) -> None:
    line = error_of(BadSetting, lambda: read_token(tmp_path / "none"))
    assert "cannot be read: No such file" in line


def test_dashboards_are_read_by_uid(tmp_path: Path) -> None:
    for uid, board in BOARDS.items():
        (tmp_path / f"{uid}.json").write_text(normalized(board))
    assert read_boards(tmp_path) == BOARDS


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"core"'])
def test_a_file_that_is_not_a_dashboard_is_reported_in_one_line(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "core.json").write_text(content)
    assert "core.json is not a dashboard" in error_of(BadSetting, lambda: read_boards(tmp_path))


def test_a_folder_without_dashboards_is_reported_in_one_line(tmp_path: Path) -> None:
    assert "no dashboards" in error_of(BadSetting, lambda: read_boards(tmp_path))


def test_a_dashboard_folder_with_a_long_name_is_reported_in_one_line(tmp_path: Path) -> None:
    line = error_of(BadSetting, lambda: read_boards(tmp_path / ("n" * 300)))
    assert line == "The dashboards cannot be read: File name too long."


def test_a_dashboard_of_an_earlier_version_is_refused_with_its_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaced, "_REPLACEMENTS", {"safelight-old": ("safelight-live",)})
    (tmp_path / "old.json").write_text('{"uid": "safelight-old"}')
    line = error_of(BadSetting, lambda: read_boards(tmp_path))
    assert "safelight-old no longer exists: see safelight-live." in line
    assert "Remove the file, or give the dashboard another uid to keep it." in line

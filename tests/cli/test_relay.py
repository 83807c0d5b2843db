from pathlib import Path

import pytest

from safelight.cli.relay import _said
from tests.cli.conftest import Call


def test_without_a_file_the_relay_says_which_option_is_missing(call: Call) -> None:
    answer = call("alert-relay")
    assert (answer.code, answer.out) == (2, "")
    assert "--monitoring" in answer.line


@pytest.mark.parametrize("command", ["alert-relay", "up", "export all"])
def test_a_wrong_monitoring_file_is_one_line_in_every_command(
    command: str, call: Call, tmp_path: Path
) -> None:
    file = tmp_path / "monitoring.toml"
    file.write_text('[receivers."a: b"]\nkind = "slack"\nurl_file = "x"\n')
    answer = call(*command.split(), "--monitoring", str(file))
    assert (answer.code, answer.out) == (2, "")
    assert (
        f"The monitoring file {file} is wrong: receivers.'a: b': 'a: b' is not a name"
        in answer.line
    )


def test_the_variable_names_the_file_too(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_MONITORING", str(tmp_path / "missing.toml"))
    answer = call("alert-relay")
    assert answer.code == 2
    assert "missing.toml cannot be read: No such file" in answer.line


def test_a_finding_says_nothing_twice() -> None:
    assert _said("Memory is full", "The memory is full: 9 GiB.") == "The memory is full: 9 GiB."
    assert _said("Images are invalid", "11 % are black.") == "Images are invalid: 11 % are black."

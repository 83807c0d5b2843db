"""Old options, commands and settings on the command line: one line has the new name."""

from pathlib import Path

import pytest

from safelight.renamed import RENAMED, Renamed
from tests.cli.conftest import Call


def of(kind: str) -> list[Renamed]:
    return [row for row in RENAMED if row.kind == kind]


@pytest.mark.parametrize("row", of("option"), ids=lambda row: row.old)
@pytest.mark.parametrize("command", ["serve", "up"])
def test_an_old_option_is_refused_with_its_new_name(row: Renamed, command: str, call: Call) -> None:
    done = call(command, row.old, "cpu")
    assert (done.code, done.out) == (2, "")
    assert done.line.startswith(f"safelight: No such option: {row.old}")
    assert done.line.endswith(f". {row.sentence} See: safelight {command} --help")
    assert row.new in call(command, "--help").out


@pytest.mark.parametrize("row", of("command"), ids=lambda row: row.old)
def test_an_old_command_is_refused_with_its_new_form(
    row: Renamed, call: Call, tmp_path: Path
) -> None:
    def written(words: str) -> tuple[str, ...]:
        return tuple(words.replace("DIR", str(tmp_path / "out")).split()[1:])

    done = call(*written(row.old))
    assert (done.code, row.new in done.line) == (2, True)
    assert call(*written(row.new)).code == 0


def test_an_old_setting_works_and_is_named_in_one_line(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_DEVICE", "cpu")
    done = call("key", "alice")
    assert (done.code, done.out.startswith("key for alice")) == (0, True)
    assert done.line == (
        "safelight: SAFELIGHT_DEVICE is now SAFELIGHT_DEVICES; the old name works until "
        "version 0.2.0."
    )


def test_a_removed_setting_has_no_effect_and_is_named_once(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "safelight.toml"
    file.write_text('cache_folder = "x"')
    for name, value in (("SAFELIGHT_CONFIG", str(file)), ("SAFELIGHT_CACHE_FOLDER", "x")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            done = call("key", "alice")
            assert (done.code, done.out.startswith("key for alice")) == (0, True)
            assert done.err.count("SAFELIGHT_CACHE_FOLDER no longer exists") == 1

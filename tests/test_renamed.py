"""Every old name still works with a warning, or is refused with the new name."""

import re
import tomllib
from pathlib import Path

import pytest

import safelight
from safelight.errors import BadSetting
from safelight.renamed import RENAMED, Renamed, find, imported, with_new_names
from safelight.settings import Settings, environment_name, load, renamed_settings
from safelight.stack.monitoring import Monitoring, read

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
VALUES = {"device": "cpu"}  # of each old setting that works; another than the default


def of(kind: str) -> list[Renamed]:
    return [row for row in RENAMED if row.kind == kind]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("row", RENAMED, ids=lambda row: row.old)
def test_every_row_says_what_to_do_and_for_how_long(row: Renamed) -> None:
    works = row.kind in ("setting", "import") and bool(row.new)
    assert bool(row.until) == works
    assert bool(row.reason) != bool(row.new)
    assert find(row.kind, row.old) is row, "a name is listed twice"
    if row.until:
        assert numbers(row.until) > numbers(VERSION), "its time is over: delete the row"


@pytest.mark.parametrize("row", of("setting"), ids=lambda row: row.old)
def test_an_old_setting_works_or_has_no_effect_with_a_warning(
    row: Renamed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert row.old not in Settings.model_fields
    usual = load()
    file, value = tmp_path / "safelight.toml", VALUES.get(row.old, "x")
    file.write_text(f'{row.old} = "{value}"\n')
    for name, content in ((environment_name(row.old), value), ("SAFELIGHT_CONFIG", str(file))):
        with monkeypatch.context() as patch:
            patch.setenv(name, content)
            assert row.sentence in renamed_settings()
            if row.new:
                with pytest.warns(DeprecationWarning, match=re.escape(row.sentence)):
                    assert (
                        getattr(load(), row.new) == value != Settings.model_fields[row.new].default
                    )
            elif name == "SAFELIGHT_CONFIG":
                with pytest.warns(DeprecationWarning, match=re.escape(row.sentence)):
                    assert load() == usual
            else:
                assert load() == usual


def test_the_new_name_wins_over_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_DEVICE", "cpu")
    with pytest.warns(DeprecationWarning, match="SAFELIGHT_DEVICE is now SAFELIGHT_DEVICES"):
        assert load(devices="cuda:0").devices == "cuda:0"
    monkeypatch.setenv("SAFELIGHT_DEVICES", "cuda:1")
    with pytest.warns(DeprecationWarning, match="the old name works until"):
        assert load().devices == "cuda:1"
    with pytest.warns(DeprecationWarning, match="the old name works until"):
        assert with_new_names({"device": "a", "devices": "b"}) == {"devices": "b"}


def test_an_old_key_is_no_key_and_its_new_name_is_one() -> None:
    for row in of("key"):
        first, *_ = row.new.split(".")
        assert first in Monitoring.model_fields
        assert row.old != row.new


@pytest.mark.parametrize("table", ["thresholds", "services.zimage.thresholds"])
def test_an_old_key_of_the_monitoring_file_is_refused_with_its_new_name(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Renamed("key", "thresholds.p95_seconds", "thresholds.request_p95_seconds")
    monkeypatch.setattr(
        "safelight.stack.monitoring.find", lambda kind, old: find(kind, old, (row,))
    )
    file = tmp_path / "monitoring.toml"
    file.write_text(f"[{table}]\np95_seconds = 2\nmisspelt = 3\n")
    with pytest.raises(BadSetting) as refused:
        read(file)
    assert row.sentence.rstrip(".") in str(refused.value)
    assert f"{table}.misspelt: is an unknown key" in str(refused.value)


def test_an_old_import_works_with_a_warning() -> None:
    for row in of("import"):
        with pytest.warns(DeprecationWarning, match=f"safelight.{row.old} is now {row.new}"):
            assert getattr(safelight, row.old) is getattr(safelight, row.new)


def test_an_import_that_was_renamed_is_the_new_object_and_an_unknown_one_fails() -> None:
    row = Renamed("import", "monitor", "watch", until="9.0.0")
    with pytest.warns(DeprecationWarning, match="safelight.monitor is now watch; the old name"):
        assert imported("monitor", (row,)) is safelight.watch
    with pytest.raises(AttributeError, match="module 'safelight' has no attribute 'nosuch'"):
        getattr(safelight, "nosuch")  # noqa: B009
    with pytest.raises(ImportError):
        exec("from safelight import nosuch")


def test_everything_that_the_changelog_calls_renamed_is_in_the_table() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    parts = re.findall(r"\*\*Removed or renamed\.\*\*(.*?)(?=\n\n|\n\*\*|\Z)", text, re.DOTALL)
    assert parts
    named = re.findall(
        r"`(SAFELIGHT_\w+|--[\w-]+|safelight [\w ]+)`", " ".join(" ".join(parts).split())
    )
    table = " ".join(row.sentence for row in RENAMED)
    assert len(named) >= 5
    assert [name for name in named if name not in table] == []

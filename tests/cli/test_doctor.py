from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.stack.waiting import free_ports, stub_programs


@pytest.fixture(autouse=True)
def free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "NODE_EXPORTER_PORT")
    for name, port in zip(names, free_ports(4), strict=True):
        monkeypatch.setenv(f"SAFELIGHT_{name}", str(port))
    monkeypatch.setenv("SAFELIGHT_STATE_FOLDER", str(tmp_path / "state"))


def test_a_complete_machine_passes(call: Call) -> None:
    answer = call("doctor")
    assert answer.code == 0
    assert "Everything that safelight up needs is there." in answer.out
    for area in ("machine", "library", "program", "GPU", "port", "access"):
        assert f" {area} " in answer.out


def test_a_missing_program_is_named_with_its_remedy(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", "prometheus-alertmanager"))
    answer = call("doctor")
    assert answer.code == 1
    assert "safelight up would fail. Missing: prometheus." in answer.out
    assert "apt-get install prometheus," in answer.out


def test_what_is_open_is_listed_and_stops_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_HOST", "0.0.0.0")
    monkeypatch.setenv("SAFELIGHT_API_KEYS", "anna=" + "0" * 64)
    monkeypatch.setenv("SAFELIGHT_PROTECTED_PAGES", "metrics")
    answer = call("doctor")
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert answer.code == 0
    assert any("ok" in line and "/metrics" in line for line in lines)
    assert any("--" in line and "/openapi.json" in line for line in lines)
    assert "0" * 64 not in answer.out

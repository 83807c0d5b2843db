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
    for area in ("machine", "library", "program", "GPU", "port"):
        assert f" {area} " in answer.out


def test_a_missing_program_is_named_with_its_remedy(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", "prometheus-alertmanager"))
    answer = call("doctor")
    assert answer.code == 1
    assert "safelight up would fail. Missing: prometheus." in answer.out
    assert "apt-get install prometheus," in answer.out

import re
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path

import pynvml
import pytest

from safelight.settings import load
from safelight.stack.tools.doctor import LIBRARIES, PROGRAMS, examine
from safelight.stack.tools.finding import Finding
from tests.stack.waiting import free_ports, stub_programs

NEEDED = ("prometheus", "prometheus-alertmanager")


def findings(tmp_path: Path, **chosen: object) -> dict[str, Finding]:
    ports = zip(
        ("port", "prometheus_port", "alertmanager_port", "node_exporter_port"),
        free_ports(4),
        strict=True,
    )
    chosen = {"state_folder": tmp_path / "state", **dict(ports), **chosen}
    return {finding.name: finding for finding in examine(load(**chosen))}


def test_a_machine_with_everything_needed_has_nothing_that_blocks(tmp_path: Path) -> None:
    assert [finding for finding in findings(tmp_path).values() if finding.blocks] == []


def test_versions_are_shown(tmp_path: Path) -> None:
    by_name = findings(tmp_path)
    for name in ("Python", "torch", "diffusers", "prometheus", "alertmanager"):
        assert by_name[name].detail[0].isdigit(), by_name[name]


@pytest.mark.parametrize("missing", NEEDED)
def test_a_missing_required_program_blocks_with_a_remedy(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [name for name in NEEDED if name != missing]
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", *others))
    finding = findings(tmp_path)[missing.removeprefix("prometheus-")]
    assert finding.blocks
    assert f"apt-get install {missing}" in finding.remedy


@pytest.mark.parametrize("name", ["promtool", "amtool", "node_exporter", "grafana"])
def test_a_missing_optional_program_does_not_block(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", *NEEDED))
    finding = findings(tmp_path)[name]
    assert not finding.found
    assert not finding.blocks
    assert finding.remedy


def packages() -> set[str]:
    """Return every Debian package that doctor, an error or the setup script installs."""
    setup = Path("scripts/setup").read_text()
    code = "".join(file.read_text() for file in Path("src/safelight").rglob("*.py"))
    return {
        *(package for _, package, _ in PROGRAMS if package),
        *re.findall(r"missing\+=\(([\w-]+)\)", setup),
        *re.findall(r"find_program\(\w+, \"([\w-]+)\"\)", code),
    }


def test_the_packages_are_those_that_debian_was_seen_to_have() -> None:
    assert packages() == {
        "prometheus",
        "prometheus-alertmanager",
        "prometheus-node-exporter",
        "chromium",
        "npm",
        "valgrind",
        "wrk",
        "postgresql",
        "nginx",
        "haproxy",
        "openssl",
        "bubblewrap",
        "iproute2",
        "kubernetes-client",
        "systemd",
        "wget",
    }


@pytest.mark.skipif(
    not shutil.which("apt-cache") or not list(Path("/var/lib/apt/lists").glob("*_Packages*")),
    reason="this machine has no list of Debian's packages",
)
@pytest.mark.parametrize("package", sorted(packages()))
def test_debian_has_every_package(package: str) -> None:
    shown = subprocess.run(["apt-cache", "show", package], capture_output=True, text=True)
    assert f"Package: {package}\n" in shown.stdout, shown.stderr


def test_grafana_which_debian_does_not_have_has_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", *NEEDED))
    remedy = findings(tmp_path)["grafana"].remedy
    assert "apt-get" not in remedy
    assert "website" in remedy


def test_every_extra_that_needs_a_library_is_examined(tmp_path: Path) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"dev"}
    assert {extra for _, extra, _ in LIBRARIES} == extras
    assert {name for name, *_ in LIBRARIES} <= set(findings(tmp_path))


def test_a_program_without_a_version_shows_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", "prometheus"))
    finding = findings(tmp_path)["prometheus"]
    assert (finding.found, finding.detail) == (True, str(tmp_path / "bin/prometheus"))


def test_a_taken_port_blocks_and_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        finding = findings(tmp_path, prometheus_port=port)[str(port)]
    assert finding.blocks
    assert "SAFELIGHT_PROMETHEUS_PORT" in finding.remedy


def test_a_host_that_is_not_this_machine_blocks_and_names_the_setting(tmp_path: Path) -> None:
    results = findings(tmp_path, host="192.0.2.1").values()
    blocking = [finding for finding in results if finding.blocks]
    assert len(blocking) == 4
    assert all("SAFELIGHT_HOST" in finding.remedy for finding in blocking)


def test_a_state_folder_that_cannot_be_created_blocks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = findings(tmp_path, state_folder=tmp_path / "file/state")["state folder"]
    assert finding.blocks
    assert "SAFELIGHT_STATE_FOLDER" in finding.remedy


def test_a_library_that_is_missing_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("safelight.stack.tools.doctor.version", missing)
    by_name = findings(tmp_path)
    assert by_name["diffusers"].blocks
    assert by_name["diffusers"].remedy == "pip install 'safelight[models]'"
    assert not by_name["flask"].blocks


def test_gpus_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("nvmlInit", None),
        ("nvmlShutdown", None),
        ("nvmlDeviceGetCount", 2),
        ("nvmlDeviceGetHandleByIndex", object()),
        ("nvmlDeviceGetName", "NVIDIA H100"),
    ):
        monkeypatch.setattr(pynvml, name, lambda *_, value=value: value)
    finding = findings(tmp_path)["NVIDIA"]
    assert (finding.found, finding.detail) == (True, "NVIDIA H100, NVIDIA H100")


def test_a_machine_without_gpus_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    finding = findings(tmp_path)["NVIDIA"]
    assert not finding.found
    assert not finding.blocks


def test_the_checks_write_no_file(tmp_path: Path) -> None:
    findings(tmp_path)
    assert list(tmp_path.iterdir()) == []

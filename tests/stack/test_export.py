import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from safelight.stack.export import deployment, drift, write

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = deployment("instructpix2pix")
COMPOSE: dict[str, Any] = yaml.safe_load(FILES["compose.yaml"])


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy")
    write(folder, FILES)
    return folder


def test_what_is_committed_is_what_the_source_makes() -> None:
    assert drift(DEPLOY, FILES) == [], "Run: safelight export deploy"


def test_nothing_else_lies_under_deploy() -> None:
    listed = subprocess.run(
        ("git", "ls-files", "deploy"), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {name.removeprefix("deploy/") for name in listed.stdout.split()} <= set(FILES)


def test_the_export_is_the_same_every_time() -> None:
    assert deployment("instructpix2pix") == FILES


def test_drift_names_what_is_missing_and_what_differs(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    assert drift(tmp_path, FILES) == []
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "Dockerfile").unlink()
    assert sorted(drift(tmp_path, FILES)) == ["Dockerfile", "compose.yaml"]


@pytest.mark.parametrize("name", ["prometheus/prometheus.yml", "compose/prometheus.yml"])
def test_promtool_loads_both_configurations_with_their_rules(name: str, folder: Path) -> None:
    if name.startswith("compose/"):  # as compose.yaml mounts it: beside the rules
        mounted = folder / "prometheus" / "mounted.yml"
        mounted.write_text((folder / name).read_text())
        run("promtool", "check", "config", "--lint=all", str(mounted))
    else:
        run("promtool", "check", "config", "--lint=all", str(folder / name))


@pytest.mark.parametrize("name", ["alertmanager/alertmanager.yml", "alertmanager/slack.yml"])
def test_amtool_loads_both_ways_of_telling(name: str, folder: Path) -> None:
    run("amtool", "check-config", str(folder / name))


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_keep_to_the_compose_specification(name: str, folder: Path) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    run(sys.executable, "-m", "check_jsonschema", *schema, str(folder / name))


def test_the_board_is_under_its_uid() -> None:
    name = "grafana/dashboards/safelight-instructpix2pix-core.json"
    assert json.loads(FILES[name])["uid"] == Path(name).stem


def test_grafana_finds_the_boards_where_its_provider_looks() -> None:
    provider = yaml.safe_load(FILES["grafana/provisioning/dashboards/safelight.yml"])
    path = provider["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{path}:ro" in COMPOSE["services"]["grafana"]["volumes"]


@pytest.mark.parametrize("service", COMPOSE["services"].values(), ids=COMPOSE["services"])
def test_a_container_is_pinned_local_healthy_and_without_privileges(
    service: dict[str, Any],
) -> None:
    version = service["image"].rpartition(":")[2]
    assert version == "local" or re.fullmatch(r"v?\d+\.\d+\.\d+", version)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service


def test_what_containers_mount_is_exported_too() -> None:
    mounts = [
        volume.split(":")[0].removeprefix("./")
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert mounts
    for mount in mounts:
        assert any(name == mount or name.startswith(f"{mount}/") for name in FILES), mount


def test_containers_scrape_each_other_by_name() -> None:
    config = yaml.safe_load(FILES["compose/prometheus.yml"])
    hosts = {
        scrape["static_configs"][0]["targets"][0].partition(":")[0]
        for scrape in config["scrape_configs"]
    }
    assert hosts - {"127.0.0.1"} <= set(COMPOSE["services"])
    assert "safelight" in hosts


def test_the_image_runs_as_an_ordinary_user_and_is_pinned() -> None:
    lines = FILES["Dockerfile"].splitlines()
    assert any(re.fullmatch(r"FROM python:\d+\.\d+\.\d+-slim-\w+", line) for line in lines)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["10001"]


def test_the_image_is_built_from_files_that_exist() -> None:
    copied = [
        name
        for line in FILES["Dockerfile"].splitlines()
        if line.startswith("COPY ")
        for name in line.split()[1:-1]
    ]
    kept = set(FILES["Dockerfile.dockerignore"].splitlines())
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in kept, f"{name} is ignored and could not be copied"


@pytest.mark.parametrize("name", FILES)
def test_no_file_holds_a_secret(name: str) -> None:
    assert not re.search(r"hooks\.slack|password\s*[:=]|BEGIN .*KEY", FILES[name], re.IGNORECASE)


def test_every_file_says_where_it_comes_from() -> None:
    for name, text in FILES.items():
        assert name.endswith(".json") or text.startswith("# Generated by `safelight export`"), name


def test_another_namespace_reaches_every_place() -> None:
    files = deployment("zimage")
    assert "zimage_request_total" in files["grafana/dashboards/safelight-zimage-core.json"]
    assert "zimage_request_total" in files["prometheus/rules/safelight.yml"]
    assert "SAFELIGHT_NAMESPACE: zimage" in files["compose.yaml"]
    assert not [name for name, text in files.items() if "instructpix2pix" in text]

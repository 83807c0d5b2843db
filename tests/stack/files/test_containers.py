"""The compose files, checked as documents. `test_running_containers` starts what they say."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from safelight.stack.files.containers import PROMETHEUS_GPU
from safelight.stack.files.export import Choices, deployment
from safelight.stack.files.folder import write
from safelight.stack.monitoring import read
from tests.stack.files.monitored import EVERY_KIND
from tests.stack.files.schemas import compose_errors
from tests.stack.waiting import free_ports

FILES = deployment(Choices("instructpix2pix"), "compose")
COMPOSE: dict[str, Any] = yaml.safe_load(FILES["compose.yaml"])
GPU: dict[str, Any] = yaml.safe_load(FILES["compose.gpu.yaml"])
CONTAINERS = {**COMPOSE["services"], "dcgm-exporter": GPU["services"]["dcgm-exporter"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy")
    write(folder, FILES)
    return folder


@pytest.fixture
def monitored(tmp_path: Path) -> dict[str, str]:
    """Return the compose files with a monitoring file that has receivers of every kind."""
    file = tmp_path / "monitoring.toml"
    file.write_text(EVERY_KIND)
    return deployment(Choices("zimage", monitoring=read(file, secrets_here=False)), "compose")


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_follow_the_compose_specification(name: str, folder: Path) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    command = (sys.executable, "-m", "check_jsonschema", *schema, str(folder / name))
    subprocess.run(command, check=True)
    assert compose_errors(yaml.safe_load(FILES[name])) == []


def test_a_misspelt_key_of_a_container_is_caught() -> None:
    wrong = yaml.safe_load(FILES["compose.yaml"].replace("mem_limit", "memory_limit"))
    assert compose_errors(wrong)


def test_the_dashboards_are_mounted_where_grafanas_provider_looks() -> None:
    provider = yaml.safe_load(FILES["grafana/provisioning/dashboards/safelight.yml"])
    path = provider["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{path}:ro" in COMPOSE["services"]["grafana"]["volumes"]


def test_the_live_dashboard_is_grafanas_home_page() -> None:
    environment = COMPOSE["services"]["grafana"]["environment"]
    folder, _, name = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rpartition("/")
    assert f"./grafana/dashboards:{folder}:ro" in COMPOSE["services"]["grafana"]["volumes"]
    assert json.loads(FILES[f"grafana/dashboards/{name}"])["uid"] == "safelight-live"


@pytest.mark.parametrize("service", CONTAINERS.values(), ids=CONTAINERS)
def test_a_container_is_pinned_local_healthy_and_without_privileges(
    service: dict[str, Any],
) -> None:
    version = service["image"].rpartition(":")[2]
    assert version == "local" or re.match(r"v?\d+\.\d+\.\d+", version)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service["read_only"] is True
    assert re.fullmatch(r"\$\{SAFELIGHT_MEMORY:-16g\}|\d+[mg]", service["mem_limit"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service


def test_every_mounted_file_is_exported() -> None:
    mounts = [
        volume.split(":")[0].removeprefix("./")
        for service in [*COMPOSE["services"].values(), *GPU["services"].values()]
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


# ── GPUs in containers ───────────────────────────────────────────────────────────────────────────


def test_prometheus_has_a_gpu_target_only_with_gpus() -> None:
    jobs = {
        name: {job["job_name"] for job in yaml.safe_load(FILES[name])["scrape_configs"]}
        for name in ("compose/prometheus.yml", f"compose/{PROMETHEUS_GPU}")
    }
    assert jobs[f"compose/{PROMETHEUS_GPU}"] - jobs["compose/prometheus.yml"] == {"gpu"}
    assert "gpu" not in jobs["compose/prometheus.yml"]
    [volume] = GPU["services"]["prometheus"]["volumes"]
    target = volume.split(":")[1]
    targets = [volume.split(":")[1] for volume in COMPOSE["services"]["prometheus"]["volumes"]]
    assert target in targets, "the file must replace the one of compose.yaml"


def test_nvidias_exporter_is_not_root_and_has_the_gpus() -> None:
    exporter = GPU["services"]["dcgm-exporter"]
    assert exporter["user"] == "65534:65534"
    [gpus] = exporter["deploy"]["resources"]["reservations"]["devices"]
    assert gpus["capabilities"] == ["gpu"]


@pytest.mark.parametrize(("status", "healthy"), [("200 OK", True), ("503 Unwell", False)])
def test_the_health_check_of_nvidias_exporter_follows_its_status(
    status: str, healthy: bool, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    test = GPU["services"]["dcgm-exporter"]["healthcheck"]["test"][1:]
    command = [part.replace("$$", "$").replace("9400", str(port)) for part in test]
    with socket.create_server(("127.0.0.1", port)) as listener:
        process = subprocess.Popen(command)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100).startswith(b"GET /health HTTP/1.0\r\n")
            connection.sendall(f"HTTP/1.0 {status}\r\n\r\n".encode())
    assert (process.wait(10) == 0) is healthy


# ── Records, secrets, receivers ──────────────────────────────────────────────────────────────────


def test_records_are_on_a_volume_that_the_user_of_the_image_may_write() -> None:
    service = COMPOSE["services"]["safelight"]
    [place] = [v.split(":")[1] for v in service["volumes"] if v.startswith("state:")]
    assert f"-sqlite:///{place}/records.db" in service["environment"]["SAFELIGHT_RECORDS_URL"]
    assert re.search(rf"install -d -o safelight .*{place}\b", FILES["Dockerfile"])
    assert "state" in COMPOSE["volumes"]


def test_grafanas_administrator_has_a_password_from_a_secret() -> None:
    grafana = COMPOSE["services"]["grafana"]
    file = grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert file == f"/run/secrets/{grafana['secrets'][0]}"
    assert "GF_AUTH_DISABLE_LOGIN_FORM" not in grafana["environment"]
    assert "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION" not in grafana["environment"]


def test_secrets_are_beside_the_compose_file_and_not_in_git(monitored: dict[str, str]) -> None:
    compose = yaml.safe_load(monitored["compose.yaml"])
    for name, secret in compose["secrets"].items():
        assert secret["file"] == f"./secrets/{name}"
        assert f"secrets/{name} " in monitored["compose.yaml"], "the header says how to create it"
    assert monitored["secrets/.gitignore"].splitlines()[1:] == ["*", "!.gitignore"]


def test_each_container_has_only_its_own_secrets(monitored: dict[str, str]) -> None:
    services = yaml.safe_load(monitored["compose.yaml"])["services"]
    assert set(services["alertmanager"]["secrets"]) == {"slack_url", "mail_password", "relay_token"}
    assert set(services["alert-relay"]["secrets"]) == {
        "ding_url",
        "ding_secret",
        "wecom_url",
        "hook_url",
        "relay_token",
    }
    assert "secrets" not in services["safelight"]


def test_the_relay_runs_only_if_a_receiver_needs_it(monitored: dict[str, str]) -> None:
    assert "alert-relay" not in COMPOSE["services"]
    assert "compose/monitoring.toml" not in FILES
    jobs = yaml.safe_load(monitored["compose/prometheus.yml"])["scrape_configs"]
    [relay] = [job for job in jobs if job["job_name"] == "alert-relay"]
    assert relay["static_configs"] == [{"targets": ["alert-relay:9094"]}]
    urls = re.findall(r"url: (http://\S+)", monitored["compose/alertmanager.yml"])
    assert set(urls) - {"http://hooks.example.org/open"} == {
        f"http://alert-relay:9094/{name}" for name in ("ding", "wecom", "hook")
    }


def test_no_file_names_a_path_of_this_machine(monitored: dict[str, str], tmp_path: Path) -> None:
    for name, text in monitored.items():
        assert str(tmp_path) not in text, name
        assert not re.search(r"/home/(?!safelight\b)|/root/", text), name


def test_two_services_have_other_containers_and_volumes() -> None:
    other = yaml.safe_load(deployment(Choices("zimage"), "compose")["compose.yaml"])
    assert (COMPOSE["name"], other["name"]) == ("safelight-instructpix2pix", "safelight-zimage")
    ports = [port for service in other["services"].values() for port in service.get("ports", [])]
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port) for port in ports)


def test_every_container_is_scraped_or_read() -> None:
    """An exporter that no rule and no dashboard reads would only cost."""
    always = {name for name, each in COMPOSE["services"].items() if "profiles" not in each}
    assert always == {"safelight", "prometheus", "alertmanager", "grafana"}


def test_elasticsearch_kibana_and_filebeat_start_only_with_their_profile() -> None:
    services = COMPOSE["services"]
    chosen = {name for name, each in services.items() if each.get("profiles") == ["elk"]}
    assert chosen == {"elasticsearch", "kibana", "filebeat"}
    assert len({services[name]["image"].rpartition(":")[2] for name in chosen}) == 1
    for name in chosen:
        assert services[name].get("depends_on", {}).keys() <= chosen


def test_filebeat_reads_where_the_service_writes() -> None:
    services = COMPOSE["services"]
    [target] = [v.split(":")[1] for v in services["safelight"]["volumes"] if v.startswith("logs:")]
    assert f"logs:{target}:ro" in services["filebeat"]["volumes"]
    assert f"${{SAFELIGHT_LOGS:{target}/*.log*}}" in FILES["elk/filebeat/filebeat.yml"]
    assert f"export SAFELIGHT_LOG_OUTPUT={target}/safelight.log" in FILES["compose.yaml"]
    assert re.search(rf"install -d -o safelight .*{target}\b", FILES["Dockerfile"])
    output = services["safelight"]["environment"]["SAFELIGHT_LOG_OUTPUT"]
    assert output == "${SAFELIGHT_LOG_OUTPUT-stderr}"


def test_no_container_keeps_its_log_for_ever() -> None:
    services = yaml.safe_load(FILES["compose.yaml"])["services"]
    more = yaml.safe_load(FILES["compose.gpu.yaml"])["services"]
    started = [*services.values(), more["dcgm-exporter"]]
    assert all(each["logging"]["options"].keys() == {"max-size", "max-file"} for each in started)

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
from safelight.stack.files.discovery import Discovery
from safelight.stack.files.export import PARTS, Choices, deployment
from safelight.stack.files.folder import drift, write
from safelight.stack.monitoring import Monitoring
from tests.stack.waiting import free_ports

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
CHOICES = Choices("instructpix2pix")
FILES = deployment(CHOICES)
COMPOSE: dict[str, Any] = yaml.safe_load(FILES["compose.yaml"])
GPU: dict[str, Any] = yaml.safe_load(FILES["compose.gpu.yaml"])
CONTAINERS = {**COMPOSE["services"], "dcgm-exporter": GPU["services"]["dcgm-exporter"]}


def run(*command: str) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy")
    write(folder, FILES)
    return folder


def test_the_committed_files_are_up_to_date() -> None:
    assert drift(DEPLOY, FILES) == [], "Run: safelight export all deploy"


def test_deploy_contains_no_other_file() -> None:
    git = subprocess.run(
        ("git", "ls-files", "deploy"), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {name.removeprefix("deploy/") for name in git.stdout.split()} <= set(FILES)


def test_the_export_is_the_same_every_time() -> None:
    assert deployment(CHOICES) == FILES


def test_the_parts_together_are_the_whole_export() -> None:
    parts = [deployment(CHOICES, part) for part in PARTS]
    assert set().union(*parts) == set(FILES)
    assert all(files.items() <= FILES.items() for files in parts)


@pytest.mark.parametrize(
    "name", ["prometheus/prometheus.yml", "compose/prometheus.yml", f"compose/{PROMETHEUS_GPU}"]
)
def test_promtool_loads_the_configurations_with_their_rules(name: str, folder: Path) -> None:
    if name.startswith("compose/"):  # compose.yaml mounts it beside the rules
        mounted = folder / "prometheus" / "mounted.yml"
        mounted.write_text((folder / name).read_text())
        run("promtool", "check", "config", "--lint=all", str(mounted))
    else:
        run("promtool", "check", "config", "--lint=all", str(folder / name))


def test_in_another_language_only_texts_differ(tmp_path: Path) -> None:
    files = deployment(Choices("instructpix2pix", monitoring=Monitoring(language="zh")))
    write(tmp_path, files)
    run("promtool", "check", "config", "--lint=all", f"{tmp_path}/prometheus/prometheus.yml")
    run("amtool", "check-config", f"{tmp_path}/alertmanager/slack.yml")
    letters = re.compile(r"[\u4e00-\u9fff]")
    changed = {name for name, text in files.items() if letters.search(text)}
    assert changed == {name for name, text in files.items() if text != FILES[name]}
    for name in changed & {name for name in FILES if name.startswith("grafana/dashboards/")}:
        own, english = json.loads(files[name]), json.loads(FILES[name])
        assert [panel["id"] for panel in own["panels"]] == [
            panel["id"] for panel in english["panels"]
        ]
        assert letters.search(own["title"]) or own["title"].endswith(("SLO", "Z-Image"))
    for name in ("prometheus/rules/safelight.yml", "grafana/alerting/safelight.yml"):
        assert "请求 P95 超过 3 秒" in files[name]


@pytest.mark.parametrize("name", ["alertmanager/alertmanager.yml", "alertmanager/slack.yml"])
def test_amtool_loads_both_configurations(name: str, folder: Path) -> None:
    run("amtool", "check-config", str(folder / name))


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_follow_the_compose_specification(name: str, folder: Path) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    run(sys.executable, "-m", "check_jsonschema", *schema, str(folder / name))


def test_every_dashboard_file_has_its_uid_as_name() -> None:
    names = [name for name in FILES if name.startswith("grafana/dashboards/")]
    assert names
    assert all(json.loads(FILES[name])["uid"] == Path(name).stem for name in names)


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
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
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


def test_the_image_runs_as_an_unprivileged_user_and_is_pinned() -> None:
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
    included = set(FILES["Dockerfile.dockerignore"].splitlines())
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in included, f"{name} is ignored and cannot be copied"


@pytest.mark.parametrize("name", FILES)
def test_no_file_contains_a_secret(name: str) -> None:
    assert not re.search(r"hooks\.slack|password\s*[:=]|BEGIN .*KEY", FILES[name], re.IGNORECASE)


def test_every_file_names_its_source() -> None:
    for name, text in FILES.items():
        assert name.endswith(".json") or text.startswith("# Generated by `safelight export`"), name


def test_another_namespace_is_used_in_every_file() -> None:
    files = deployment(Choices("zimage"))
    assert "zimage_request_total" in files["prometheus/rules/safelight.yml"]
    assert "zimage_request_total" in files["kubernetes/monitoring/prometheusrule.yaml"]
    assert "SAFELIGHT_NAMESPACE: zimage" in files["compose.yaml"]
    assert "value: zimage" in files["kubernetes/deployment.yaml"]
    boards = {name for name in files if "dashboards/" in name or "boards/" in name}
    listing = {"kubernetes/monitoring/kustomization.yaml"}  # it lists the dashboards
    others = files.keys() - boards - listing
    assert not [name for name in others if "instructpix2pix" in files[name]]


# ── Options ──────────────────────────────────────────────────────────────────────────────────────


def prometheus_yml(tmp_path: Path, **choices: Any) -> dict[str, Any]:
    """Return prometheus.yml with these choices, after promtool accepted it."""
    write(tmp_path, deployment(Choices("zimage", **choices), "prometheus"))
    config = tmp_path / "prometheus/prometheus.yml"
    run("promtool", "check", "config", "--lint=all", str(config))
    loaded: dict[str, Any] = yaml.safe_load(config.read_text())
    return loaded


def test_target_files_are_beside_the_configuration(tmp_path: Path) -> None:
    loaded = prometheus_yml(tmp_path, discovery=Discovery.FILE)
    for job in loaded["scrape_configs"]:
        [pattern] = job["file_sd_configs"][0]["files"]
        [file] = (tmp_path / "prometheus").glob(pattern)
        assert yaml.safe_load(file.read_text())[0]["targets"]


def test_kubernetes_discovery_finds_services_and_exporters() -> None:
    files = deployment(Choices("zimage", discovery=Discovery.KUBERNETES), "prometheus")
    loaded = yaml.safe_load(files["prometheus/prometheus.yml"])
    assert "service account" in files["prometheus/prometheus.yml"]
    discovered = [job for job in loaded["scrape_configs"] if "kubernetes_sd_configs" in job]
    assert [job["job_name"] for job in discovered] == ["safelight", "node", "gpu"]


def test_samples_and_exemplars_are_copied_to_every_remote_write_address(tmp_path: Path) -> None:
    urls = ("https://mimir.example/api/v1/push", "http://vm.example:8428/api/v1/write")
    copies = prometheus_yml(tmp_path, remote_write=urls)["remote_write"]
    assert tuple(copy["url"] for copy in copies) == urls
    assert all(copy["send_exemplars"] for copy in copies)
    assert all(copy["queue_config"]["retry_on_http_429"] for copy in copies)


def test_without_an_address_there_is_no_remote_write(tmp_path: Path) -> None:
    assert "remote_write" not in prometheus_yml(tmp_path)


def test_the_retention_is_longer_than_the_windows_of_the_objectives() -> None:
    files = deployment(Choices("zimage"))
    flag = re.compile(r"--storage\.tsdb\.retention\.time=(\d+)d\b")
    windows = re.findall(r"\[(\d+)d(?::\w*)?\]", files["prometheus/rules/safelight.yml"])
    for name in ("prometheus/prometheus.yml", "compose.yaml"):
        [days] = flag.findall(files[name])
        assert int(days) > max(30, *map(int, windows))


def test_the_retention_is_a_flag_of_prometheus() -> None:
    files = deployment(Choices("zimage", retention="90d"))
    flag = "--storage.tsdb.retention.time=90d"
    assert flag in yaml.safe_load(files["compose.yaml"])["services"]["prometheus"]["command"]
    assert flag in files["prometheus/prometheus.yml"].splitlines()[1], "in the comment on usage"


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

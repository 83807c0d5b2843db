import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from safelight.errors import BadSetting
from safelight.stack.files.containers import PROMETHEUS_GPU
from safelight.stack.files.discovery import Discovery
from safelight.stack.files.export import PARTS, Choices, deployment
from safelight.stack.files.folder import drift, write
from safelight.stack.files.values import Values
from safelight.stack.monitoring import Monitoring, read
from tests.stack.files.monitored import EVERY_KIND
from tests.stack.files.schemas import schema_errors

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
CHOICES = Choices("instructpix2pix")
FILES = deployment(CHOICES)


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
    run("amtool", "check-config", f"{tmp_path}/alertmanager/alertmanager.yml")
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
        assert "请求 P95 超过 3 s" in files[name]


@pytest.mark.parametrize("name", ["alertmanager/alertmanager.yml", "compose/alertmanager.yml"])
def test_amtool_loads_both_configurations(name: str, folder: Path) -> None:
    run("amtool", "check-config", str(folder / name))


def test_every_dashboard_file_has_its_uid_as_name() -> None:
    names = [name for name in FILES if name.startswith("grafana/dashboards/")]
    assert names
    assert all(json.loads(FILES[name])["uid"] == Path(name).stem for name in names)


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
        board = name.endswith(".json") and "schema" not in name
        assert board or "Generated by `safelight export`" in text.partition("\n")[0], name


def test_another_namespace_is_used_in_every_file() -> None:
    files = deployment(Choices("zimage"))
    assert "zimage_request_total" in files["prometheus/rules/safelight.yml"]
    assert "zimage_request_total" in files["kubernetes/monitoring/prometheusrule.yaml"]
    assert "SAFELIGHT_NAMESPACE: zimage" in files["compose.yaml"]
    assert "value: zimage" in files["kubernetes/deployment.yaml"]
    assert "SAFELIGHT_NAMESPACE=zimage" in files["systemd/safelight-zimage.service"]
    chart = yaml.safe_load(files["helm/Chart.yaml"])
    assert chart["annotations"]["safelight/namespace"] == "zimage"
    boards = {name for name in files if "dashboards/" in name or "boards/" in name}
    listing = {"kubernetes/shared/kustomization.yaml"}  # it lists the dashboards
    others = files.keys() - boards - listing
    assert not [name for name in others if "instructpix2pix" in files[name]]


@pytest.mark.parametrize(
    ("namespace", "chosen", "served"),
    [
        ("zimage", "", "demo-generate"),
        ("recognition", "", "demo-recognize"),
        ("instructpix2pix", "", "demo-edit"),
        ("photos", "", "demo-edit"),
        ("photos", "demo-generate", "demo-generate"),
        ("zimage", "Tongyi-MAI/Z-Image-Turbo", "Tongyi-MAI/Z-Image-Turbo"),
    ],
)
def test_every_deployment_serves_the_model_of_its_namespace(
    namespace: str, chosen: str, served: str
) -> None:
    files = deployment(Choices(namespace, chosen))
    compose = yaml.safe_load(files["compose.yaml"])["services"]["safelight"]["environment"]
    assert compose["SAFELIGHT_MODEL"] == f"${{SAFELIGHT_MODEL-{served}}}"
    assert f"value: {served}\n" in files["kubernetes/deployment.yaml"]
    assert yaml.safe_load(files["helm/values.yaml"])["model"] == served
    assert f'"SAFELIGHT_MODEL={served}"' in files[f"systemd/safelight-{namespace}.service"]


def test_the_model_of_the_values_is_served() -> None:
    files = deployment(Choices("photos", values=Values(model="my.package:Model")), "kubernetes")
    assert "value: my.package:Model\n" in files["kubernetes/deployment.yaml"]


def test_a_namespace_with_the_demo_of_another_family_is_refused() -> None:
    with pytest.raises(BadSetting, match="demo-edit belongs to the namespace instructpix2pix"):
        deployment(Choices("zimage", "demo-edit"))


def test_discovery_in_a_cluster_has_the_rights_that_it_needs() -> None:
    values = Values.model_validate({"network": {"prometheusNamespace": "observability"}})
    choices = Choices("zimage", discovery=Discovery.KUBERNETES, values=values)
    files = deployment(choices, "prometheus")
    role, binding = yaml.safe_load_all(files["prometheus/rbac.yaml"])
    for manifest in (role, binding):
        assert schema_errors(manifest) == []
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"][0]["namespace"] == "observability"
    assert "prometheus/rbac.yaml" not in deployment(Choices("zimage"), "prometheus")


@pytest.mark.parametrize(
    ("discovery", "interval"), [(Discovery.KUBERNETES, "15s"), (Discovery.STATIC, "5s")]
)
def test_a_cluster_is_scraped_less_often(discovery: Discovery, interval: str) -> None:
    files = deployment(Choices("zimage", discovery=discovery), "prometheus")
    loaded = yaml.safe_load(files["prometheus/prometheus.yml"])["global"]
    assert loaded == {"scrape_interval": interval, "evaluation_interval": interval}


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


def test_the_stores_of_the_monitoring_file_get_a_copy_too(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.toml"
    file.write_text(EVERY_KIND)
    url = "http://vm.example:8428/api/v1/write"
    choices = {"remote_write": (url,), "monitoring": read(file, secrets_here=False)}
    vm, mimir, thanos = prometheus_yml(tmp_path, **choices)["remote_write"]

    assert (vm["url"], vm.keys() & {"basic_auth", "authorization"}) == (url, set())
    password = {"username": "safelight", "password_file": str(tmp_path / "mimir")}
    assert mimir["basic_auth"] == password
    assert thanos["authorization"]["credentials_file"] == str(tmp_path / "thanos")
    assert all(store["send_exemplars"] for store in (vm, mimir, thanos))


def test_compose_gives_prometheus_the_credentials_of_stores_as_secrets(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.toml"
    file.write_text(EVERY_KIND)
    files = deployment(Choices("zimage", monitoring=read(file, secrets_here=False)), "compose")
    compose = yaml.safe_load(files["compose.yaml"])
    mimir, thanos = yaml.safe_load(files["compose/prometheus.yml"])["remote_write"]
    named = [mimir["basic_auth"]["password_file"], thanos["authorization"]["credentials_file"]]
    assert named == [f"/run/secrets/{n}" for n in compose["services"]["prometheus"]["secrets"]]
    assert "remote_write.1.token_file of the monitoring file" in files["compose.yaml"]


def test_prometheus_sends_the_key_of_protected_metrics_to_the_service_alone(tmp_path: Path) -> None:
    key = tmp_path / "metrics_key"
    key.write_text("sl-key")
    for discovery in (Discovery.STATIC, Discovery.FILE):
        jobs = prometheus_yml(tmp_path, metrics_key_file=key, discovery=discovery)["scrape_configs"]
        keyed = {job["job_name"]: job["authorization"] for job in jobs if "authorization" in job}
        assert keyed == {"safelight": {"type": "Bearer", "credentials_file": str(key)}}


def test_compose_gives_prometheus_the_key_as_a_secret(tmp_path: Path) -> None:
    files = deployment(Choices("zimage", metrics_key_file=tmp_path / "key"), "compose")
    compose = yaml.safe_load(files["compose.yaml"])
    [job] = [
        job
        for job in yaml.safe_load(files["compose/prometheus.yml"])["scrape_configs"]
        if "authorization" in job
    ]
    name = Path(job["authorization"]["credentials_file"]).name
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{name}"
    assert compose["services"]["prometheus"]["secrets"] == [name]
    assert compose["secrets"][name] == {"file": f"./secrets/{name}"}
    assert f"secrets/{name}" in files["compose.yaml"].partition("\nname:")[0]
    assert str(tmp_path) not in "".join(files.values())


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

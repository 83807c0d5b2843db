import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from safelight.rules.files import WATCHDOG, groups, rule_file
from safelight.serving.http.addresses import PEER_LIMIT
from safelight.stack.files import operator
from safelight.stack.files.folder import write
from safelight.stack.files.grafana import board_files
from safelight.stack.files.values import Values
from tests.stack.files.schemas import CUSTOM, KUBERNETES, kustomize_files, schema_errors

FILES = kustomize_files("zimage_turbo", boards=board_files())
MANIFESTS: dict[str, dict[str, Any]] = {name: yaml.safe_load(text) for name, text in FILES.items()}
KUSTOMIZE = [name for name in FILES if Path(name).name == "kustomization.yaml"]
PATCH = "gpu/cards.yaml"
NATIVE = [
    name
    for name, manifest in MANIFESTS.items()
    if name not in (*KUSTOMIZE, PATCH) and manifest["kind"] not in CUSTOM
]
CUSTOMS = [name for name, manifest in MANIFESTS.items() if manifest["kind"] in CUSTOM]
DEPLOYMENT = "deployment.yaml"


def with_gpus() -> dict[str, Any]:
    """Return the Deployment as Kustomize patches it, for the keys in the patch."""
    deployment, patch = copy.deepcopy(MANIFESTS[DEPLOYMENT]), MANIFESTS[PATCH]
    assert patch["metadata"]["name"] == deployment["metadata"]["name"]
    deployment["spec"]["strategy"] = patch["spec"]["strategy"]
    pod, pod_patch = deployment["spec"]["template"]["spec"], patch["spec"]["template"]["spec"]
    [container], [container_patch] = pod["containers"], pod_patch["containers"]
    assert container["name"] == container_patch["name"]
    container["resources"]["limits"] |= container_patch["resources"]["limits"]
    pod["tolerations"] = pod_patch["tolerations"]
    return deployment


# ── Validity ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", NATIVE)
def test_a_manifest_follows_the_kubernetes_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_deployment_with_gpus_follows_the_kubernetes_schema(version: str) -> None:
    kubernetes_validate.validate(with_gpus(), version, strict=True)


def test_a_misspelt_key_of_a_native_kind_is_caught() -> None:
    wrong = copy.deepcopy(MANIFESTS["service.yaml"])
    wrong["spec"]["prots"] = wrong["spec"].pop("ports")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("name", CUSTOMS)
def test_the_operators_resources_follow_their_schema(name: str) -> None:
    assert len(CUSTOMS) == 3
    assert schema_errors(MANIFESTS[name]) == []


def _wrong_port(manifest: dict[str, Any]) -> None:
    manifest["spec"]["endpoints"][0]["prot"] = "http"


def _wrong_relabelling(manifest: dict[str, Any]) -> None:
    manifest["spec"]["endpoints"][0]["relabelings"][0]["target_label"] = "node"


def _wrong_rule(manifest: dict[str, Any]) -> None:
    manifest["spec"]["groups"][0]["rules"][0]["keepFiringFor"] = "5m"


def _wrong_time(manifest: dict[str, Any]) -> None:
    manifest["spec"]["groups"][0]["interval"] = "15 seconds"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("servicemonitor", _wrong_port, "'prot' was unexpected"),
        ("servicemonitor", _wrong_relabelling, "'target_label' was unexpected"),
        ("prometheusrule", _wrong_rule, "'keepFiringFor' was unexpected"),
        ("prometheusrule", _wrong_time, "'15 seconds' does not match"),
    ],
)
def test_a_misspelt_key_of_an_operator_resource_is_caught(
    file: str, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    wrong = copy.deepcopy(MANIFESTS[f"monitoring/{file}.yaml"])
    change(wrong)
    assert any(message in error for error in schema_errors(wrong))


# ── Kustomize ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", KUSTOMIZE)
def test_kustomize_lists_only_exported_files(name: str) -> None:
    folder, kustomization = Path(name).parent, MANIFESTS[name]
    patches = [patch["path"] for patch in kustomization.get("patches", ())]
    for file in [*kustomization.get("resources", ()), *patches]:
        assert (folder / file).as_posix() in FILES


def test_kustomize_lists_every_exported_file() -> None:
    listed = {
        (Path(name).parent / file).as_posix()
        for name in KUSTOMIZE
        for file in [
            *MANIFESTS[name].get("resources", ()),
            *(patch["path"] for patch in MANIFESTS[name].get("patches", ())),
        ]
    }
    assert listed == set(FILES) - set(KUSTOMIZE)


def test_the_base_needs_neither_the_operator_nor_gpus() -> None:
    base = MANIFESTS["kustomization.yaml"]
    assert "components" not in base
    assert not [name for name in base["resources"] if MANIFESTS[name]["kind"] in CUSTOM]


@pytest.mark.parametrize("component", ["monitoring", "gpu"])
def test_the_base_explains_how_an_overlay_adds_a_component(component: str) -> None:
    assert f"../kubernetes/{component}`" in FILES["kustomization.yaml"].replace("]", "")
    assert MANIFESTS[f"{component}/kustomization.yaml"]["kind"] == "Component"


# ── Content ──────────────────────────────────────────────────────────────────────────────────────


def test_every_name_is_valid_in_kubernetes() -> None:
    for manifest in MANIFESTS.values():
        if "metadata" in manifest:
            name = manifest["metadata"]["name"]
            assert name.replace("-", "").isalnum()
            assert name == name.lower()
    assert MANIFESTS["service.yaml"]["metadata"]["name"] == "safelight-zimage-turbo"


def test_every_selector_matches_the_pods() -> None:
    labels = MANIFESTS[DEPLOYMENT]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        MANIFESTS[DEPLOYMENT]["spec"]["selector"]["matchLabels"],
        MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["poddisruptionbudget.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        MANIFESTS["service.yaml"]["metadata"]["labels"],  # the ServiceMonitor selects these
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    monitor = MANIFESTS["monitoring/servicemonitor.yaml"]["spec"]
    assert monitor["selector"]["matchLabels"] == labels
    assert labels[monitor["jobLabel"]] == "zimage-turbo"


def test_each_pod_is_scraped_once_although_two_services_select_it() -> None:
    selector = MANIFESTS["monitoring/servicemonitor.yaml"]["spec"]["selector"]["matchLabels"]
    services = [m for m in MANIFESTS.values() if m["kind"] == "Service"]
    assert len(services) == 2
    selected = [s for s in services if selector.items() <= s["metadata"]["labels"].items()]
    assert [service["metadata"]["name"] for service in selected] == ["safelight-zimage-turbo"]


def test_every_pod_finds_the_others_by_one_host_name() -> None:
    peers = MANIFESTS["peers.yaml"]
    [container] = MANIFESTS[DEPLOYMENT]["spec"]["template"]["spec"]["containers"]
    [port] = peers["spec"]["ports"]
    address = f"http://{peers['metadata']['name']}:{port['port']}"
    assert {"name": "SAFELIGHT_PEERS", "value": address} in container["env"]
    assert peers["spec"]["clusterIP"] == "None"
    egress = MANIFESTS["networkpolicy.yaml"]["spec"]["egress"]
    assert any(
        rule.get("to") and {"port": port["port"], "protocol": "TCP"} in rule["ports"]
        for rule in egress
    )


def test_the_port_has_one_name_everywhere() -> None:
    [container] = MANIFESTS[DEPLOYMENT]["spec"]["template"]["spec"]["containers"]
    [port] = container["ports"]
    [service_port] = MANIFESTS["service.yaml"]["spec"]["ports"]
    [endpoint] = MANIFESTS["monitoring/servicemonitor.yaml"]["spec"]["endpoints"]
    [ingress] = MANIFESTS["networkpolicy.yaml"]["spec"]["ingress"]
    names = {service_port["name"], service_port["targetPort"], endpoint["port"]}
    assert names | {one["port"] for one in ingress["ports"]} == {port["name"]}


def test_a_rollout_needs_no_spare_gpu() -> None:
    assert with_gpus()["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def rules_in(text: str) -> list[tuple[str, str]]:
    return [
        (rule.get("alert") or rule["record"], rule["expr"])
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    ]


def test_the_two_rule_files_contain_every_rule_once() -> None:
    [own, shared] = [
        yaml.safe_dump(MANIFESTS[f"{folder}/prometheusrule.yaml"]["spec"])
        for folder in ("monitoring", "shared")
    ]
    assert sorted(rules_in(own) + rules_in(shared)) == sorted(rules_in(rule_file("zimage_turbo")))
    assert "zimage_turbo_request_total" in own
    assert "zimage_turbo" not in shared
    names = [group["name"] for group in yaml.safe_load(shared)["groups"]]
    assert names[-1] == WATCHDOG.name
    assert {group.name for group in groups("zimage_turbo")} & set(names) == set()


def test_the_shared_rules_are_the_same_for_every_service() -> None:
    name = "shared/prometheusrule.yaml"
    assert kustomize_files("instructpix2pix")[name] == FILES[name]


@pytest.mark.parametrize("name", board_files())
def test_a_dashboard_is_a_configmap_that_the_sidecar_finds_and_etcd_accepts(name: str) -> None:
    path = f"shared/boards/{name.removesuffix('.json')}.yaml"
    manifest = MANIFESTS[path]
    assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert manifest["data"] == {name: board_files()[name]}
    assert len(FILES[path].encode()) < 1024 * 1024


def test_a_dashboard_too_large_for_etcd_is_written_without_indentation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = {"uid": "large", "panels": [{"title": f"{n}"} for n in range(100)]}
    text = json.dumps(board, indent=2)
    monkeypatch.setattr(operator, "_MAX_BYTES", len(text) - 1)
    files = kustomize_files("zimage", boards={"large.json": text})
    [data] = yaml.safe_load(files["shared/boards/large.yaml"])["data"].values()
    assert json.loads(data) == board
    assert len(data) < len(text)


# ── Values ───────────────────────────────────────────────────────────────────────────────────────


def with_values(**values: Any) -> dict[str, dict[str, Any]]:
    files = kustomize_files("zimage", Values.model_validate(values))
    return {name: yaml.safe_load(text) for name, text in files.items()}


def test_the_database_is_reached_through_the_network_policy_and_its_secret() -> None:
    chosen = with_values(records={"kind": "postgresql", "secret": "db", "port": 6432})
    [container] = chosen["deployment.yaml"]["spec"]["template"]["spec"]["containers"]
    [url] = [each for each in container["env"] if each["name"] == "SAFELIGHT_RECORDS_URL"]
    assert url["valueFrom"]["secretKeyRef"] == {"name": "db", "key": "url"}
    ports = chosen["networkpolicy.yaml"]["spec"]["egress"][0]["ports"]
    assert {"port": 6432, "protocol": "TCP"} in ports


def test_the_network_policy_admits_the_named_namespaces_only() -> None:
    network = {"prometheusNamespace": "observability", "ingressNamespace": "ingress-nginx"}
    [ingress] = with_values(network=network)["networkpolicy.yaml"]["spec"]["ingress"]
    names = [
        one["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for one in ingress["from"]
        if "namespaceSelector" in one
    ]
    assert names == ["observability", "ingress-nginx"]
    chosen = with_values(network={"enabled": False})
    assert "networkpolicy.yaml" not in chosen
    assert "networkpolicy.yaml" not in chosen["kustomization.yaml"]["resources"]


def test_the_operators_labels_and_the_scrape_interval_are_values() -> None:
    monitoring = {"release": "", "operatorLabels": {"team": "images"}, "scrapeIntervalSeconds": 30}
    chosen = with_values(monitoring=monitoring)
    for name in ("monitoring/servicemonitor", "monitoring/prometheusrule", "shared/prometheusrule"):
        labels = chosen[f"{name}.yaml"]["metadata"]["labels"]
        assert labels["team"] == "images"
        assert "release" not in labels
    [endpoint] = chosen["monitoring/servicemonitor.yaml"]["spec"]["endpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("30s", "10s")


def test_a_pod_with_its_own_volume_ends_before_the_next_starts() -> None:
    chosen = with_values(replicas=1, records={"claim": "records"})["deployment.yaml"]["spec"]
    assert chosen["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    volumes = {volume["name"]: volume for volume in chosen["template"]["spec"]["volumes"]}
    assert volumes["state"]["persistentVolumeClaim"] == {"claimName": "records"}


def test_the_base_says_how_to_create_every_secret() -> None:
    values = Values.model_validate(
        {"apiKeysSecret": "keys", "records": {"kind": "postgresql", "secret": "db"}}
    )
    text = kustomize_files("zimage", values)["kustomization.yaml"]
    assert "create secret generic keys --from-literal=api_keys=" in text
    assert "create secret generic db --from-file=url=" in text
    assert "need no API key" not in text
    assert "create secret" not in FILES["kustomization.yaml"]
    assert (
        "admits need no API key: to change that, set apiKeysSecret" in FILES["kustomization.yaml"]
    )


def test_the_image_is_named_as_kustomize_finds_it() -> None:
    values = Values.model_validate({"image": {"repository": "images.example/me/safelight"}})
    text = kustomize_files("zimage", values)["kustomization.yaml"]
    assert "(the name of images.example/me/safelight in" in text


def test_the_component_for_gpus_takes_none_away() -> None:
    for gpus, expected in ((0, 1), (1, 1), (4, 4)):
        patch = with_values(resources={"gpus": gpus})[PATCH]["spec"]["template"]["spec"]
        assert patch["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": expected}


def test_a_rollout_never_has_more_pods_than_a_pod_asks() -> None:
    [most] = [m.le for m in Values.model_fields["replicas"].metadata if hasattr(m, "le")]
    surge = MANIFESTS[DEPLOYMENT]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert most + surge <= PEER_LIMIT


# ── Kustomize itself ─────────────────────────────────────────────────────────────────────────────


def kustomized(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what kubectl would apply. Debian's is too old for overlays with components."""
    command = ("kubectl", "kustomize", str(folder))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    manifests = [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests}


@pytest.mark.parametrize("folder", ["", "shared"])
def test_kustomize_builds_the_manifests_that_are_exported(folder: str, tmp_path: Path) -> None:
    write(tmp_path, FILES)
    listed = MANIFESTS[f"{folder}/kustomization.yaml".lstrip("/")]["resources"]
    exported = [MANIFESTS[f"{folder}/{name}".lstrip("/")] for name in listed]
    expected = {(each["kind"], each["metadata"]["name"]): each for each in exported}
    assert kustomized(tmp_path / folder) == expected

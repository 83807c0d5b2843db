import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from safelight.rules.files import WATCHDOG, groups, rule_file
from safelight.settings import load
from safelight.stack.files import cluster
from safelight.stack.files.cluster import cluster_files
from safelight.stack.files.grafana import board_files

CRDS = Path(__file__).parent / "crds"
KUBERNETES = ("1.30", "1.37")  # the oldest supported version, and the newest known one
FILES = cluster_files("zimage_turbo", rule_file("zimage_turbo"), board_files())
MANIFESTS: dict[str, dict[str, Any]] = {name: yaml.safe_load(text) for name, text in FILES.items()}
KUSTOMIZE = [name for name in FILES if Path(name).name == "kustomization.yaml"]
CUSTOM = {"ServiceMonitor": "servicemonitor", "PrometheusRule": "prometheusrule"}
PATCH = "gpu/cards.yaml"
NATIVE = [
    name
    for name, manifest in MANIFESTS.items()
    if name not in (*KUSTOMIZE, PATCH) and manifest["kind"] not in CUSTOM
]
DEPLOYMENT = "deployment.yaml"


def closed(schema: Any) -> Any:
    """Return a schema in which every object refuses unknown keys."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: closed(part) for name, part in schema.items()}
    if "properties" in schema:
        strict["additionalProperties"] = False
    return strict


def schema_errors(manifest: dict[str, Any]) -> list[str]:
    schema = yaml.safe_load((CRDS / f"{CUSTOM[manifest['kind']]}.yaml").read_text())
    return [error.message for error in Draft202012Validator(closed(schema)).iter_errors(manifest)]


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


@pytest.mark.parametrize("file", ["servicemonitor", "prometheusrule"])
def test_the_operators_resources_follow_their_schema(file: str) -> None:
    assert schema_errors(MANIFESTS[f"monitoring/{file}.yaml"]) == []


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
        MANIFESTS["peers.yaml"]["spec"]["selector"],
        MANIFESTS["poddisruptionbudget.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        MANIFESTS["service.yaml"]["metadata"]["labels"],  # the ServiceMonitor selects these
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    monitor = MANIFESTS["monitoring/servicemonitor.yaml"]["spec"]
    assert monitor["selector"]["matchLabels"] == labels
    assert labels[monitor["jobLabel"]] == "zimage-turbo"


def test_the_port_has_one_name_everywhere() -> None:
    [container] = MANIFESTS[DEPLOYMENT]["spec"]["template"]["spec"]["containers"]
    [port] = container["ports"]
    [service_port] = MANIFESTS["service.yaml"]["spec"]["ports"]
    [endpoint] = MANIFESTS["monitoring/servicemonitor.yaml"]["spec"]["endpoints"]
    [ingress] = MANIFESTS["networkpolicy.yaml"]["spec"]["ingress"]
    names = {service_port["name"], service_port["targetPort"], endpoint["port"]}
    assert names | {one["port"] for one in ingress["ports"]} == {port["name"]}


def test_pods_ask_each_other_by_a_name_that_leads_to_all_of_them() -> None:
    [container] = MANIFESTS[DEPLOYMENT]["spec"]["template"]["spec"]["containers"]
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    peers = MANIFESTS["peers.yaml"]
    [port] = peers["spec"]["ports"]
    assert values["SAFELIGHT_PEERS"] == f"http://{peers['metadata']['name']}:{port['port']}"
    assert load(peers=values["SAFELIGHT_PEERS"]).peers  # it is a valid value
    assert str(port["port"]) == values["SAFELIGHT_PORT"]  # a headless Service maps no port
    assert peers["spec"]["clusterIP"] == "None"
    assert peers["spec"]["publishNotReadyAddresses"] is True
    to_pods = MANIFESTS["networkpolicy.yaml"]["spec"]["egress"][1]
    labels = MANIFESTS[DEPLOYMENT]["spec"]["template"]["metadata"]["labels"]
    assert to_pods["to"] == [{"podSelector": {"matchLabels": labels}}]
    assert [one["port"] for one in to_pods["ports"]] == [port["targetPort"]]


def test_the_operator_scrapes_each_pod_once() -> None:
    selected = MANIFESTS["monitoring/servicemonitor.yaml"]["spec"]["selector"]["matchLabels"]
    services = [one for one in MANIFESTS.values() if one.get("kind") == "Service"]
    assert len(services) == 2
    assert (
        len([one for one in services if selected.items() <= one["metadata"]["labels"].items()]) == 1
    )


def test_a_rollout_needs_no_spare_gpu() -> None:
    assert with_gpus()["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_rules_are_those_of_the_rule_file() -> None:
    content = MANIFESTS["monitoring/prometheusrule.yaml"]["spec"]["groups"]
    assert [group["name"] for group in content] == [
        *(group.name for group in groups("zimage_turbo")),
        WATCHDOG.name,
    ]
    assert "zimage_turbo_request_total" in FILES["monitoring/prometheusrule.yaml"]


@pytest.mark.parametrize("name", board_files())
def test_a_dashboard_is_a_configmap_that_the_sidecar_finds_and_etcd_accepts(name: str) -> None:
    path = f"monitoring/boards/{name.removesuffix('.json')}.yaml"
    manifest = MANIFESTS[path]
    assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert manifest["data"] == {name: board_files()[name]}
    assert len(FILES[path].encode()) < 1024 * 1024


def test_a_dashboard_too_large_for_etcd_is_written_without_indentation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = {"uid": "large", "panels": [{"title": f"{n}"} for n in range(100)]}
    text = json.dumps(board, indent=2)
    monkeypatch.setattr(cluster, "_MAX_BYTES", len(text) - 1)
    files = cluster_files("zimage", rule_file("zimage"), {"large.json": text})
    [data] = yaml.safe_load(files["monitoring/boards/large.yaml"])["data"].values()
    assert json.loads(data) == board
    assert len(data) < len(text)

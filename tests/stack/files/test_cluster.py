import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from safelight.rules.files import groups, rule_file
from safelight.stack.files import cluster
from safelight.stack.files.cluster import cluster_files
from safelight.stack.files.grafana import board_files

CRDS = Path(__file__).parent / "crds"
KUBERNETES = ("1.30", "1.37")  # the oldest that is meant to work, and the newest known
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
ALL = "deployment.yaml"


def closed(schema: Any) -> Any:
    """Return a schema in which every object refuses keys that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    if "properties" in schema:
        made["additionalProperties"] = False
    return made


def complaints(manifest: dict[str, Any]) -> list[str]:
    schema = yaml.safe_load((CRDS / f"{CUSTOM[manifest['kind']]}.yaml").read_text())
    return [error.message for error in Draft202012Validator(closed(schema)).iter_errors(manifest)]


def with_cards() -> dict[str, Any]:
    """Return the Deployment as Kustomize patches it, for the keys that the patch has."""
    made, patch = copy.deepcopy(MANIFESTS["deployment.yaml"]), MANIFESTS[PATCH]
    assert patch["metadata"]["name"] == made["metadata"]["name"]
    made["spec"]["strategy"] = patch["spec"]["strategy"]
    pod, wanted = made["spec"]["template"]["spec"], patch["spec"]["template"]["spec"]
    [own], [patched] = pod["containers"], wanted["containers"]
    assert own["name"] == patched["name"]
    own["resources"]["limits"] |= patched["resources"]["limits"]
    pod["tolerations"] = wanted["tolerations"]
    return made


# ── Validity ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", NATIVE)
def test_a_manifest_keeps_to_kubernetes_own_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_deployment_with_cards_keeps_to_it_too(version: str) -> None:
    kubernetes_validate.validate(with_cards(), version, strict=True)


def test_a_misspelt_key_of_a_native_kind_is_caught() -> None:
    wrong = copy.deepcopy(MANIFESTS["service.yaml"])
    wrong["spec"]["prots"] = wrong["spec"].pop("ports")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("file", ["servicemonitor", "prometheusrule"])
def test_what_the_operator_reads_keeps_to_its_schema(file: str) -> None:
    assert complaints(MANIFESTS[f"monitoring/{file}.yaml"]) == []


def _wrong_port(manifest: dict[str, Any]) -> None:
    manifest["spec"]["endpoints"][0]["prot"] = "http"


def _wrong_relabelling(manifest: dict[str, Any]) -> None:
    manifest["spec"]["endpoints"][0]["relabelings"][0]["target_label"] = "node"


def _wrong_rule(manifest: dict[str, Any]) -> None:
    manifest["spec"]["groups"][0]["rules"][0]["keepFiringFor"] = "5m"


def _wrong_time(manifest: dict[str, Any]) -> None:
    manifest["spec"]["groups"][0]["interval"] = "15 seconds"


@pytest.mark.parametrize(
    ("file", "spoil", "said"),
    [
        ("servicemonitor", _wrong_port, "'prot' was unexpected"),
        ("servicemonitor", _wrong_relabelling, "'target_label' was unexpected"),
        ("prometheusrule", _wrong_rule, "'keepFiringFor' was unexpected"),
        ("prometheusrule", _wrong_time, "'15 seconds' does not match"),
    ],
)
def test_a_misspelt_key_of_the_operators_is_caught(
    file: str, spoil: Callable[[dict[str, Any]], None], said: str
) -> None:
    wrong = copy.deepcopy(MANIFESTS[f"monitoring/{file}.yaml"])
    spoil(wrong)
    assert any(said in complaint for complaint in complaints(wrong))


# ── Kustomize ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", KUSTOMIZE)
def test_kustomize_is_told_of_files_that_are_there(name: str) -> None:
    folder, told = Path(name).parent, MANIFESTS[name]
    patches = [patch["path"] for patch in told.get("patches", ())]
    for each in [*told.get("resources", ()), *patches]:
        assert (folder / each).as_posix() in FILES


def test_kustomize_is_told_of_every_file() -> None:
    told = {
        (Path(name).parent / each).as_posix()
        for name in KUSTOMIZE
        for each in [
            *MANIFESTS[name].get("resources", ()),
            *(patch["path"] for patch in MANIFESTS[name].get("patches", ())),
        ]
    }
    assert told == set(FILES) - set(KUSTOMIZE)


def test_the_base_needs_neither_the_operator_nor_cards() -> None:
    base = MANIFESTS["kustomization.yaml"]
    assert "components" not in base
    assert not [name for name in base["resources"] if MANIFESTS[name]["kind"] in CUSTOM]


@pytest.mark.parametrize("component", ["monitoring", "gpu"])
def test_the_base_says_how_an_overlay_adds_a_component(component: str) -> None:
    assert f"../kubernetes/{component}`" in FILES["kustomization.yaml"].replace("]", "")
    assert MANIFESTS[f"{component}/kustomization.yaml"]["kind"] == "Component"


# ── What it means ────────────────────────────────────────────────────────────────────────────────


def test_every_name_is_one_that_kubernetes_takes() -> None:
    for manifest in MANIFESTS.values():
        if "metadata" in manifest:
            name = manifest["metadata"]["name"]
            assert name.replace("-", "").isalnum()
            assert name == name.lower()
    assert MANIFESTS["service.yaml"]["metadata"]["name"] == "safelight-zimage-turbo"


def test_whoever_selects_the_pods_selects_these() -> None:
    labels = MANIFESTS[ALL]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        MANIFESTS[ALL]["spec"]["selector"]["matchLabels"],
        MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["poddisruptionbudget.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        MANIFESTS["service.yaml"]["metadata"]["labels"],  # what the ServiceMonitor selects
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    monitor = MANIFESTS["monitoring/servicemonitor.yaml"]["spec"]
    assert monitor["selector"]["matchLabels"] == labels
    assert labels[monitor["jobLabel"]] == "zimage-turbo"


def test_the_port_has_one_name_everywhere() -> None:
    [container] = MANIFESTS[ALL]["spec"]["template"]["spec"]["containers"]
    [port] = container["ports"]
    [service_port] = MANIFESTS["service.yaml"]["spec"]["ports"]
    [endpoint] = MANIFESTS["monitoring/servicemonitor.yaml"]["spec"]["endpoints"]
    [ingress] = MANIFESTS["networkpolicy.yaml"]["spec"]["ingress"]
    named = {service_port["name"], service_port["targetPort"], endpoint["port"]}
    assert named | {each["port"] for each in ingress["ports"]} == {port["name"]}


def test_a_rollout_needs_no_card_to_spare() -> None:
    assert with_cards()["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_rules_are_those_of_the_rule_file() -> None:
    told = MANIFESTS["monitoring/prometheusrule.yaml"]["spec"]["groups"]
    assert [group["name"] for group in told] == [group.name for group in groups("zimage_turbo")]
    assert "zimage_turbo_request_total" in FILES["monitoring/prometheusrule.yaml"]


@pytest.mark.parametrize("name", board_files())
def test_a_board_is_a_configmap_that_the_sidecar_finds_and_etcd_takes(name: str) -> None:
    path = f"monitoring/boards/{name.removesuffix('.json')}.yaml"
    manifest = MANIFESTS[path]
    assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert manifest["data"] == {name: board_files()[name]}
    assert len(FILES[path].encode()) < 1024 * 1024


def test_a_board_too_large_for_etcd_is_written_without_indentation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = {"uid": "large", "panels": [{"title": f"{n}"} for n in range(100)]}
    text = json.dumps(board, indent=2)
    monkeypatch.setattr(cluster, "_MOST_BYTES", len(text) - 1)
    made = cluster_files("zimage", rule_file("zimage"), {"large.json": text})[
        "monitoring/boards/large.yaml"
    ]
    [data] = yaml.safe_load(made)["data"].values()
    assert json.loads(data) == board
    assert len(data) < len(text)

"""Two services in one namespace, with non-default parameters: nothing collides or lacks."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from safelight.stack.files.cluster import secret_commands
from safelight.stack.files.export import Choices, deployment
from safelight.stack.files.folder import write
from safelight.stack.files.values import Values
from safelight.stack.monitoring import Monitoring, read
from tests.stack.files.helm import render
from tests.stack.files.monitored import EVERY_KIND
from tests.stack.files.schemas import KUBERNETES, Manifest, compose_errors, schema_errors

NETWORK = {"prometheusNamespace": "observability", "ingressNamespace": "ingress-nginx"}
WATCHED = {
    "enabled": True,
    "requireOperator": False,
    "release": "",
    "operatorLabels": {"prometheus": "images"},
    "scrapeIntervalSeconds": 30,
}
EDITS = Values.model_validate(
    {
        "replicas": 3,
        "image": {"repository": "images.example/safelight", "tag": "1.2"},
        "apiKeysSecret": "edits-keys",
        "records": {"kind": "postgresql", "secret": "edits-db", "port": 6432},
        "resources": {"gpus": 1},
        "settings": {"queue_limit": "7"},
        "settingsSecret": "edits-settings",
        "network": NETWORK,
        "monitoring": WATCHED,
    }
)
PORTRAITS = Values.model_validate(
    {
        "replicas": 1,
        "apiKeysSecret": "portraits-keys",
        "cacheClaim": "weights",
        "records": {"claim": "portraits-records"},
        "network": NETWORK,
        "monitoring": {**WATCHED, "shared": False},  # what services share comes from the first
    }
)
SERVICES = {"photo_edits": EDITS, "zimage": PORTRAITS}


@pytest.fixture(scope="module")
def monitoring(tmp_path_factory: pytest.TempPathFactory) -> Monitoring:
    file = tmp_path_factory.mktemp("monitoring") / "monitoring.toml"
    file.write_text(EVERY_KIND)
    return read(file, secrets_here=False)


def choices(namespace: str, monitoring: Monitoring) -> Choices:
    return Choices(namespace, retention="60d", values=SERVICES[namespace], monitoring=monitoring)


@pytest.fixture(scope="module")
def exports(monitoring: Monitoring) -> dict[str, dict[str, str]]:
    return {name: deployment(choices(name, monitoring)) for name in SERVICES}


def with_kustomize(exports: dict[str, dict[str, str]]) -> list[Manifest]:
    """Return what the overlays of both services contain; the second leaves out `shared`."""
    folders = {"photo_edits": ("", "monitoring/", "shared/"), "zimage": ("", "monitoring/")}
    return [
        yaml.safe_load(exports[name][f"kubernetes/{folder}{file}"])
        for name, parts in folders.items()
        for folder in parts
        for file in yaml.safe_load(exports[name][f"kubernetes/{folder}kustomization.yaml"])[
            "resources"
        ]
    ]


def with_helm(exports: dict[str, dict[str, str]], folder: Path) -> list[Manifest]:
    return [
        manifest
        for name, files in exports.items()
        for manifest in render(
            folder / name,
            {
                path.removeprefix("helm/"): text
                for path, text in files.items()
                if path.startswith("helm/")
            },
        )
    ]


@pytest.fixture(params=["kustomize", "helm"])
def manifests(
    request: pytest.FixtureRequest, exports: dict[str, dict[str, str]], tmp_path: Path
) -> list[Manifest]:
    return with_kustomize(exports) if request.param == "kustomize" else with_helm(exports, tmp_path)


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


def pods(manifests: list[Manifest]) -> list[Manifest]:
    return [each["spec"]["template"] for each in manifests if each["kind"] == "Deployment"]


def test_every_manifest_follows_the_real_schemas(manifests: list[Manifest]) -> None:
    assert {each["kind"] for each in manifests} == {
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PrometheusRule",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    }
    for manifest in manifests:
        for version in KUBERNETES:
            assert schema_errors(manifest, version) == [], manifest["metadata"]["name"]


def test_no_two_manifests_have_the_same_name(manifests: list[Manifest]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert sorted(set(names)) == sorted(names)
    boards = [text for each in manifests if each["kind"] == "ConfigMap" for text in each["data"]]
    assert len(set(boards)) == len(boards) == 12, "a uid belongs to one dashboard"


def test_no_two_rules_write_the_same_metric_or_alert(manifests: list[Manifest]) -> None:
    rules = [
        (rule.get("record") or rule["alert"], rule["expr"], str(rule.get("labels")))
        for each in manifests
        if each["kind"] == "PrometheusRule"
        for group in each["spec"]["groups"]
        for rule in group["rules"]
    ]
    assert len(set(rules)) == len(rules)
    groups = [
        group["name"]
        for each in manifests
        if each["kind"] == "PrometheusRule"
        for group in each["spec"]["groups"]
    ]
    assert len(set(groups)) == len(groups)


def test_no_selector_matches_the_pods_of_the_other_service(manifests: list[Manifest]) -> None:
    selectors = [
        each["spec"].get("selector", each["spec"].get("podSelector"))
        for each in manifests
        if each["kind"] in ("Service", "NetworkPolicy", "PodDisruptionBudget", "Deployment")
    ]
    labels = [pod["metadata"]["labels"] for pod in pods(manifests)]
    assert len(labels) == 2
    for selector in selectors:
        wanted = selector.get("matchLabels", selector)
        assert sum(wanted.items() <= own.items() for own in labels) == 1


def test_no_manifest_has_a_host_path(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        for volume in pod["spec"]["volumes"]:
            assert set(volume) & {"emptyDir", "persistentVolumeClaim", "secret"}
    assert not any("hostPath" in str(each) for each in manifests)


def test_every_secret_is_one_that_the_export_says_how_to_create(manifests: list[Manifest]) -> None:
    referenced = {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for pod in pods(manifests)
        for variable in pod["spec"]["containers"][0]["env"]
        if "valueFrom" in variable
    } | {
        source["secretRef"]["name"]
        for pod in pods(manifests)
        for source in pod["spec"]["containers"][0].get("envFrom", ())
    }
    referenced |= {
        volume["secret"]["secretName"]
        for pod in pods(manifests)
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    commands = [line for values in SERVICES.values() for line in secret_commands(values)]
    created = {line.split("generic ")[1].split()[0] for line in commands}
    assert referenced == created == {"edits-keys", "edits-db", "edits-settings", "portraits-keys"}


def test_every_reference_leads_to_what_is_exported(manifests: list[Manifest]) -> None:
    """Accounts, peers, and the links from an alert to its dashboard."""
    named = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    for pod in pods(manifests):
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in named
        [container] = pod["spec"]["containers"]
        [peers] = [e["value"] for e in container["env"] if e["name"] == "SAFELIGHT_PEERS"]
        assert ("Service", re.split("[/:]+", peers)[1]) in named
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    boards = {text for each in manifests if each["kind"] == "ConfigMap" for text in each["data"]}
    links = {uid for text in texts(manifests) for uid in re.findall(r"/d/([\w-]+)", text)}
    assert links
    assert {f"{uid}.json" for uid in links} <= boards


def test_each_component_finds_what_it_names(exports: dict[str, dict[str, str]]) -> None:
    for files in exports.values():
        for name, text in files.items():
            if not name.endswith("/kustomization.yaml"):
                continue
            content, folder = yaml.safe_load(text), name.rpartition("/")[0]
            patches = [patch["path"] for patch in content.get("patches", ())]
            for file in (*content.get("resources", ()), *patches):
                assert f"{folder}/{file}" in files


@pytest.mark.parametrize("namespace", SERVICES)
def test_the_containers_lack_nothing(
    namespace: str, exports: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    files = exports[namespace]
    compose = yaml.safe_load(files["compose.yaml"])
    assert compose_errors(compose) == []
    write(tmp_path, files)
    secrets = {name: secret["file"] for name, secret in compose["secrets"].items()}
    for service in compose["services"].values():
        assert set(service.get("secrets", ())) <= set(secrets)
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            exists = source in compose["volumes"] or (tmp_path / source).exists()
            assert exists, f"{volume} is not exported"
            assert not source.startswith("/"), f"{volume} is a host path"
    assert all(path == f"./secrets/{name}" for name, path in secrets.items())
    jobs = yaml.safe_load(files["compose/prometheus.yml"])["scrape_configs"]
    targets = {job["static_configs"][0]["targets"][0].partition(":")[0] for job in jobs}
    assert targets - {"127.0.0.1"} <= set(compose["services"])


def test_the_containers_of_both_services_have_other_names(
    exports: dict[str, dict[str, str]],
) -> None:
    composes = [yaml.safe_load(files["compose.yaml"]) for files in exports.values()]
    assert composes[0]["name"] != composes[1]["name"]
    units = [name for files in exports.values() for name in files if name.startswith("systemd/")]
    assert units == ["systemd/safelight-photo-edits.service", "systemd/safelight-zimage.service"]

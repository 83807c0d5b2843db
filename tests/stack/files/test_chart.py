"""The Helm chart, rendered by Helm's own library and compared with the Kustomize export."""

import gzip
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from safelight.rules.files import service_file, shared_file
from safelight.settings import Settings
from safelight.stack.files.chart import chart_files
from safelight.stack.files.grafana import board_files
from safelight.stack.files.values import Values, values_document
from tests.stack.files.helm import lint, notes, render
from tests.stack.files.schemas import KUBERNETES, Manifest, kustomize_files, schema_errors

MODEL = Settings.model_fields["model"].default
BOARDS = board_files()
WATCHED: dict[str, Any] = {"enabled": True, "requireOperator": False}
# Each branch of the templates is in one of these.
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "monitoring": {"monitoring": WATCHED},
    "postgresql": {
        "replicas": 5,
        "records": {"kind": "postgresql", "secret": "db", "port": 6432},
        "apiKeysSecret": "keys",
    },
    "claims": {"replicas": 1, "records": {"claim": "records"}, "cacheClaim": "weights"},
    "gpus": {
        "records": {"kind": "none"},
        "resources": {"gpus": 2, "cpu": 0.5, "memoryGib": 4, "memoryLimitGib": 32},
        "image": {"repository": "images.example/safelight", "tag": "1.2", "pullPolicy": "Always"},
    },
    "one with a shared cache": {"replicas": 3, "cacheClaim": "weights"},
    "settings and placement": {
        "settings": {"queue_limit": "7", "forwarded_allow_ips": "10.0.0.0/8", "samples": "true"},
        "settingsSecret": "edits-settings",
        "image": {"pullSecrets": ["registry", "mirror"]},
        "resources": {"nodeSelector": {"gpu": "h200", "zone": "1"}, "cpu": 4},
    },
    "networks": {"network": {"prometheusNamespace": "watch", "ingressNamespace": "ingress"}},
    "same network twice": {"network": {"ingressNamespace": "monitoring"}},
    "no network policy": {"network": {"enabled": False}},
    "own labels": {
        "monitoring": {
            **WATCHED,
            "shared": False,
            "release": "",
            "operatorLabels": {"team": "images", "tier": "1"},
            "scrapeIntervalSeconds": 5,
        }
    },
    "keyed metrics": {"apiKeysSecret": "keys", "monitoring": {**WATCHED, "keySecret": "scraping"}},
    "no labels": {"monitoring": {**WATCHED, "release": "", "scrapeIntervalSeconds": 30}},
}


def chart(values: Values | None = None) -> dict[str, str]:
    values = (values or Values()).model_copy(update={"model": MODEL})
    rules = {"rules.yaml": service_file("zimage_turbo"), "shared.yaml": shared_file("zimage_turbo")}
    return chart_files("zimage_turbo", values, rules, BOARDS)


def by_kind_and_name(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    named = {(each["kind"], each["metadata"]["name"]): each for each in manifests}
    assert len(named) == len(manifests), "two manifests have the same kind and name"
    return named


def kustomized(values: Values) -> list[Manifest]:
    """Return the manifests of the Kustomize export that the same values ask of Helm."""
    files = kustomize_files("zimage_turbo", values, BOARDS)
    wanted = {"": True}
    wanted["monitoring/"] = values.monitoring.enabled
    wanted["shared/"] = values.monitoring.enabled and values.monitoring.shared
    return [
        yaml.safe_load(files[f"{folder}{name}"])
        for folder, is_wanted in wanted.items()
        if is_wanted
        for name in yaml.safe_load(files[f"{folder}kustomization.yaml"])["resources"]
    ]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_makes_the_manifests_of_the_kustomize_export(
    values: dict[str, Any], tmp_path: Path
) -> None:
    rendered = render(tmp_path, chart(), values)
    expected = kustomized(Values.model_validate(values))
    assert by_kind_and_name(rendered) == by_kind_and_name(expected)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_manifest_follows_the_real_schemas(values: dict[str, Any], tmp_path: Path) -> None:
    for manifest in render(tmp_path, chart(), values):
        for version in KUBERNETES:
            assert schema_errors(manifest, version) == [], manifest["kind"]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_values_of_an_export_are_the_defaults_of_its_chart(
    values: dict[str, Any], tmp_path: Path
) -> None:
    chosen = Values.model_validate(values)
    files = chart(chosen)
    assert yaml.safe_load(files["values.yaml"]) == {**values_document(chosen), "model": MODEL}
    assert by_kind_and_name(render(tmp_path, files)) == by_kind_and_name(kustomized(chosen))


def test_helm_finds_no_fault_in_the_chart(tmp_path: Path) -> None:
    assert lint(tmp_path, chart()) == []


def test_helm_finds_a_fault_in_a_broken_chart(tmp_path: Path) -> None:
    files = chart()
    files["templates/service.yaml"] = files["templates/service.yaml"].replace("{{ .", "{{ ..", 1)
    assert lint(tmp_path, files)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        ({"replicas": "three"}, "at '/replicas': got string, want integer"),
        ({"network": {"ingressNamespace": "A B"}}, "'A B' does not match pattern"),
        ({"monitoring": {"scrapeIntervalSeconds": 300}}, "/monitoring/scrapeIntervalSeconds"),
        ({"records": {"kind": "postgresql"}}, "records.secret is missing"),
        ({"records": {"secret": "db"}}, "records.secret has no use with records.kind volume"),
        ({"records": {"kind": "none", "claim": "x"}}, "records.claim has no use with records.kind"),
        ({"records": {"claim": "x"}}, "records.claim has room for one pod: set replicas to 1"),
        ({"monitoring": {"operatorLabels": {"release": "x"}}}, "operatorLabels cannot set release"),
        ({"resources": {"memoryGib": 32}}, "resources.memoryGib is above"),
        ({"replicas": 16}, "at '/replicas': maximum: got 16, want 15"),
        ({"model": ""}, "at '/model': minLength: got 0, want 1"),
        ({"settings": {"nonsense": "1"}}, "'nonsense'"),
        ({"monitoring": {"enabled": True}}, "The cluster has no Prometheus Operator. Install it"),
    ],
)
def test_helm_refuses_wrong_values_with_what_to_do(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(helm_python.HelmError) as failure:
        render(tmp_path, chart(), values)
    assert message in str(failure.value)


def test_the_notes_say_how_to_create_every_secret(tmp_path: Path) -> None:
    text = notes(tmp_path, chart(), VALUES["postgresql"])
    assert "--namespace images create secret generic keys --from-literal=api_keys=" in text
    assert "--namespace images create secret generic db --from-file=url=" in text
    assert "do not start before these Secrets" not in notes(tmp_path, chart(), {})


def test_the_notes_say_who_needs_no_api_key(tmp_path: Path) -> None:
    assert "the NetworkPolicy admits need no API key" in notes(tmp_path, chart(), {})
    assert "No caller needs an API key" in notes(tmp_path, chart(), {"network": {"enabled": False}})
    assert "API key:" not in notes(tmp_path, chart(), {"apiKeysSecret": "keys"})


def test_a_parent_chart_may_give_its_global_values(tmp_path: Path) -> None:
    assert render(tmp_path, chart(), {"global": {"team": "images"}})


def test_the_notes_say_when_nothing_scrapes_the_service(tmp_path: Path) -> None:
    assert "monitoring.enabled=true" in notes(tmp_path, chart(), {})
    assert "monitoring.enabled=true" not in notes(tmp_path, chart(), VALUES["monitoring"])


def test_helm_can_store_the_chart_in_a_secret(tmp_path: Path) -> None:
    """Helm stores a release, with the chart's files, in a Secret of at most 1 MiB."""
    whole = "".join(chart().values()).encode()
    in_base64 = len(gzip.compress(whole)) * 4 / 3
    assert in_base64 < 512 * 1024

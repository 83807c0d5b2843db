"""Generate the Kubernetes manifests of a service, for Kustomize.

The base runs in any cluster. An overlay can add the component `monitoring`, which needs the
Prometheus Operator, and the component `gpu`, which gives each pod an NVIDIA GPU. `shared` has what
all services of a cluster share.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from safelight.settings import Settings
from safelight.stack.files.document import Document, header, yaml_text
from safelight.stack.files.manifests import App
from safelight.stack.files.operator import board, board_path, rules, servicemonitor, shared_rules
from safelight.stack.files.values import Values

_HEADER = header("cluster", "in an overlay")
_USAGE = """\
# Apply: kubectl apply -k kubernetes
# To adapt: export again with `--values FILE`, or write an overlay with
# `resources: [../kubernetes]`. Set in it `namespace:`, `images:` (the name of {image} in
# your registry) and `replicas:`. Add `components: [../kubernetes/monitoring]` if the Prometheus
# Operator runs in the cluster, and `../kubernetes/gpu` for GPUs.
"""
_SHARED_USAGE = """\
# Dashboards, and the rules of machines and of the monitoring. They are the same for all services:
# apply them once, to a cluster with the Prometheus Operator. kubectl apply -k kubernetes/shared
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """The texts of two rule files: the rules of one service, and those that all services share."""

    service: str
    shared: str


def cluster_files(
    settings: Settings, values: Values, texts: Rules, boards: Mapping[str, str]
) -> dict[str, str]:
    """Return every manifest by path, for the service with these settings.

    `boards` are the dashboards' JSON by file name.
    """
    app = App(settings, values)
    base = {f"{name}.yaml": manifest for name, manifest in app.base().items()}
    monitoring = {
        "servicemonitor.yaml": servicemonitor(app, values.monitoring),
        "prometheusrule.yaml": rules(app, values.monitoring, texts.service),
    }
    shared = {
        "prometheusrule.yaml": shared_rules(values.monitoring, texts.shared),
        **{board_path(name): board(name, text) for name, text in boards.items()},
    }
    usage = _USAGE.format(image=app.image) + "".join(_secrets(app.name, values))
    component = _component(patches=[{"path": "cards.yaml"}])
    return {
        "kustomization.yaml": yaml_text(_kustomization(base), _HEADER + usage),
        **_texts(base),
        "monitoring/kustomization.yaml": _text(_component(resources=list(monitoring))),
        **_texts(monitoring, "monitoring/"),
        "shared/kustomization.yaml": yaml_text(_kustomization(shared), _HEADER + _SHARED_USAGE),
        **_texts(shared, "shared/"),
        "gpu/kustomization.yaml": _text(component),
        "gpu/cards.yaml": _text(app.gpus()),
    }


def secret_commands(values: Values) -> Iterator[str]:
    """Yield the command that creates each Secret that the pods need."""
    if values.api_keys_secret:
        yield (
            f"kubectl create secret generic {values.api_keys_secret} "
            "--from-literal=api_keys=NAME=HASH  # printed by `safelight key`"
        )
    if values.settings_secret:
        yield (
            f"kubectl create secret generic {values.settings_secret} "
            "--from-env-file=FILE  # with lines such as HF_TOKEN=…"
        )
    if values.records.kind == "postgresql":
        yield (
            f"kubectl create secret generic {values.records.secret} "
            "--from-file=url=FILE  # with postgresql://USER:PASSWORD@HOST/NAME"
        )


def _secrets(name: str, values: Values) -> Iterator[str]:
    commands = [*secret_commands(values)]
    if commands:
        yield f"# {name} does not start before these Secrets exist:\n"
    for command in commands:
        yield f"#   {command}\n"
    if not values.api_keys_secret:
        limited = values.network.enabled
        callers = "Callers that the NetworkPolicy admits" if limited else "ALL callers"
        yield f"# {callers} need no API key: to change that, set apiKeysSecret in the values.\n"


def _texts(manifests: Mapping[str, Document], folder: str = "") -> dict[str, str]:
    return {f"{folder}{name}": _text(manifest) for name, manifest in manifests.items()}


def _text(manifest: Document) -> str:
    return yaml_text(manifest, _HEADER)


def _kustomization(resources: Iterable[str]) -> Document:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return {**kind, "resources": list(resources)}


def _component(**content: object) -> Document:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    return {**kind, **content}

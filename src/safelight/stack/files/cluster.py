"""Generate the Kubernetes manifests of a service, for Kustomize.

The base runs in any cluster. An overlay can add the component `monitoring`, which needs the
Prometheus Operator, and the component `gpu`, which gives each pod an NVIDIA GPU.
"""

import json
from collections.abc import Mapping

import yaml

from safelight.settings import Settings
from safelight.stack.files.config import SCRAPE_INTERVAL
from safelight.stack.files.discovery import JOB_LABEL, ROUTE_LABEL, SCRAPE_ANNOTATION, SCRAPED_PORT
from safelight.stack.files.document import Block, Document, header, yaml_text
from safelight.stack.files.pods import container, pod

_HEADER = header("cluster", "in an overlay")
_USAGE = """\
# Apply: kubectl apply -k kubernetes
# To adapt: write an overlay with `resources: [../kubernetes]`. Set in it `namespace:`, `images:`
# (the name of safelight:local in your registry) and `replicas:`. Add
# `components: [../kubernetes/monitoring]` if the Prometheus Operator runs in the cluster, and
# `../kubernetes/gpu` for GPUs.
"""
_PROMETHEUS_NAMESPACE = "monitoring"  # as in most charts
_MAX_BYTES = 1_000_000  # of a ConfigMap: etcd's limit is 1 MiB, including the labels
_OPERATOR_LABELS = {"release": "kube-prometheus-stack"}  # that chart's operator selects them


def cluster_files(namespace: str, rules: str, boards: Mapping[str, str]) -> dict[str, str]:
    """Return every manifest by path, for a service with that namespace.

    `rules` is the text of its rule file; `boards` are the dashboards' JSON by file name.
    """
    app = _App(namespace)
    base = {
        "serviceaccount": app.serviceaccount(),
        "deployment": app.deployment(),
        "service": app.service(),
        "peers": app.peers(),
        "poddisruptionbudget": app.poddisruptionbudget(),
        "networkpolicy": app.networkpolicy(),
    }
    monitoring = {
        "servicemonitor.yaml": app.servicemonitor(),
        "prometheusrule.yaml": app.rules(rules),
        **{
            f"boards/{name.removesuffix('.json')}.yaml": app.board(name, text)
            for name, text in boards.items()
        },
    }
    return {
        "kustomization.yaml": yaml_text(
            _kustomization([f"{name}.yaml" for name in base]), _HEADER + _USAGE
        ),
        **{f"{name}.yaml": _text(manifest) for name, manifest in base.items()},
        "monitoring/kustomization.yaml": _text(_component(resources=list(monitoring))),
        **{f"monitoring/{name}": _text(manifest) for name, manifest in monitoring.items()},
        "gpu/kustomization.yaml": _text(_component(patches=[{"path": "cards.yaml"}])),
        "gpu/cards.yaml": _text(app.gpus()),
    }


class _App:
    """The manifests of one service."""

    def __init__(self, namespace: str) -> None:
        self._name = f"safelight-{namespace.replace('_', '-')}"
        self._peers = f"{self._name}-peers"
        defaults = Settings.model_construct(namespace=namespace)
        self._port, peers = defaults.port, f"http://{self._peers}:{defaults.port}"
        self._settings = defaults.model_copy(update={"peers": peers})
        self._selected = {
            "app.kubernetes.io/name": "safelight",
            JOB_LABEL: namespace.replace("_", "-"),
        }

    def serviceaccount(self) -> Document:
        """Return an account without rights and without a token."""
        return {**self._head("v1", "ServiceAccount"), "automountServiceAccountToken": False}

    def deployment(self) -> Document:
        """Return two pods, replaced one by one; each can finish its requests."""
        settings = self._settings
        spec = pod(self._name, container(settings), settings.grace_seconds)
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": self._selected},
            }
        ]
        metadata = {"labels": self._selected, "annotations": {SCRAPE_ANNOTATION: "true"}}
        return {
            **self._head("apps/v1", "Deployment"),
            "spec": {
                "replicas": 2,
                "revisionHistoryLimit": 3,
                "selector": {"matchLabels": self._selected},
                "strategy": _rolling(surge=1, unavailable=0),
                "template": {"metadata": metadata, "spec": spec},
            },
        }

    def service(self) -> Document:
        """Return the service's address inside the cluster."""
        port = {"name": SCRAPED_PORT, "port": 80, "targetPort": SCRAPED_PORT, "protocol": "TCP"}
        spec = {"type": "ClusterIP", "selector": self._selected, "ports": [port]}
        return {**self._head("v1", "Service"), "spec": spec}

    def peers(self) -> Document:
        """Return a name that leads to every pod, also to one that stops: pods ask each other.

        Without the labels of the service, so that the operator scrapes each pod once.
        """
        metadata = {"name": self._peers, "labels": {"app.kubernetes.io/name": "safelight"}}
        port = {"name": "peers", "port": self._port, "targetPort": SCRAPED_PORT, "protocol": "TCP"}
        spec = {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": self._selected,
            "ports": [port],
        }
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}

    def poddisruptionbudget(self) -> Document:
        """Return a budget of one unavailable pod; a single pod does not block a drain."""
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": self._selected}}
        return {**self._head("policy/v1", "PodDisruptionBudget"), "spec": spec}

    def networkpolicy(self) -> Document:
        """Allow requests from the same namespace and Prometheus.

        Allow DNS, HTTPS and requests to the service's other pods out.
        """
        prometheus = {"matchLabels": {"kubernetes.io/metadata.name": _PROMETHEUS_NAMESPACE}}
        dns = [{"port": 53, "protocol": name} for name in ("UDP", "TCP")]
        spec = {
            "podSelector": {"matchLabels": self._selected},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [{"podSelector": {}}, {"namespaceSelector": prometheus}],
                    "ports": [{"port": SCRAPED_PORT, "protocol": "TCP"}],
                }
            ],
            "egress": [
                {"ports": [*dns, {"port": 443, "protocol": "TCP"}]},
                {
                    "to": [{"podSelector": {"matchLabels": self._selected}}],
                    "ports": [{"port": SCRAPED_PORT, "protocol": "TCP"}],
                },
            ],
        }
        return {**self._head("networking.k8s.io/v1", "NetworkPolicy"), "spec": spec}

    def servicemonitor(self) -> Document:
        """Return how the operator's Prometheus scrapes the pods, and the job's name.

        The operator adds its own relabelings before these.
        """
        node = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
        endpoint = {
            "port": SCRAPED_PORT,
            "path": "/metrics",
            "honorLabels": True,  # the `namespace` of a metric wins over that of the pod
            "interval": SCRAPE_INTERVAL,
            "scrapeTimeout": SCRAPE_INTERVAL,
            "relabelings": [
                {"action": "replace", **node},
                {"action": "labeldrop", "regex": ROUTE_LABEL},
            ],
            "metricRelabelings": _restored("namespace"),
        }
        spec = {
            "jobLabel": JOB_LABEL,
            "selector": {"matchLabels": self._selected},
            "sampleLimit": 10_000,
            "endpoints": [endpoint],
        }
        return self._operator("ServiceMonitor", spec)

    def rules(self, text: str) -> Document:
        """Return every rule of a rule file."""
        return self._operator("PrometheusRule", yaml.safe_load(text))

    def board(self, name: str, text: str) -> Document:
        """Return a dashboard as a ConfigMap with the label for the sidecar of Grafana's chart."""
        metadata = {
            "name": f"safelight-board-{name.removesuffix('.json')}",
            "labels": {"app.kubernetes.io/name": "safelight", "grafana_dashboard": "1"},
            "annotations": {"grafana_folder": "Safelight"},
        }
        if len(text.encode()) >= _MAX_BYTES:
            text = json.dumps(json.loads(text), ensure_ascii=False, sort_keys=True)
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {name: Block(text)},
        }

    def gpus(self) -> Document:
        """Return the patch that gives each pod a GPU.

        A rollout stops a pod before it starts the next: few clusters have a spare GPU.
        """
        spec = {
            "containers": [{"name": "safelight", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
            ],
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self._name},
            "spec": {"strategy": _rolling(surge=0, unavailable=1), "template": {"spec": spec}},
        }

    def _operator(self, kind: str, spec: Document) -> Document:
        """Return a resource of the Prometheus Operator."""
        return {**self._head("monitoring.coreos.com/v1", kind, **_OPERATOR_LABELS), "spec": spec}

    def _head(self, version: str, kind: str, **labels: str) -> Document:
        metadata = {"name": self._name, "labels": {**self._selected, **labels}}
        return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _text(manifest: Document) -> str:
    return yaml_text(manifest, _HEADER)


def _restored(label: str) -> list[Document]:
    """Return how a metric gets its own label back, if the operator ignores `honorLabels`."""
    renamed = f"exported_{label}"
    own = {"sourceLabels": [renamed], "regex": "(.+)", "targetLabel": label}
    return [{"action": "replace", **own}, {"action": "labeldrop", "regex": renamed}]


def _rolling(*, surge: int, unavailable: int) -> Document:
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
    }


def _kustomization(resources: list[str]) -> Document:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return {**kind, "resources": resources}


def _component(**content: object) -> Document:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    return {**kind, **content}

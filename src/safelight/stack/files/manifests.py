"""The manifests of a service that every Kubernetes cluster accepts."""

from safelight.settings import Settings
from safelight.stack.files.discovery import JOB_LABEL, SCRAPE_ANNOTATION, SCRAPED_PORT
from safelight.stack.files.document import Document
from safelight.stack.files.pods import container, gpu_limits, gpu_tolerations, pod
from safelight.stack.files.values import Values


def resource_name(namespace: str) -> str:
    """Return the name of the resources of a service; it has at most 50 characters."""
    return f"safelight-{namespace.replace('_', '-')}"


class App:
    """The manifests of one service."""

    def __init__(self, settings: Settings, values: Values) -> None:
        self._settings = settings
        self._values = values
        self.name = resource_name(settings.namespace)
        self.image = values.image.repository
        self.selected = {
            "app.kubernetes.io/name": "safelight",
            JOB_LABEL: settings.namespace.replace("_", "-"),
        }

    def base(self) -> dict[str, Document]:
        """Return the manifests that every cluster accepts, by file name."""
        policy = {"networkpolicy": self.networkpolicy()} if self._values.network.enabled else {}
        return {
            "serviceaccount": self.serviceaccount(),
            "deployment": self.deployment(),
            "service": self.service(),
            "peers": self.peers(),
            "poddisruptionbudget": self.poddisruptionbudget(),
            **policy,
        }

    def serviceaccount(self) -> Document:
        """Return an account without rights and without a token."""
        return {**self.head("v1", "ServiceAccount"), "automountServiceAccountToken": False}

    def deployment(self) -> Document:
        """Return the pods, replaced one by one; each can finish its requests.

        A pod with a GPU or a claimed volume ends before the next starts.
        """
        service = container(self._settings, self._values, f"{self.name}-peers")
        spec = pod(self.name, service, self._settings.grace_seconds, self._values)
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": self.selected},
            }
        ]
        values = self._values
        alone = bool(values.records.claim or values.cache_claim or values.resources.gpus)
        metadata = {"labels": self.selected, "annotations": {SCRAPE_ANNOTATION: "true"}}
        return {
            **self.head("apps/v1", "Deployment"),
            "spec": {
                "replicas": self._values.replicas,
                "revisionHistoryLimit": 3,
                "selector": {"matchLabels": self.selected},
                "strategy": _rolling(surge=0 if alone else 1, unavailable=1 if alone else 0),
                "template": {"metadata": metadata, "spec": spec},
            },
        }

    def service(self) -> Document:
        """Return the service's address inside the cluster."""
        port = {"name": SCRAPED_PORT, "port": 80, "targetPort": SCRAPED_PORT, "protocol": "TCP"}
        spec = {"type": "ClusterIP", "selector": self.selected, "ports": [port]}
        return {**self.head("v1", "Service"), "spec": spec}

    def peers(self) -> Document:
        """Return the host name of all pods, by which they find a request that another pod has.

        The ServiceMonitor does not select it, so each pod is scraped once.
        """
        number = self._settings.port
        port = {"name": SCRAPED_PORT, "port": number, "targetPort": SCRAPED_PORT, "protocol": "TCP"}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": f"{self.name}-peers",
                "labels": {"app.kubernetes.io/name": "safelight-peers"},
            },
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "selector": self.selected,
                "ports": [port],
            },
        }

    def poddisruptionbudget(self) -> Document:
        """Return a budget of one unavailable pod; a single pod does not block a drain."""
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": self.selected}}
        return {**self.head("policy/v1", "PodDisruptionBudget"), "spec": spec}

    def networkpolicy(self) -> Document:
        """Allow requests from the same namespace, Prometheus and the ingress controller.

        Allow DNS, HTTPS, the other pods and the database out.
        """
        network, records = self._values.network, self._values.records
        database = [_port(records.port)] if records.kind == "postgresql" else []
        namespaces = filter(None, (network.prometheus_namespace, network.ingress_namespace))
        callers = [_namespace_selector(name) for name in dict.fromkeys(namespaces)]
        ports = [_port(53, "UDP"), _port(53), _port(443), *database]
        pods = {"podSelector": {"matchLabels": self.selected}}
        spec = {
            "podSelector": {"matchLabels": self.selected},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": {}}, *callers], "ports": [_port(SCRAPED_PORT)]}],
            "egress": [{"ports": ports}, {"to": [pods], "ports": [_port(self._settings.port)]}],
        }
        return {**self.head("networking.k8s.io/v1", "NetworkPolicy"), "spec": spec}

    def gpus(self) -> Document:
        """Return the patch that gives each pod a GPU.

        A rollout stops a pod before it starts the next: few clusters have a spare GPU.
        """
        number = max(1, self._values.resources.gpus)
        spec = {
            "containers": [{"name": "safelight", "resources": {"limits": gpu_limits(number)}}],
            "tolerations": gpu_tolerations(),
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name},
            "spec": {"strategy": _rolling(surge=0, unavailable=1), "template": {"spec": spec}},
        }

    def head(self, version: str, kind: str, **labels: str) -> Document:
        """Return the beginning of a manifest: its version, kind, name and labels."""
        metadata = {"name": self.name, "labels": {**self.selected, **labels}}
        return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _namespace_selector(name: str) -> Document:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _port(port: int | str, protocol: str = "TCP") -> Document:
    return {"port": port, "protocol": protocol}


def _rolling(*, surge: int, unavailable: int) -> Document:
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
    }

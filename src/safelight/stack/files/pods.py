"""The pod of a service: its user, probes, limits and writable folders."""

from safelight.settings import Settings, environment_name
from safelight.stack.files.discovery import SCRAPED_PORT
from safelight.stack.files.document import Document

_USER = 10001  # as in the Dockerfile
_DRAIN_SECONDS = 5  # until proxies stop sending requests to a pod that is about to end
_CLOSE_SECONDS = 5  # after the grace period, to close files and connections
_CACHE = "/home/safelight/.cache"
_KEYS_SECRET = "safelight-api-keys"
_READY, _ALIVE = "/readyz", "/healthz"


def container(settings: Settings) -> Document:
    """Return the service's container. /healthz succeeds while the model loads, /readyz after it."""
    return {
        "name": "safelight",
        "image": "safelight:local",
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(settings),
        "ports": [{"name": SCRAPED_PORT, "containerPort": settings.port, "protocol": "TCP"}],
        "startupProbe": _probe(_ALIVE, period=2, failures=60),
        "readinessProbe": _probe(_READY, period=5, failures=2),
        "livenessProbe": _probe(_ALIVE, period=10, failures=6),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_DRAIN_SECONDS)]}}},
        "resources": {
            "requests": {"cpu": "1", "memory": "2Gi", "ephemeral-storage": "1Gi"},
            "limits": {"memory": "16Gi", "ephemeral-storage": "60Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "cache", "mountPath": _CACHE},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def pod(account: str, service: Document, grace_seconds: float) -> Document:
    """Return the pod's specification: an unprivileged user, and time to finish its requests."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _DRAIN_SECONDS + int(grace_seconds) + _CLOSE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [service],
        "volumes": [
            # An overlay can claim a volume here, to keep the weights (ReadWriteMany for two pods).
            {"name": "cache", "emptyDir": {"sizeLimit": "50Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}},
        ],
    }


def _environment(settings: Settings) -> list[Document]:
    values: Document = {
        environment_name("model"): settings.model,
        environment_name("namespace"): settings.namespace,
        environment_name("port"): str(settings.port),
        environment_name("grace_seconds"): f"{settings.grace_seconds:g}",
        environment_name("peers"): settings.peers,
    }
    keys = {"name": _KEYS_SECRET, "key": "api_keys", "optional": True}
    variables: list[Document] = [{"name": name, "value": value} for name, value in values.items()]
    secret: Document = {"name": environment_name("api_keys"), "valueFrom": {"secretKeyRef": keys}}
    return [*variables, secret]


def _probe(path: str, *, period: int, failures: int) -> Document:
    return {
        "httpGet": {"path": path, "port": SCRAPED_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }

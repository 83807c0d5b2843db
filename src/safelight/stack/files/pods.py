"""The pod that a service runs in: its probes, its limits, what it may write and who it is."""

from typing import Any

from safelight.settings import Settings, environment_name
from safelight.stack.files.discovery import SCRAPED_PORT

_USER = 10001  # as in the Dockerfile
_DRAIN_SECONDS = 5  # until no proxy sends to a pod that is about to end
_LAST_MOMENTS_SECONDS = 5  # beyond its own grace, to close up
_CACHE = "/home/safelight/.cache"
_KEYS_SECRET = "safelight-api-keys"
_READY, _ALIVE = "/readyz", "/healthz"


def container(settings: Settings) -> dict[str, Any]:
    """Return the service's container; /healthz answers while the model loads, /readyz after."""
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


def pod(account: str, served: dict[str, Any], grace_seconds: float) -> dict[str, Any]:
    """Return the pod's specification: an ordinary user, and time to finish what was begun."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _DRAIN_SECONDS
        + int(grace_seconds)
        + _LAST_MOMENTS_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [served],
        "volumes": [
            # A claim in an overlay keeps the weights over restarts; ReadWriteMany for two pods.
            {"name": "cache", "emptyDir": {"sizeLimit": "50Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}},
        ],
    }


def _environment(settings: Settings) -> list[dict[str, Any]]:
    told = {
        environment_name("model"): settings.model,
        environment_name("namespace"): settings.namespace,
        environment_name("port"): str(settings.port),
        environment_name("grace_seconds"): f"{settings.grace_seconds:g}",
    }
    keys = {"name": _KEYS_SECRET, "key": "api_keys", "optional": True}
    return [
        *({"name": name, "value": value} for name, value in told.items()),
        {"name": environment_name("api_keys"), "valueFrom": {"secretKeyRef": keys}},
    ]


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": SCRAPED_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }

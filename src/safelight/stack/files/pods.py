"""The pod of a service: its user, probes, limits and writable folders."""

from safelight.settings import Settings, environment_name
from safelight.stack.files.discovery import SCRAPED_PORT
from safelight.stack.files.document import Document
from safelight.stack.files.image import CACHE, STATE, USER
from safelight.stack.files.values import Values

_DRAIN_SECONDS = 5  # until proxies stop sending requests to a pod that is about to end
_CLOSE_SECONDS = 5  # after the grace period, to close files and connections
_READY, _ALIVE = "/readyz", "/healthz"
KEYS = "/run/safelight/keys"
_RECORDS_FILE = f"sqlite:///{STATE}/records.db"


def container(settings: Settings, values: Values, peers: str) -> Document:
    """Return the service's container. /healthz succeeds while the model loads, /readyz after it.

    `peers` is the host name of all pods of the service.
    """
    image, resources = values.image, values.resources
    limits: Document = {"memory": f"{resources.memory_limit_gib}Gi", "ephemeral-storage": "60Gi"}
    secret = values.settings_secret
    return {
        "name": "safelight",
        "image": f"{image.repository}:{image.tag}",
        "imagePullPolicy": image.pull_policy,
        "env": _environment(settings, values, peers),
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
        "ports": [{"name": SCRAPED_PORT, "containerPort": settings.port, "protocol": "TCP"}],
        "startupProbe": _probe(_ALIVE, period=2, failures=60),
        "readinessProbe": _probe(_READY, period=5, failures=2),
        "livenessProbe": _probe(_ALIVE, period=10, failures=6),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_DRAIN_SECONDS)]}}},
        "resources": {
            "requests": {
                "cpu": f"{resources.cpu:g}",
                "memory": f"{resources.memory_gib}Gi",
                "ephemeral-storage": "1Gi",
            },
            "limits": {**limits, **gpu_limits(resources.gpus)},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "cache", "mountPath": CACHE},
            {"name": "state", "mountPath": STATE},
            {"name": "tmp", "mountPath": "/tmp"},
            *(_keys_mount() if values.api_keys_secret else ()),
        ],
    }


def pod(account: str, service: Document, grace_seconds: float, values: Values) -> Document:
    """Return the pod's specification: an unprivileged user, and time to finish its requests."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _DRAIN_SECONDS + int(grace_seconds) + _CLOSE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [service],
        "volumes": [
            _volume("cache", values.cache_claim, "50Gi"),
            _volume("state", values.records.claim, "4Gi"),
            _volume("tmp", "", "4Gi"),
            *_keys_volume(values.api_keys_secret),
        ],
        **({"tolerations": gpu_tolerations()} if values.resources.gpus else {}),
        **_placement(values),
    }


def _placement(values: Values) -> Document:
    """Return where the image comes from, and which nodes may run a pod."""
    secrets = [{"name": name} for name in values.image.pull_secrets]
    nodes = values.resources.node_selector
    return {
        **({"imagePullSecrets": secrets} if secrets else {}),
        **({"nodeSelector": dict(nodes)} if nodes else {}),
    }


def gpu_limits(number: int) -> Document:
    """Return the limit that gives a container that many GPUs."""
    return {"nvidia.com/gpu": number} if number else {}


def gpu_tolerations() -> list[Document]:
    """Return what lets a pod run on nodes that are reserved for GPUs."""
    return [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def _volume(name: str, claim: str, size: str) -> Document:
    if claim:
        return {"name": name, "persistentVolumeClaim": {"claimName": claim}}
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def _keys_mount() -> list[Document]:
    """Return the folder of the keys. Without `subPath`: the files there follow their Secret."""
    return [{"name": "keys", "mountPath": KEYS, "readOnly": True}]


def _keys_volume(secret: str) -> list[Document]:
    """Return the Secret with the keys. Without it the pod does not start, and says why."""
    if not secret:
        return []
    items = [{"key": "api_keys", "path": "api_keys"}]
    source: Document = {"secretName": secret, "defaultMode": 0o440, "items": items}
    return [{"name": "keys", "secret": source}]


def _environment(settings: Settings, values: Values, peers: str) -> list[Document]:
    texts: Document = {
        environment_name("model"): settings.model,
        environment_name("namespace"): settings.namespace,
        environment_name("port"): str(settings.port),
        environment_name("grace_seconds"): f"{settings.grace_seconds:g}",
        environment_name("state_folder"): STATE,
        environment_name("peers"): f"http://{peers}:{settings.port}",
    }
    variables: list[Document] = [{"name": name, "value": value} for name, value in texts.items()]
    variables.append({"name": environment_name("records_url"), **_records(values)})
    for name, text in sorted(values.settings.items()):
        variables.append({"name": environment_name(name), "value": text})
    if values.api_keys_secret:
        variables.append({"name": environment_name("api_keys_file"), "value": f"{KEYS}/api_keys"})
    return variables


def _records(values: Values) -> Document:
    """Return the database, or the Secret that has its address."""
    if values.records.kind == "postgresql":
        return _from_secret(values.records.secret, "url")
    return {"value": _RECORDS_FILE if values.records.kind == "volume" else ""}


def _from_secret(name: str, key: str) -> Document:
    """Return an entry of a Secret. Without it the pod does not start, and says why."""
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def _probe(path: str, *, period: int, failures: int) -> Document:
    return {
        "httpGet": {"path": path, "port": SCRAPED_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }

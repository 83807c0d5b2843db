"""Generate compose.yaml and its GPU override.

They contain no secret. Every port is bound to 127.0.0.1, every image has a version, and every
root file system is read-only.
"""

from safelight.settings import Settings, environment_name
from safelight.stack.files.delivered import METRICS_KEY, RELAY_TOKEN, Delivered
from safelight.stack.files.document import Document, header, yaml_text
from safelight.stack.files.elk import VOLUMES, elk_containers
from safelight.stack.files.grafana import HOME
from safelight.stack.files.image import CACHE, IMAGE, LOGS, STATE
from safelight.stack.files.restricted import health, restricted

_VERSIONS = {
    "prometheus": "prom/prometheus:v3.13.3",
    "alertmanager": "prom/alertmanager:v0.34.1",
    "grafana": "grafana/grafana:13.2.3",
    "dcgm-exporter": "nvidia/dcgm-exporter:4.6.0-4.8.3-ubuntu22.04",
}
_HEADER = header("containers")
_USAGE = """\
# Start: docker compose up --build --wait
# Another model: SAFELIGHT_MODEL=... docker compose up --build --wait
# If a port is in use: API_PORT=8001 docker compose up --build --wait
#   (also PROMETHEUS_PORT, ALERTMANAGER_PORT, GRAFANA_PORT, RELAY_PORT, GPU_EXPORTER_PORT,
#   ELASTICSEARCH_PORT, KIBANA_PORT)
# With Elasticsearch, Kibana and Filebeat, to try them (then http://127.0.0.1:5601):
#   export SAFELIGHT_LOG_OUTPUT=/var/log/safelight/safelight.log
#   docker compose --profile elk up --build --wait && sh elk/install.sh
# Memory of the service: SAFELIGHT_MEMORY=32g. Other settings: in a file compose.override.yaml.
# First write these secrets, and let containers read them: chmod 644 secrets/*
# (the folder itself keeps other users out)
#   openssl rand -base64 24 > secrets/grafana_admin   # the password of Grafana's user admin
"""
_TOKEN_USAGE = f"""\
#   openssl rand -hex 32 > secrets/{RELAY_TOKEN}   # between Alertmanager and the relay
"""
_KEY_USAGE = f"""\
#   safelight key prometheus --scope operate   # write the key to secrets/{METRICS_KEY}
"""
BOARDS_FOLDER = "/var/lib/grafana/dashboards"
PROMETHEUS_GPU = "prometheus-gpu.yml"
_PROMETHEUS_YML = "/etc/prometheus/prometheus.yml"
_MONITORING = "/etc/safelight/monitoring.toml"
_NOBODY = "65534:65534"
_GRAFANA_PASSWORD = "grafana_admin"
_RELAY = "alert-relay"


def compose_yaml(settings: Settings, delivered: Delivered, *, keyed: bool = False) -> str:
    """Return compose.yaml: the service, Prometheus, Alertmanager, Grafana, and the relay if needed.

    The containers and volumes of another service have other names. If it is keyed, Prometheus
    shows an API key to the service.
    """
    keys = (METRICS_KEY,) if keyed else ()
    services = {
        "safelight": _service(settings),
        "prometheus": _prometheus(settings.retention, (*keys, *delivered.store_secrets)),
        "alertmanager": _alertmanager(delivered),
        **({_RELAY: _relay(delivered)} if delivered.relayed else {}),
        "grafana": _grafana(),
        **elk_containers(),
    }
    volumes = ("models", "state", "logs", "prometheus", "alertmanager", "grafana", *VOLUMES)
    tokens = (RELAY_TOKEN,) if delivered.relayed else ()
    secrets = (_GRAFANA_PASSWORD, *tokens, *keys, *delivered.secrets)
    usage = _USAGE + (_TOKEN_USAGE if tokens else "") + (_KEY_USAGE if keys else "")
    usage += "".join(
        f"#   secrets/{name}   # {source} of the monitoring file\n"
        for name, source in delivered.secrets.items()
    )
    return yaml_text(
        {
            "name": f"safelight-{settings.namespace.replace('_', '-')}",
            "services": services,
            "volumes": {name: {} for name in volumes},
            "secrets": {name: {"file": f"./secrets/{name}"} for name in secrets},
        },
        _HEADER + usage,
    )


def compose_gpu_yaml() -> str:
    """Return the override that gives the service the NVIDIA GPUs and monitors them."""
    services = {
        "safelight": {"deploy": _gpus()},
        # Replaces the file of compose.yaml, which has no GPU target: it would always be down.
        "prometheus": {"volumes": [f"./compose/{PROMETHEUS_GPU}:{_PROMETHEUS_YML}:ro"]},
        "dcgm-exporter": _dcgm_exporter(),
    }
    start = "# Start: docker compose -f compose.yaml -f compose.gpu.yaml up --build --wait\n"
    return yaml_text({"services": services}, _HEADER + start)


def secrets_gitignore() -> str:
    """Return what keeps the secrets out of git."""
    return f"{_HEADER}*\n!.gitignore\n"


def _service(settings: Settings) -> Document:
    environment = {
        "model": settings.model,
        "records_url": f"sqlite:///{STATE}/records.db",
        "api_keys": "",
        "log_output": "stderr",
    }
    variables = {environment_name(field): text for field, text in environment.items()}
    return {
        "build": {"context": "..", "dockerfile": "deploy/Dockerfile"},
        "image": IMAGE,
        **restricted("8000", "API_PORT", memory="${SAFELIGHT_MEMORY:-16g}"),
        "init": True,
        "environment": {
            # `-` and not `:-`: an empty SAFELIGHT_RECORDS_URL means no records.
            **{name: f"${{{name}-{text}}}" for name, text in variables.items()},
            environment_name("namespace"): settings.namespace,
        },
        "volumes": [f"models:{CACHE}", f"state:{STATE}", f"logs:{LOGS}"],
        # Healthy is ready for requests. A model may be downloaded first.
        "healthcheck": health(_python_probe("8000/readyz"), start_period="1800s"),
    }


def _relay(delivered: Delivered) -> Document:
    """Return the relay for group chats, which also adds the first finding to each message."""
    return {
        "image": IMAGE,
        "pull_policy": "never",  # the service builds it
        **restricted("9094", "RELAY_PORT", memory="512m"),
        "init": True,
        "command": [_RELAY, f"--monitoring={_MONITORING}", "--diagnose=http://prometheus:9090"],
        "environment": {environment_name("relay_token_file"): str(delivered.token_file)},
        "volumes": [f"./compose/monitoring.toml:{_MONITORING}:ro"],
        "secrets": list(delivered.relay_secrets),
        "healthcheck": health(_python_probe("9094/healthz")),
    }


def _python_probe(address: str) -> list[str]:
    code = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{address}', timeout=3)"
    return ["CMD", "python", "-c", code]


def _prometheus(retention: str, secrets: tuple[str, ...]) -> Document:
    return {
        "image": _VERSIONS["prometheus"],
        **restricted("9090", "PROMETHEUS_PORT", memory="4g"),
        "command": [
            f"--config.file={_PROMETHEUS_YML}",
            "--storage.tsdb.path=/prometheus",
            f"--storage.tsdb.retention.time={retention}",
            "--enable-feature=exemplar-storage",
            "--web.external-url=${PROMETHEUS_URL:-http://127.0.0.1:${PROMETHEUS_PORT:-9090}}",
            "--web.route-prefix=/",
        ],
        "volumes": [
            f"./compose/prometheus.yml:{_PROMETHEUS_YML}:ro",
            "./prometheus/rules:/etc/prometheus/rules:ro",
            "prometheus:/prometheus",
        ],
        **({"secrets": list(secrets)} if secrets else {}),
        "healthcheck": _fetch("9090/-/ready"),
    }


def _alertmanager(delivered: Delivered) -> Document:
    return {
        "image": _VERSIONS["alertmanager"],
        **restricted("9093", "ALERTMANAGER_PORT", memory="512m"),
        "command": [
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--cluster.listen-address=",
            "--web.external-url=${ALERTMANAGER_URL:-http://127.0.0.1:${ALERTMANAGER_PORT:-9093}}",
            "--web.route-prefix=/",
        ],
        "volumes": [
            "./compose/alertmanager.yml:/etc/alertmanager/alertmanager.yml:ro",
            "alertmanager:/alertmanager",
        ],
        **({"secrets": list(delivered.own_secrets)} if delivered.own_secrets else {}),
        "healthcheck": _fetch("9093/-/ready"),
    }


def _dcgm_exporter() -> Document:
    """Return NVIDIA's exporter; its image has bash, but neither wget nor curl."""
    probe = (
        "exec 3<>/dev/tcp/127.0.0.1/9400; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; "
        "read -r status <&3; [[ $$status == *200* ]]"
    )
    return {
        "image": _VERSIONS["dcgm-exporter"],
        **restricted("9400", "GPU_EXPORTER_PORT", memory="1g"),
        "user": _NOBODY,
        "deploy": _gpus(),
        "healthcheck": health(["CMD", "bash", "-c", probe], start_period="60s"),
    }


def _gpus() -> Document:
    gpus = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    return {"resources": {"reservations": {"devices": [gpus]}}}


def _grafana() -> Document:
    return {
        "image": _VERSIONS["grafana"],
        **restricted("3000", "GRAFANA_PORT", memory="1g"),
        # Everyone on this machine is a viewer; the administrator's password is a secret.
        "environment": {
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_SECURITY_ADMIN_PASSWORD__FILE": f"/run/secrets/{_GRAFANA_PASSWORD}",
            "GF_LOG_MODE": "console",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": f"{BOARDS_FOLDER}/{HOME}",
        },
        "volumes": [
            f"./grafana/dashboards:{BOARDS_FOLDER}:ro",
            "./compose/datasource.yml:/etc/grafana/provisioning/datasources/safelight.yml:ro",
            "./grafana/provisioning/dashboards:/etc/grafana/provisioning/dashboards:ro",
            "grafana:/var/lib/grafana",
        ],
        "secrets": [_GRAFANA_PASSWORD],
        "depends_on": {"prometheus": {"condition": "service_healthy"}},
        "healthcheck": _fetch("3000/api/health"),
    }


def _fetch(address: str) -> Document:
    return health(["CMD", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{address}"])

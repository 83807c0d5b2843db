"""Generate compose.yaml, its GPU override and the service's Dockerfile.

They contain no secret. Every port is bound to 127.0.0.1, and every image has a version.
"""

from safelight.stack.files.document import Document, header, yaml_text
from safelight.stack.files.grafana import HOME

_VERSIONS = {
    "prometheus": "prom/prometheus:v3.13.3",
    "alertmanager": "prom/alertmanager:v0.34.1",
    "node-exporter": "prom/node-exporter:v1.12.1",
    "grafana": "grafana/grafana:13.2.3",
    "dcgm-exporter": "nvidia/dcgm-exporter:4.6.0-4.8.3-ubuntu22.04",
}
PYTHON = "python:3.11.14-slim-bookworm"
_HEADER = header("containers")
_USAGE = """\
# Start: docker compose up --build --wait
# Model: SAFELIGHT_MODEL=timbrooks/instruct-pix2pix docker compose up --build --wait
# Slack: put the webhook into a file that user 65534 can read, then run
#   SLACK_URL_FILE=/path/of/the/file ALERTMANAGER_CONFIG=slack.yml docker compose up --build --wait
"""
_SECRET = "slack_url"
SLACK_URL_FILE = f"/run/secrets/{_SECRET}"
BOARDS_FOLDER = "/var/lib/grafana/dashboards"
PROMETHEUS_GPU = "prometheus-gpu.yml"
_PROMETHEUS_YML = "/etc/prometheus/prometheus.yml"
_NOBODY = "65534:65534"


def compose_yaml(namespace: str, retention: str) -> str:
    """Return compose.yaml: the service, Prometheus, Alertmanager, node-exporter and Grafana."""
    services = {
        "safelight": _service(namespace),
        "prometheus": _prometheus(retention),
        "alertmanager": _alertmanager(),
        "node-exporter": _node_exporter(),
        "grafana": _grafana(),
    }
    volumes = ("models", "prometheus", "alertmanager", "grafana")
    return yaml_text(
        {
            "name": "safelight",
            "services": services,
            "volumes": {name: {} for name in volumes},
            # Without a webhook this file is empty and unused.
            "secrets": {_SECRET: {"file": "${SLACK_URL_FILE:-/dev/null}"}},
        },
        _HEADER + _USAGE,
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


def dockerfile() -> str:
    """Return the Dockerfile of the service, which runs as an unprivileged user."""
    return f"""{_HEADER}FROM {PYTHON}

RUN useradd --create-home --uid 10001 safelight \\
    && install -d -o safelight -g safelight /home/safelight/.cache
WORKDIR /opt/safelight
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt '.[models]'

USER 10001
WORKDIR /home/safelight
# Listen on all addresses of the container; compose.yaml limits who can reach it.
ENV SAFELIGHT_HOST=0.0.0.0 SAFELIGHT_ALLOW_ANONYMOUS=true
ENV SAFELIGHT_LOG_FORMAT=json PYTHONUNBUFFERED=1
EXPOSE 8000
ENTRYPOINT ["safelight"]
CMD ["serve"]
"""


def dockerignore() -> str:
    """Return a .dockerignore that keeps only what the image needs."""
    names = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "src")
    return _HEADER + "\n".join(["*", *(f"!{name}" for name in names), "**/__pycache__"]) + "\n"


def _service(namespace: str) -> Document:
    probe = "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"
    return {
        "build": {"context": "..", "dockerfile": "deploy/Dockerfile"},
        "image": "safelight:local",
        **_restricted("8000"),
        "init": True,
        "environment": {
            "SAFELIGHT_MODEL": "${SAFELIGHT_MODEL:-demo-edit}",
            "SAFELIGHT_NAMESPACE": namespace,
        },
        "volumes": ["models:/home/safelight/.cache"],
        "healthcheck": _health(["CMD", "python", "-c", probe], start_period="120s"),
    }


def _prometheus(retention: str) -> Document:
    return {
        "image": _VERSIONS["prometheus"],
        **_restricted("9090"),
        "command": [
            f"--config.file={_PROMETHEUS_YML}",
            "--storage.tsdb.path=/prometheus",
            f"--storage.tsdb.retention.time={retention}",
            "--enable-feature=exemplar-storage",
            "--web.external-url=${PROMETHEUS_URL:-http://127.0.0.1:9090}",
            "--web.route-prefix=/",
        ],
        "volumes": [
            f"./compose/prometheus.yml:{_PROMETHEUS_YML}:ro",
            "./prometheus/rules:/etc/prometheus/rules:ro",
            "prometheus:/prometheus",
        ],
        "healthcheck": _fetch("9090/-/ready"),
    }


def _alertmanager() -> Document:
    return {
        "image": _VERSIONS["alertmanager"],
        **_restricted("9093"),
        "command": [
            "--config.file=/etc/alertmanager/${ALERTMANAGER_CONFIG:-alertmanager.yml}",
            "--storage.path=/alertmanager",
            "--cluster.listen-address=",
            "--web.external-url=${ALERTMANAGER_URL:-http://127.0.0.1:9093}",
            "--web.route-prefix=/",
        ],
        "volumes": ["./alertmanager:/etc/alertmanager:ro", "alertmanager:/alertmanager"],
        "secrets": [_SECRET],
        "healthcheck": _fetch("9093/-/ready"),
    }


def _node_exporter() -> Document:
    return {
        "image": _VERSIONS["node-exporter"],
        **_restricted("9100"),
        "command": ["--path.rootfs=/host"],
        "pid": "host",
        "volumes": ["/:/host:ro,rslave"],
        "healthcheck": _fetch("9100/"),
    }


def _dcgm_exporter() -> Document:
    """Return NVIDIA's exporter; its image has bash, but neither wget nor curl."""
    probe = (
        "exec 3<>/dev/tcp/127.0.0.1/9400; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; "
        "read -r status <&3; [[ $$status == *200* ]]"
    )
    return {
        "image": _VERSIONS["dcgm-exporter"],
        **_restricted("9400"),
        "user": _NOBODY,
        "deploy": _gpus(),
        "healthcheck": _health(["CMD", "bash", "-c", probe], start_period="60s"),
    }


def _gpus() -> Document:
    gpus = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    return {"resources": {"reservations": {"devices": [gpus]}}}


def _grafana() -> Document:
    return {
        "image": _VERSIONS["grafana"],
        **_restricted("3000"),
        # Everyone on this machine is a viewer. No administrator exists, so no default password.
        "environment": {
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_AUTH_DISABLE_LOGIN_FORM": "true",
            "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
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
        "depends_on": {"prometheus": {"condition": "service_healthy"}},
        "healthcheck": _fetch("3000/api/health"),
    }


def _restricted(port: str) -> Document:
    """Return what every container has: one local port, no privileges, and restarts."""
    return {
        "ports": [f"127.0.0.1:{port}:{port}"],
        "restart": "unless-stopped",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }


def _fetch(address: str) -> Document:
    return _health(["CMD", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{address}"])


def _health(test: list[str], start_period: str = "30s") -> Document:
    return {
        "test": test,
        "interval": "10s",
        "timeout": "5s",
        "retries": 3,
        "start_period": start_period,
    }

"""Everything under `deploy/`, for those who run Prometheus, Grafana or containers themselves."""

from collections.abc import Mapping
from pathlib import Path

from safelight.dashboards.catalog import boards
from safelight.rules.files import rule_file
from safelight.settings import Settings
from safelight.stack.alerting import alertmanager_yml
from safelight.stack.config import document, prometheus_yml
from safelight.stack.containers import (
    SLACK_URL_FILE,
    compose_gpu_yaml,
    compose_yaml,
    dockerfile,
    dockerignore,
)
from safelight.stack.monitoring import Monitoring, Routes
from safelight.stack.receivers import Slack
from safelight.stack.services import SERVICE

Files = Mapping[str, str]

_RULES = "rules/*.yml"  # relative to prometheus.yml, here as in the container
_SLACK = Monitoring(
    receivers={"slack": Slack(kind="slack", url_file=Path(SLACK_URL_FILE))},
    routes=Routes(critical=("slack",), warning=("slack",)),
)
_BOARDS = "/var/lib/grafana/dashboards"


def deployment(namespace: str, monitoring: Monitoring | None = None) -> dict[str, str]:
    """Return every file for a service of that namespace: its path under the folder, and its text.

    Who is told of alerts, `monitoring` says; without it nobody, or Slack by a file of its own.
    Raises MissingExtra where the extra `grafana` is not installed.
    """
    return {
        **_prometheus(namespace),
        "alertmanager/alertmanager.yml": alertmanager_yml(monitoring),
        "alertmanager/slack.yml": alertmanager_yml(_SLACK),
        **_grafana(),
        "compose.yaml": compose_yaml(namespace),
        "compose.gpu.yaml": compose_gpu_yaml(),
        "Dockerfile": dockerfile(),
        "Dockerfile.dockerignore": dockerignore(),
    }


def write(folder: Path, files: Files) -> None:
    """Write the files under the folder, making what folders they need."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def drift(folder: Path, files: Files) -> list[str]:
    """Return the names of the files that are missing under the folder or say something else."""
    return [name for name, text in files.items() if _read(folder / name) != text]


def _prometheus(namespace: str) -> Files:
    """Return the configuration twice: for programs on this machine, and for containers."""
    here = Settings.model_construct()  # the defaults, whatever this machine's environment says
    address = f"{here.host}:%d"
    return {
        "prometheus/prometheus.yml": prometheus_yml(
            {SERVICE: address % here.port},
            node_exporter=address % here.node_exporter_port,
            prometheus=address % here.prometheus_port,
            alertmanager=address % here.alertmanager_port,
            rule_files=[_RULES],
        ),
        "compose/prometheus.yml": prometheus_yml(
            {SERVICE: "safelight:8000"},
            node_exporter="node-exporter:9100",
            prometheus="127.0.0.1:9090",
            alertmanager="alertmanager:9093",
            rule_files=[_RULES],
        ),
        "prometheus/rules/safelight.yml": rule_file(namespace),
    }


def _grafana() -> Files:
    # Opened late: it needs the extra `grafana`, which the rest of the package does without.
    from safelight.dashboards.grafana import as_json

    drawn = {f"grafana/dashboards/{board.uid}.json": as_json(board) for board in boards()}
    return {
        **drawn,
        "grafana/provisioning/datasources/safelight.yml": _datasource("http://127.0.0.1:9090"),
        "grafana/provisioning/dashboards/safelight.yml": _provider(),
        "compose/datasource.yml": _datasource("http://prometheus:9090"),
    }


def _datasource(url: str) -> str:
    source = {
        "name": "Prometheus",
        "uid": "safelight-prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "isDefault": True,
        "jsonData": {"timeInterval": "5s", "httpMethod": "POST"},
    }
    return document({"apiVersion": 1, "datasources": [source]})


def _provider() -> str:
    provider = {
        "name": "safelight",
        "folder": "Safelight",
        "type": "file",
        "disableDeletion": True,
        "options": {"path": _BOARDS},
    }
    return document({"apiVersion": 1, "providers": [provider]})


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None

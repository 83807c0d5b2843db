"""Grafana's own files: its data source, where its boards lie, and how `safelight up` runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safelight.dashboards.catalog import boards
from safelight.errors import MissingExtra
from safelight.rules.thresholds import Thresholds
from safelight.settings import Settings
from safelight.stack.files.config import document
from safelight.stack.programs import Program, look_for

GRAFANA = "grafana"
GRAFANA_NAMES = ("grafana", "grafana-server")
_SHARED = Path("/usr/share/grafana")  # where Debian's package keeps what the program needs
_DEFAULTS = "conf/defaults.ini"  # in every home of Grafana


@dataclass(frozen=True, slots=True)
class Planned:
    """Grafana as `safelight up` runs it: the program, and the files it reads."""

    program: Program
    files: dict[Path, str]


def board_files(limits: Thresholds | None = None) -> dict[str, str]:
    """Return every board as Grafana imports it, by its file's name, with the alerts' lines.

    Raises MissingExtra where the extra `grafana` is not installed.
    """
    # Opened late: it needs the extra `grafana`, which the rest of the package does without.
    from safelight.dashboards.grafana_json import as_json

    return {f"{board.uid}.json": as_json(board) for board in boards(limits)}


def datasource(url: str) -> str:
    """Return the provisioning file of the data source: Prometheus at that address."""
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


def provider(folder: str) -> str:
    """Return the provisioning file that has Grafana load the boards of a folder."""
    told = {
        "name": "safelight",
        "folder": "Safelight",
        "type": "file",
        "disableDeletion": True,
        "options": {"path": folder},
    }
    return document({"apiVersion": 1, "providers": [told]})


def planned(
    settings: Settings, state: Path, prometheus: str, limits: Thresholds | None = None
) -> Planned | None:
    """Return how Grafana is run and provisioned, or None where its program is not found.

    Without the extra `grafana` there are no boards to show; the data source is there all the same.
    """
    found = look_for(GRAFANA_NAMES)
    if found is None:
        return None
    config = state / "config" / "grafana"
    try:
        drawn, shows = board_files(limits), "boards"
    except MissingExtra as missing:
        drawn, shows = {}, f"Prometheus to explore; no boards: {missing}"
    files = {
        config / "grafana.ini": _ini(settings, state, config),
        config / "datasources" / "safelight.yml": datasource(prometheus),
        config / "dashboards" / "safelight.yml": provider(str(config / "boards")),
        **{config / "boards" / name: text for name, text in drawn.items()},
    }
    verb = ("server",) if Path(found).name == GRAFANA else ()
    home = f"--homepath={_home(found)}"
    command = (found, *verb, home, f"--config={config / 'grafana.ini'}")
    port = settings.grafana_port
    return Planned(Program(GRAFANA, command, settings.host, port, "/api/health", shows), files)


def _home(found: str) -> Path:
    """Return the folder of the program's own files: above it as unpacked, or where Debian's are."""
    own = Path(found).resolve().parent.parent
    return _SHARED if _SHARED.is_dir() and not (own / _DEFAULTS).is_file() else own


def _ini(settings: Settings, state: Path, config: Path) -> str:
    """Return the configuration: whoever reaches it may look, and nobody has a password to guess."""
    sections: Mapping[str, Mapping[str, object]] = {
        "paths": {
            "data": state / GRAFANA,
            "plugins": state / GRAFANA / "plugins",
            "logs": state / "logs",
            "provisioning": config,
        },
        "server": {"http_addr": settings.host, "http_port": settings.grafana_port},
        "auth": {"disable_login_form": "true"},
        "auth.anonymous": {"enabled": "true", "org_role": "Viewer"},
        "security": {"disable_initial_admin_creation": "true"},
        "analytics": {
            "reporting_enabled": "false",
            "check_for_updates": "false",
            "check_for_plugin_updates": "false",
        },
        "log": {"mode": "console", "level": "warn"},
    }
    lines = ["; Written by `safelight up` at every start."]
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in values.items())]
    return "\n".join(lines) + "\n"

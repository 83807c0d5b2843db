"""Grafana's files (data source, dashboards, settings), and how `safelight up` runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safelight.dashboards.board import Board
from safelight.dashboards.catalog import boards
from safelight.errors import MissingExtra
from safelight.rules.thresholds import Thresholds
from safelight.settings import Settings
from safelight.stack.files.document import header, yaml_text
from safelight.stack.programs import Program, look_for
from safelight.translation import Language

GRAFANA = "grafana"
GRAFANA_NAMES = ("grafana", "grafana-server")
_DEBIAN_HOME = Path("/usr/share/grafana")
_DEFAULTS = "conf/defaults.ini"  # in every home folder of Grafana
_HEADER = header("grafana")
HOME = "safelight-live.json"  # the dashboard that Grafana shows first
_NAMESPACE = "namespace"  # the variable of a service's dashboards


@dataclass(frozen=True, slots=True)
class GrafanaPlan:
    """Grafana as `safelight up` runs it: the program, and the files it reads."""

    program: Program
    files: dict[Path, str]


def board_files(
    limits: Thresholds | None = None, namespace: str | None = None, language: Language = "en"
) -> dict[str, str]:
    """Return every dashboard as JSON for Grafana, by file name, with the alerts' thresholds.

    They show the service with that namespace first. Raises MissingExtra if the extra `grafana` is
    not installed.
    """
    # Imported late: it needs the extra `grafana`, and the rest of the package does not.
    from safelight.dashboards.grafana_json import as_json

    built = tuple(_showing(board, namespace) for board in boards(limits))
    return {f"{board.uid}.json": as_json(board, built, language) for board in built}


def _showing(board: Board, namespace: str | None) -> Board:
    """Return the dashboard with that service as the first choice of its variable."""
    if namespace is None or board.is_fixed:
        return board
    variables = (
        replace(each, first=namespace) if each.name == _NAMESPACE else each
        for each in board.variables
    )
    return replace(board, variables=tuple(variables))


def datasource(url: str, trace_url: str = "") -> str:
    """Return the provisioning file of the data source: Prometheus at that address.

    An exemplar leads to its trace at `trace_url`, or else in Grafana's own source of traces.
    """
    source = {
        "name": "Prometheus",
        "uid": "safelight-prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "isDefault": True,
        "jsonData": {
            "timeInterval": "5s",
            "httpMethod": "POST",
            "exemplarTraceIdDestinations": [_trace(trace_url), _RECORD],
        },
    }
    return yaml_text({"apiVersion": 1, "datasources": [source]}, _HEADER)


_VALUE = "$${__value.raw}"  # "$$" is "$" in a file of Grafana's provisioning
_RECORD = {
    "name": "request_id",
    "url": f"http://127.0.0.1:8001/requests/{_VALUE}",  # the console's page of a request
    "urlDisplayLabel": "Record in the console; or: safelight show ID",
}


def _trace(trace_url: str) -> dict[str, str]:
    """Return the link of an exemplar to its trace: to a page, or to the source with this uid."""
    place = {"url": trace_url.replace("{trace_id}", _VALUE)} if trace_url else {}
    return {"name": "trace_id", "urlDisplayLabel": "Trace", **(place or {"datasourceUid": "tempo"})}


def dashboard_provider(folder: str) -> str:
    """Return the provisioning file that makes Grafana load the dashboards in a folder."""
    provider = {
        "name": "safelight",
        "folder": "Safelight",
        "type": "file",
        "disableDeletion": False,  # a dashboard whose file is gone disappears
        "options": {"path": folder},
    }
    return yaml_text({"apiVersion": 1, "providers": [provider]}, _HEADER)


def grafana_plan(
    settings: Settings,
    state: Path,
    prometheus: str,
    limits: Thresholds | None = None,
    namespace: str | None = None,
    language: Language = "en",
) -> GrafanaPlan | None:
    """Return how to run and provision Grafana, or None if its program is not installed.

    Without the extra `grafana` there is only the data source, and no dashboard.
    """
    executable = look_for(GRAFANA_NAMES)
    if executable is None:
        return None
    config = state / "config" / "grafana"
    try:
        dashboards, shows = board_files(limits, namespace, language), "dashboards"
    except MissingExtra as error:
        dashboards, shows = {}, f"Explore with Prometheus; no dashboards: {error}"
    home = config / "boards" / HOME if HOME in dashboards else None
    files = {
        config / "grafana.ini": _ini(settings, state, config, home),
        config / "datasources" / "safelight.yml": datasource(prometheus, settings.trace_url),
        config / "dashboards" / "safelight.yml": dashboard_provider(str(config / "boards")),
        **{config / "boards" / name: text for name, text in dashboards.items()},
    }
    subcommand = ("server",) if Path(executable).name == GRAFANA else ()
    home_path = f"--homepath={_home(executable)}"
    command = (executable, *subcommand, home_path, f"--config={config / 'grafana.ini'}")
    port = settings.grafana_port
    return GrafanaPlan(Program(GRAFANA, command, settings.host, port, "/api/health", shows), files)


def _home(executable: str) -> Path:
    """Return Grafana's home folder: above the unpacked program, or Debian's folder."""
    unpacked = Path(executable).resolve().parent.parent
    if _DEBIAN_HOME.is_dir() and not (unpacked / _DEFAULTS).is_file():
        return _DEBIAN_HOME
    return unpacked


def _ini(settings: Settings, state: Path, config: Path, home: Path | None) -> str:
    """Return grafana.ini: anonymous users are viewers, and there is no administrator."""
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
        **({"dashboards": {"default_home_dashboard_path": home}} if home else {}),
    }
    lines = ["; Written by `safelight up` at every start."]
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in values.items())]
    return "\n".join(lines) + "\n"

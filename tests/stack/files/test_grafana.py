import json
import sys
import threading
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from safelight.errors import MissingExtra
from safelight.rules.thresholds import default_limits
from safelight.settings import load
from safelight.stack.files import grafana
from safelight.stack.files.grafana import GRAFANA, GrafanaPlan, board_files, grafana_plan
from safelight.stack.local import PROMETHEUS, Plan, Stack, plan
from tests.asking import HTTP
from tests.stack.waiting import free_ports, stub_programs

WATCHERS = ("prometheus", "prometheus-alertmanager")
# A Grafana that ends at once if the real one could not start with its configuration.
PROGRAM = """#!{python}
import sys
from configparser import ConfigParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

options = dict(part.removeprefix("--").split("=", 1) for part in sys.argv[1:] if "=" in part)
if Path(sys.argv[0]).name == "grafana" and sys.argv[1] != "server":
    sys.exit("grafana: no subcommand")
if not Path(options["homepath"], "conf", "defaults.ini").is_file():
    sys.exit("Could not find config defaults, make sure homepath command line parameter is set")
config = ConfigParser()
config.read_string(Path(options["config"]).read_text())
provisioning = Path(config["paths"]["provisioning"])
for name in ("datasources/safelight.yml", "dashboards/safelight.yml"):
    if not (provisioning / name).is_file():
        sys.exit(f"no {{name}}")
Path(config["paths"]["data"]).mkdir(parents=True)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
    def log_message(self, *args): pass

server = config["server"]
HTTPServer((server["http_addr"], int(server["http_port"])), Handler).serve_forever()
"""


def pause(_seconds: float) -> bool:
    return threading.Event().wait(0.05)


def unpacked(folder: Path, name: str = GRAFANA) -> Path:
    """Create an unpacked Grafana, and return the folder of its program, for PATH."""
    (folder / "conf").mkdir(parents=True)
    (folder / "conf/defaults.ini").touch()
    (folder / "bin").mkdir()
    (folder / "bin" / name).write_text(PROGRAM.format(python=sys.executable))
    (folder / "bin" / name).chmod(0o755)
    return folder / "bin"


def plan_in(tmp_path: Path, **chosen: Any) -> GrafanaPlan:
    settings = load(state_folder=tmp_path / "state", **chosen)
    planned = grafana_plan(settings, tmp_path / "state", "http://127.0.0.1:9090")
    assert planned is not None
    return planned


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = unpacked(tmp_path / "grafana-13")
    monkeypatch.setenv("PATH", f"{folder}:{stub_programs(tmp_path / 'bin', *WATCHERS)}")
    return folder


def read(planned: GrafanaPlan, name: str) -> str:
    [text] = [text for path, text in planned.files.items() if path.match(name)]
    return text


def test_without_grafana_nothing_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", *WATCHERS))
    settings = load(state_folder=tmp_path)
    assert grafana_plan(settings, tmp_path, "http://127.0.0.1:9090") is None
    assert GRAFANA not in [program.name for program in plan(settings).programs]


@pytest.mark.usefixtures("bin_folder")
def test_grafana_queries_the_prometheus_of_the_plan(tmp_path: Path) -> None:
    settings = load(state_folder=tmp_path / "state", prometheus_port=1234, grafana_port=1235)
    stack_plan = plan(settings)
    assert stack_plan.find(GRAFANA).url == "http://127.0.0.1:1235"
    [text] = [text for path, text in stack_plan.files.items() if path.match("datasources/*.yml")]
    [source] = yaml.safe_load(text)["datasources"]
    assert source["url"] == stack_plan.find(PROMETHEUS).url


@pytest.mark.usefixtures("bin_folder")
def test_it_is_provisioned_with_every_dashboard(tmp_path: Path) -> None:
    planned = plan_in(tmp_path)
    [provider] = yaml.safe_load(read(planned, "dashboards/safelight.yml"))["providers"]
    folder = Path(provider["options"]["path"])
    assert {path.name: text for path, text in planned.files.items() if path.parent == folder} == (
        board_files()
    )


@pytest.mark.usefixtures("bin_folder")
def test_anonymous_users_are_viewers_and_there_is_no_administrator(tmp_path: Path) -> None:
    config = ConfigParser()
    config.read_string(read(plan_in(tmp_path), "grafana.ini"))
    assert config["server"]["http_addr"] == "127.0.0.1"
    assert dict(config["auth.anonymous"]) == {"enabled": "true", "org_role": "Viewer"}
    assert config["security"]["disable_initial_admin_creation"] == "true"
    assert config["analytics"]["reporting_enabled"] == "false"
    assert all(str(tmp_path) in path for path in config["paths"].values())


@pytest.mark.usefixtures("bin_folder")
def test_the_live_dashboard_is_the_home_page(tmp_path: Path) -> None:
    planned = plan_in(tmp_path)
    config = ConfigParser()
    config.read_string(read(planned, "grafana.ini"))
    home = Path(config["dashboards"]["default_home_dashboard_path"])
    assert json.loads(planned.files[home])["uid"] == "safelight-live"


@pytest.mark.usefixtures("bin_folder")
def test_a_dashboard_without_a_file_disappears(tmp_path: Path) -> None:
    [provider] = yaml.safe_load(read(plan_in(tmp_path), "dashboards/safelight.yml"))["providers"]
    assert provider["disableDeletion"] is False


def first_namespaces(files: dict[str, str]) -> dict[str, str]:
    """Return the namespace that each dashboard shows first, by uid."""
    return {
        Path(name).stem: variable.get("current", {}).get("value", variable["query"])
        for name, text in files.items()
        for variable in json.loads(text)["templating"]["list"]
        if variable["name"] == "namespace"
    }


def test_the_dashboards_show_the_namespace_first_except_those_of_one_family() -> None:
    before, after = first_namespaces(board_files()), first_namespaces(board_files(None, "photos"))
    families = {uid for uid, namespace in after.items() if namespace != "photos"}
    assert families == {"safelight-recognition", "safelight-z-image"}
    assert all(after[uid] == before[uid] for uid in families)
    assert after["safelight-live"] == "photos"


@pytest.mark.usefixtures("bin_folder")
def test_a_stack_shows_its_first_service_first_with_its_limits(tmp_path: Path) -> None:
    settings = load(state_folder=tmp_path / "state")
    planned = plan(settings, ["demo-generate", "demo-edit"])
    [text] = [text for path, text in planned.files.items() if path.name == "safelight-live.json"]
    assert first_namespaces({"safelight-live.json": text}) == {"safelight-live": "zimage"}
    assert text == board_files(default_limits("zimage"), "zimage")["safelight-live.json"]


def test_the_older_program_needs_no_subcommand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(unpacked(tmp_path / "old", "grafana-server")))
    assert plan_in(tmp_path).program.command[1].startswith("--homepath=")


def test_debians_program_has_another_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "sbin", GRAFANA))
    monkeypatch.setattr(grafana, "_DEBIAN_HOME", tmp_path / "share")
    (tmp_path / "share").mkdir()
    assert f"--homepath={tmp_path / 'share'}" in plan_in(tmp_path).program.command


@pytest.mark.usefixtures("bin_folder")
def test_without_the_extra_there_are_no_dashboards_and_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> dict[str, str]:
        raise MissingExtra("grafana", "grafana_foundation_sdk")

    monkeypatch.setattr(grafana, "board_files", missing)
    planned = plan_in(tmp_path)
    assert "pip install 'safelight[grafana]'" in planned.program.shows
    assert not [path for path in planned.files if path.suffix == ".json"]
    assert "default_home_dashboard_path" not in read(planned, "grafana.ini")


def test_a_dashboard_file_is_json_with_its_uid_as_name() -> None:
    for name, text in board_files().items():
        assert json.loads(text)["uid"] == Path(name).stem


@pytest.mark.parametrize("name", grafana.GRAFANA_NAMES)
def test_r3_an_installed_grafana_is_started(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(unpacked(tmp_path / "grafana-13", name)))
    planned = plan_in(tmp_path, grafana_port=free_ports(1)[0])
    alone = Plan((planned.program,), planned.files, tmp_path / "state")
    stack = Stack(alone, load(), lambda _: None, pause)
    try:
        assert stack.start(), "and it ended at once if its configuration was not there"
        assert HTTP.get(f"{planned.program.url}/api/health").status_code == httpx.codes.OK
    finally:
        stack.stop()

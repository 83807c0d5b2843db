from pathlib import Path

import pytest
import yaml

from safelight.errors import BadSetting, MissingProgram
from safelight.settings import Settings, load
from safelight.stack.local import ALERTMANAGER, NODE_EXPORTER, PROMETHEUS, plan
from safelight.stack.services import ALERT_RELAY, CONSOLE, SERVICE
from tests.stack.waiting import stub_programs

ALL = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")

# ── The plan ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", *ALL))
    return tmp_path / "bin"


def settings(tmp_path: Path, **chosen: object) -> Settings:
    return load(state_folder=tmp_path / "state", **chosen)


@pytest.mark.usefixtures("programs")
def test_the_plan_starts_the_service_before_its_monitoring(tmp_path: Path) -> None:
    names = [program.name for program in plan(settings(tmp_path)).programs]
    assert names == [SERVICE, PROMETHEUS, ALERTMANAGER, NODE_EXPORTER]


@pytest.mark.usefixtures("programs")
def test_the_console_starts_last_and_only_this_machine_reaches_it(tmp_path: Path) -> None:
    planned = plan(settings(tmp_path, host="0.0.0.0", console_port=1005), with_console=True)
    console = planned.programs[-1]
    assert (console.name, console.url) == (CONSOLE, "http://127.0.0.1:1005")
    assert planned.find(PROMETHEUS).url in console.command


@pytest.mark.parametrize("name", ["tls_certificate", "tls_key"])
def test_the_stack_of_this_machine_refuses_tls(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="`safelight up` serves http only"):
        plan(settings(tmp_path, **{name: tmp_path / "file.pem"}))


@pytest.mark.usefixtures("programs")
def test_every_program_listens_on_its_configured_address(tmp_path: Path) -> None:
    planned = plan(
        settings(
            tmp_path,
            host="127.0.0.9",
            port=1001,
            prometheus_port=1002,
            alertmanager_port=1003,
            node_exporter_port=1004,
        )
    )
    for port, program in enumerate(planned.programs, 1001):
        assert program.url == f"http://127.0.0.9:{port}"
        command = " ".join(program.command)
        assert f"127.0.0.9:{port}" in command or f"--host 127.0.0.9 --port {port}" in command


@pytest.mark.usefixtures("programs")
def test_the_service_gets_the_settings_as_flags(tmp_path: Path) -> None:
    chosen = settings(
        tmp_path,
        model="a/b",
        namespace="zimage",
        devices="cuda:1",
        precision="bfloat16",
        queue_limit=7,
        taxonomy=Path("types.yaml"),
    )
    command = plan(chosen).find(SERVICE).command
    for flag, value in (
        ("serve", "a/b"),
        ("--namespace", "zimage"),
        ("--devices", "cuda:1"),
        ("--precision", "bfloat16"),
        ("--queue-limit", "7"),
        ("--taxonomy", "types.yaml"),
    ):
        assert command[command.index(flag) + 1] == value


@pytest.mark.usefixtures("programs")
def test_prometheus_has_every_target_the_rules_and_alertmanager(tmp_path: Path) -> None:
    planned = plan(settings(tmp_path, port=1001, namespace="zimage"))
    files = {path.name: text for path, text in planned.files.items()}
    config = yaml.safe_load(files["prometheus.yml"])
    jobs = {job["job_name"]: job["static_configs"] for job in config["scrape_configs"]}
    assert jobs[SERVICE] == [{"targets": ["127.0.0.1:1001"]}]
    assert jobs["node"] == [{"targets": ["127.0.0.1:9100"]}]
    [rules] = config["rule_files"]
    assert Path(rules) in planned.files
    assert "zimage_" in files["rules.yml"]
    assert "127.0.0.1:9093" in str(config["alerting"])
    assert "exemplar-storage" in " ".join(planned.find(PROMETHEUS).command)


def test_node_exporter_is_optional(programs: Path, tmp_path: Path) -> None:
    (programs / "prometheus-node-exporter").unlink()
    planned = plan(settings(tmp_path))
    assert [program.name for program in planned.programs] == [SERVICE, PROMETHEUS, ALERTMANAGER]
    assert "job_name: node" not in "".join(planned.files.values())


@pytest.mark.parametrize("missing", ALL[:2])
def test_without_prometheus_or_alertmanager_there_is_no_plan(
    missing: str, programs: Path, tmp_path: Path
) -> None:
    (programs / missing).unlink()
    with pytest.raises(MissingProgram, match=f"apt-get install {missing}"):
        plan(settings(tmp_path))


def monitoring_file(folder: Path, text: str) -> Path:
    (folder / "url").write_text("https://example.org/hook")
    (folder / "monitoring.toml").write_text(text)
    return folder / "monitoring.toml"


@pytest.mark.usefixtures("programs")
def test_a_robot_needs_the_relay_which_prometheus_and_alertmanager_can_reach(
    tmp_path: Path,
) -> None:
    text = '[receivers.group]\nkind = "wecom"\nurl_file = "url"\n[routes]\ncritical = ["group"]\n'
    file = monitoring_file(tmp_path, text)
    planned = plan(settings(tmp_path, monitoring=file, alert_relay_port=1005))
    names = [program.name for program in planned.programs]
    assert names == [SERVICE, PROMETHEUS, ALERT_RELAY, ALERTMANAGER, NODE_EXPORTER]
    command = planned.find(ALERT_RELAY).command
    assert command[command.index("--monitoring") + 1] == str(file)
    assert command[command.index("--port") + 1] == "1005"
    files = {path.name: text for path, text in planned.files.items()}
    assert "http://127.0.0.1:1005/group" in files["alertmanager.yml"]
    assert "job_name: alert-relay" in files["prometheus.yml"]


@pytest.mark.usefixtures("programs")
def test_without_receivers_there_is_no_relay(tmp_path: Path) -> None:
    planned = plan(settings(tmp_path, monitoring=monitoring_file(tmp_path, "")))
    assert ALERT_RELAY not in [program.name for program in planned.programs]
    files = {path.name: text for path, text in planned.files.items()}
    assert "runbook_url: docs/runbooks.md#" in files["rules.yml"]


@pytest.mark.usefixtures("programs")
def test_a_receiver_that_needs_no_relay_still_gets_links_to_its_runbooks(tmp_path: Path) -> None:
    text = '[receivers.phone]\nkind = "slack"\nurl_file = "url"\n[routes]\ncritical = ["phone"]\n'
    planned = plan(settings(tmp_path, monitoring=monitoring_file(tmp_path, text)))
    relay = planned.find(ALERT_RELAY)
    assert ("--diagnose", planned.find(PROMETHEUS).url) == relay.command[-2:]
    files = {path.name: text for path, text in planned.files.items()}
    assert f"api_url_file: {tmp_path / 'url'}" in files["alertmanager.yml"]
    page = f"{relay.url}/runbooks?namespace=instructpix2pix#requestp95high"
    assert f"runbook_url: {page}" in files["rules.yml"]


@pytest.mark.usefixtures("programs")
def test_the_rules_have_the_language_of_the_monitoring_file(tmp_path: Path) -> None:
    planned = plan(settings(tmp_path, monitoring=monitoring_file(tmp_path, 'language = "zh"')))
    assert "请求 P95 超过" in planned.files[tmp_path / "state" / "config" / "rules.yml"]


@pytest.mark.usefixtures("programs")
def test_with_a_wrong_monitoring_file_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="there is no receiver 'unknown'"):
        plan(
            settings(
                tmp_path, monitoring=monitoring_file(tmp_path, '[routes]\ninfo = ["unknown"]\n')
            )
        )


@pytest.mark.usefixtures("programs")
def test_two_programs_cannot_share_a_port(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="prometheus and alertmanager have the same port 9093"):
        plan(settings(tmp_path, prometheus_port=9093))

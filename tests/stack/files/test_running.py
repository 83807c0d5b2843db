"""Start what the export says, under the same restrictions, and follow its health checks.

There is no Docker here: bubblewrap and `unshare` reproduce users, environment, mounts, read-only
paths and networks. Grafana and NVIDIA's exporter cannot be had. docs/export.md says what ran.
"""

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml

from safelight.stack.files.export import Choices, deployment
from safelight.stack.files.folder import write
from safelight.stack.files.image import USER
from safelight.stack.files.systemd import PROGRAM, unit_name
from safelight.stack.monitoring import read
from safelight.stack.tools.samples import photo
from tests.stack.sandbox import Container, Network, network, started, stop
from tests.stack.waiting import eventually

HOME = "/home/safelight"
CANNOT_BE_HAD = ("grafana", "elasticsearch", "kibana", "filebeat")
PROGRAMS = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager",)}
MONITORING = """
[receivers.hook]
kind = "webhook"
url_file = "hook"
[routes]
critical = ["hook"]
"""
RECEIVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        open("/received/alert.json", "wb").write(body)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 7000), Handler).serve_forever()
"""
FETCH = "import httpx, sys; print(httpx.get(sys.argv[1], timeout=5).raise_for_status().text)"
EDIT = """
import httpx, sys
files, data = {"image": open("/portrait.jpg", "rb")}, {"instruction": "make him old"}
answer = httpx.post(sys.argv[1] + "/api/edit", files=files, data=data, timeout=60)
print(answer.status_code, answer.headers["x-request-id"])
"""


def interpolated(text: str) -> str:
    """Return a value of a compose file with the defaults of its variables, as compose does."""
    inner = re.compile(r"\$\{\w+:?-([^${}]*)\}")
    while inner.search(text):
        text = inner.sub(r"\1", text)
    return text.replace("$$", "$")


def image_environment(dockerfile: str) -> dict[str, str]:
    lines = re.findall(r"^ENV (.*)$", dockerfile, flags=re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def fetched(net: Network, container: Container, url: str) -> str:
    return net.run(container, (sys.executable, "-c", FETCH, url)).stdout


def edited(net: Network, folder: Path, url: str) -> str:
    """Send an edit to the service, and return the request's id."""
    (folder / "portrait.jpg").write_bytes(photo(256, 256, 1))
    caller = Container(USER, mounts={"/portrait.jpg": folder / "portrait.jpg"})
    done = net.run(caller, (sys.executable, "-c", EDIT, url))
    status, _, request_id = done.stdout.strip().partition(" ")
    assert status == "200", done.stdout + done.stderr
    return request_id


def stored(database: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute("select request_id from safelight_requests")]


# ── Compose ──────────────────────────────────────────────────────────────────────────────────────


class Compose:
    """The exported containers, as commands with their mounts, volumes and secrets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "deploy"
        self.volumes = folder / "volumes"
        file = folder / "monitoring.toml"
        file.write_text(MONITORING)
        monitoring = read(file, secrets_here=False)
        files = deployment(Choices("instructpix2pix", monitoring=monitoring), "compose")
        write(self.folder, files)
        self.document: dict[str, Any] = yaml.safe_load(files["compose.yaml"])
        self._image = image_environment(files["Dockerfile"])
        for name in self.document["volumes"]:
            (self.volumes / name).mkdir(parents=True)
        (self.folder / "secrets" / "hook_url").write_text("http://127.0.0.1:7000/hook\n")
        (self.folder / "secrets" / "relay_token").write_text("a-token\n")
        self.services: dict[str, dict[str, Any]] = {
            name: service
            for name, service in self.document["services"].items()
            if name not in CANNOT_BE_HAD
        }

    def container(self, name: str) -> Container:
        service = self.services[name]
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        mounts, writable = {}, {}
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            if source in self.document["volumes"]:
                writable[target] = self.volumes / source
            else:
                mounts[target] = self.folder / source
        for secret in service.get("secrets", ()):
            mounts[f"/run/secrets/{secret}"] = (
                self.folder / self.document["secrets"][secret]["file"]
            )
        own = {key: interpolated(text) for key, text in service.get("environment", {}).items()}
        built_here = service["image"] == "safelight:local"
        environment = {**self._image, **own} if built_here else own
        return Container(USER, environment, mounts, writable, HOME if built_here else "/")

    def command(self, name: str) -> tuple[str, ...]:
        given = [interpolated(part) for part in self.services[name].get("command", ())]
        if name in PROGRAMS:
            return (*PROGRAMS[name], *given)
        return ("safelight", *(given or ["serve"]))

    def health_check(self, name: str) -> tuple[str, ...]:
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return tuple(command)


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Compose, Network, Path]]:
    folder = tmp_path_factory.mktemp("compose")
    composed = Compose(folder)
    (folder / "received").mkdir()
    receiver = Container(USER, writable={"/received": folder / "received"})
    with ExitStack() as stack:
        net = stack.enter_context(network(folder / "net", *composed.services))
        commands = {name: composed.command(name) for name in composed.services}
        containers = {name: composed.container(name) for name in composed.services}
        stack.enter_context(
            started(net, receiver, (sys.executable, "-c", RECEIVER), folder / "receiver.log")
        )
        for name, command in commands.items():
            log = folder / f"{name}.log"
            stack.enter_context(started(net, containers[name], command, log))
        for name, container in containers.items():
            check = composed.health_check(name)
            eventually(
                lambda one=container, test=check: net.answers(one, test),  # type: ignore[misc]
                within=90,
                what=f"{name} is healthy: {(folder / f'{name}.log').read_text()[-2000:]}",
            )
        yield composed, net, folder


def test_every_container_becomes_healthy(compose: tuple[Compose, Network, Path]) -> None:
    composed, net, _ = compose
    assert set(composed.services) == {"safelight", "prometheus", "alertmanager", "alert-relay"}
    for name in composed.services:
        assert net.answers(composed.container(name), composed.health_check(name)), name


def test_the_root_of_a_container_is_read_only(compose: tuple[Compose, Network, Path]) -> None:
    composed, net, _ = compose
    container = composed.container("safelight")
    for path in ("/file", "/etc/file", f"{HOME}/file", "/opt/file"):
        assert not net.answers(container, ("touch", path)), path
    assert net.answers(container, ("touch", "/var/lib/safelight/file"))


def test_a_request_is_served_and_its_record_is_on_the_volume(
    compose: tuple[Compose, Network, Path],
) -> None:
    composed, net, folder = compose
    request_id = edited(net, folder, "http://safelight:8000")
    database = composed.volumes / "state" / "records.db"
    eventually(lambda: request_id in stored(database), within=10, what="the record is stored")


def test_prometheus_scrapes_every_container(compose: tuple[Compose, Network, Path]) -> None:
    composed, net, _ = compose
    asker = composed.container("prometheus")

    def up() -> dict[str, str]:
        text = fetched(net, asker, "http://prometheus:9090/api/v1/targets")
        targets = json.loads(text)["data"]["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in targets}

    jobs = ("safelight", "prometheus", "alertmanager", "alert-relay")
    expected = dict.fromkeys(jobs, "up")
    eventually(lambda: up() == expected, within=30, what="every target is up")


def test_prometheus_loads_the_rules_and_knows_alertmanager(
    compose: tuple[Compose, Network, Path],
) -> None:
    composed, net, _ = compose
    asker = composed.container("prometheus")
    rules = json.loads(fetched(net, asker, "http://prometheus:9090/api/v1/rules"))
    assert "instructpix2pix-levels" in [group["name"] for group in rules["data"]["groups"]]
    text = fetched(net, asker, "http://prometheus:9090/api/v1/alertmanagers")
    [active] = json.loads(text)["data"]["activeAlertmanagers"]
    assert active["url"] == "http://alertmanager:9093/api/v2/alerts"


def test_an_alert_reaches_its_receiver_through_the_relay(
    compose: tuple[Compose, Network, Path],
) -> None:
    composed, net, folder = compose
    add = ("amtool", "--alertmanager.url=http://alertmanager:9093", "alert", "add")
    labels = ("NoWorkerReady", "severity=critical", "job=safelight", "service=instructpix2pix")
    done = net.run(composed.container("alertmanager"), (*add, *labels))
    assert done.returncode == 0, done.stderr
    received = folder / "received" / "alert.json"
    eventually(received.exists, within=30, what="the receiver got the alert")
    eventually(lambda: "NoWorkerReady" in received.read_text(), within=5, what="it names the alert")


def test_only_alertmanager_may_send_to_the_group_chat(
    compose: tuple[Compose, Network, Path],
) -> None:
    composed, net, _ = compose
    post = "import httpx, sys; print(httpx.post(sys.argv[1], json={}, timeout=5).status_code)"
    command = (sys.executable, "-c", post, "http://alert-relay:9094/hook")
    assert net.run(composed.container("safelight"), command).stdout == "401\n"


def test_the_relay_does_not_start_without_its_secret(
    compose: tuple[Compose, Network, Path],
) -> None:
    composed, net, _ = compose
    whole = composed.container("alert-relay")
    mounts = {to: at for to, at in whole.mounts.items() if not to.startswith("/run/secrets")}
    lacking = Container(whole.user, whole.environment, mounts, home=whole.home)
    done = net.run(lacking, composed.command("alert-relay"))
    assert done.returncode == 2
    assert "receivers.hook.url_file: /run/secrets/hook_url cannot be read" in done.stderr


# ── Kubernetes ───────────────────────────────────────────────────────────────────────────────────


def test_the_container_of_a_pod_serves_with_a_read_only_root(tmp_path: Path) -> None:
    files = deployment(Choices("instructpix2pix"), "kubernetes")
    pod = yaml.safe_load(files["kubernetes/deployment.yaml"])["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    image = image_environment(deployment(Choices("instructpix2pix"), "compose")["Dockerfile"])
    variables = {each["name"]: each["value"] for each in container["env"]}
    writable = {}
    for mount in container["volumeMounts"]:
        if mount["mountPath"] != "/tmp":
            writable[mount["mountPath"]] = tmp_path / mount["name"]
            (tmp_path / mount["name"]).mkdir()
    user = pod["securityContext"]["runAsUser"]
    seen = Container(user, {**image, **variables}, {}, writable, HOME)
    peers = yaml.safe_load(files["kubernetes/peers.yaml"])["metadata"]["name"]
    with network(tmp_path / "net", peers) as net:
        command = ("safelight", "serve")
        with started(net, seen, command, tmp_path / "pod.log") as process:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                path = container[probe]["httpGet"]["path"]
                url = f"http://127.0.0.1:{container['ports'][0]['containerPort']}{path}"
                eventually(
                    lambda at=url: fetched(net, seen, at),  # type: ignore[misc]
                    within=90,
                    what=f"the {probe} succeeds: {(tmp_path / 'pod.log').read_text()[-2000:]}",
                )
            request_id = edited(net, tmp_path, "http://127.0.0.1:8000")
            database = tmp_path / "state" / "records.db"
            eventually(lambda: request_id in stored(database), within=10, what="it is stored")
            seconds = pod["terminationGracePeriodSeconds"]
            assert stop(process, within=seconds) == 0
    assert request_id in stored(database)


# ── systemd ──────────────────────────────────────────────────────────────────────────────────────

UNIT = deployment(Choices("zimage_turbo", "demo-generate", 8123), "systemd")[
    f"systemd/{unit_name('zimage_turbo')}"
]


def settings_of(unit: str) -> Mapping[str, list[str]]:
    pairs = [line.split("=", 1) for line in unit.splitlines() if re.match(r"\w+=", line)]
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return values


def systemd_analyze(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run systemd-analyze on the unit, with a program that exists."""
    file = folder / unit_name("zimage_turbo")
    program = which("true") or "/bin/true"
    file.write_text(UNIT.replace(PROGRAM, program))
    line: Sequence[str] = ("systemd-analyze", *command, str(file))
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    done = systemd_analyze(tmp_path, "verify", "--man=no")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_systemd_finds_a_fault_in_a_broken_unit(tmp_path: Path) -> None:
    file = tmp_path / "broken.service"
    file.write_text(UNIT.replace("Restart=on-failure", "Restart=sometimes"))
    line = ("systemd-analyze", "verify", "--man=no", str(file))
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert "Failed to parse service restart specifier" in done.stderr


def test_systemd_calls_the_exposure_of_the_unit_low(tmp_path: Path) -> None:
    done = systemd_analyze(tmp_path, "security", "--offline=true", "--no-pager")
    [exposure] = re.findall(r"Overall exposure level.*?(\d+\.\d+)", done.stdout)
    assert float(exposure) < 4  # of 10; GPUs need devices and writable, executable memory


def test_the_command_of_the_unit_serves_as_a_user_without_rights(tmp_path: Path) -> None:
    unit = settings_of(UNIT)
    assert unit["ProtectSystem"] == ["strict"]
    pairs = [pair for line in unit["Environment"] for pair in shlex.split(line)]
    variables = {key: text.replace("%%", "%") for key, text in (p.split("=", 1) for p in pairs)}
    [state] = [f"/var/lib/{name}" for name in unit["StateDirectory"]]
    [cache] = [f"/var/cache/{name}" for name in unit["CacheDirectory"]]
    folders = {state: tmp_path / "state", cache: tmp_path / "cache"}
    for folder in folders.values():
        folder.mkdir()
    program = Path(PROGRAM)
    mounts = {str(program.parents[1]): Path(sys.prefix)}
    seen = Container(61_184, variables, mounts, folders, unit["WorkingDirectory"][0])
    [start] = unit["ExecStart"]
    with (
        network(tmp_path / "net") as net,
        started(net, seen, shlex.split(start), tmp_path / "log") as process,
    ):
        eventually(
            lambda: fetched(net, seen, f"http://127.0.0.1:{variables['SAFELIGHT_PORT']}/readyz"),
            within=90,
            what=f"the service is ready: {(tmp_path / 'log').read_text()[-2000:]}",
        )
        metrics = fetched(net, seen, "http://127.0.0.1:8123/metrics")
        assert 'namespace="zimage_turbo"' in metrics
        assert stop(process, within=int(unit["TimeoutStopSec"][0])) == 0
    assert (tmp_path / "state" / "records.db").exists()

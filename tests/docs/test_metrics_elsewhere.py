"""Run the commands of docs/metrics-elsewhere.md with real receivers."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from safelight.metrics.catalog import REQUESTS
from safelight.settings import Settings
from tests.docs.test_watching import quick
from tests.stack.waiting import eventually, free_ports
from tests.telemetry.receiver import http_receiver, resource_of
from tests.telemetry.test_textfile import answers, counted, shown

PAGE = (Path(__file__).parents[2] / "docs" / "metrics-elsewhere.md").read_text()
OTLP, STORE, EXPORTER = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
[TOML] = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
[PYTHON] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment with the command `safelight`."""
    (tmp_path / "safelight").write_text(f'#!/bin/sh\nexec {sys.executable} -m safelight "$@"\n')
    (tmp_path / "safelight").chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_a_service_sends_its_metrics_to_the_receiver(
    environment: dict[str, str], tmp_path: Path
) -> None:
    [port] = free_ports(1)
    with http_receiver() as sink:
        block = OTLP.replace("http://127.0.0.1:4318", sink.url).replace("SECONDS=60", "SECONDS=1")
        command = ("bash", "-euc", block.replace("safelight serve", "exec safelight serve"))
        environment["SAFELIGHT_PORT"] = str(port)
        with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
            try:
                eventually(lambda: sink.metrics, within=60, what="metrics arrive")
            finally:
                process.terminate()
                process.wait(60)
        assert resource_of(sink.metrics[0])["service.name"] == "instructpix2pix"


def test_the_store_is_in_the_exported_configuration(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "monitoring.toml").write_text(TOML)
    command = ("bash", "-euo", "pipefail", "-c", STORE)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = yaml.safe_load((tmp_path / "monitoring/prometheus/prometheus.yml").read_text())
    [store] = config["remote_write"]
    assert store["basic_auth"]["password_file"] == str(tmp_path / "mimir_password")
    queue = store["queue_config"]
    held = re.search(r"at most (\d+) . ([\d ]+) samples in memory", " ".join(PAGE.split()))
    assert held is not None
    bounds = [int(number.replace(" ", "")) for number in held.groups()]
    assert bounds == [queue["max_shards"], queue["capacity"]]


def test_node_exporter_shows_what_the_script_has_counted(edit_pipe: Any, tmp_path: Path) -> None:
    names: dict[str, Any] = {"pipe": quick(edit_pipe)}
    exec(PYTHON.replace("/var/lib/node_exporter", str(tmp_path)), names)
    names["watched"].unwatch()
    [port] = free_ports(1)
    command = EXPORTER.strip().replace("/var/lib/node_exporter", str(tmp_path)).split()
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    url = f"http://127.0.0.1:{port}/metrics"
    with subprocess.Popen(command) as process:
        try:
            eventually(lambda: answers(url), within=30, what="node-exporter answers")
            samples = shown(url)
        finally:
            process.terminate()
            process.wait(30)
    name = REQUESTS.full_name("diffusion")
    assert counted(samples, name, script="nightly") == 2
    assert counted(samples, "node_textfile_scrape_error") == 0


def test_the_page_names_settings_that_exist() -> None:
    named = set(re.findall(r"SAFELIGHT_(\w+)", PAGE))
    assert len(named) == 4
    assert named <= {name.upper() for name in Settings.model_fields}

"""Run the commands of docs/export.md with a Prometheus that is already running."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from safelight.rules.files import rule_file
from safelight.stack.files.export import PARTS
from safelight.stack.files.grafana import board_files
from safelight.stack.files.values import read_values
from safelight.stack.tools.remote import read_boards
from tests.asking import HTTP
from tests.stack.files.schemas import kustomize_files
from tests.stack.grafanas import TOKEN, grafana
from tests.stack.waiting import eventually, free_ports

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "export.md").read_text()
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = re.findall(r"```\n(safelight .*?)```", PAGE, flags=re.DOTALL)
YAML = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def is_ready(url: str) -> bool:
    try:
        return HTTP.get(f"{url}/-/ready", timeout=2).is_success
    except httpx.TransportError:
        return False


def jobs(url: str) -> set[str]:
    targets = HTTP.get(f"{url}/api/v1/targets", timeout=5).json()["data"]["activeTargets"]
    return {target["labels"]["job"] for target in targets}


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Run a Prometheus without Safelight's targets; yield its configuration folder and address."""
    [port] = free_ports(1)
    folder, url = tmp_path / "prometheus", f"http://127.0.0.1:{port}"
    folder.mkdir()
    own = {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [own]}))
    command = (
        shutil.which("prometheus") or "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
        "--log.level=warn",
    )
    with subprocess.Popen(command) as process:
        try:
            eventually(lambda: is_ready(url), within=30, what="Prometheus is ready")
            yield folder, url
        finally:
            process.terminate()
            process.wait(30)


def add_to(configuration: Path, block: str) -> None:
    """Add the YAML of the page to a Prometheus configuration."""
    content = yaml.safe_load(configuration.read_text())
    for section, entries in yaml.safe_load(block).items():
        content.setdefault(section, []).extend(entries)
    configuration.write_text(yaml.safe_dump(content))


def test_the_commands_of_the_page_work(prometheus: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = prometheus
    bin_folder, work = tmp_path / "bin", tmp_path / "work"
    bin_folder.mkdir()
    work.mkdir()
    (work / "token").write_text(TOKEN)
    (bin_folder / "safelight").write_text(f'#!/bin/sh\nexec {sys.executable} -m safelight "$@"\n')
    (bin_folder / "safelight").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PROMETHEUS": str(folder),
    }
    with grafana() as fake:
        for place, block in enumerate(SHELL):
            if "promtool" in block:
                add_to(folder / "prometheus.yml", YAML[0])
            script = block.replace("http://127.0.0.1:9090", url)
            script = script.replace("http://127.0.0.1:3000", fake.url)
            process = subprocess.run(
                ("bash", "-euo", "pipefail", "-c", script),
                cwd=work,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert process.returncode == 0, f"block {place}: {process.stdout}{process.stderr}"
        assert {f"{uid}.json" for uid in fake.boards} == set(board_files())
    assert set(read_boards(work / "boards")) == set(fake.boards)
    eventually(lambda: jobs(url) == {"prometheus", "safelight"}, within=30, what="both are scraped")


def test_no_rule_or_dashboard_queries_node_exporter() -> None:
    assert "no rule or dashboard queries node-exporter" in " ".join(PAGE.split())
    for text in (rule_file("instructpix2pix"), *board_files().values()):
        assert not re.search(r"\bnode_[a-z]", text)


def test_own_thresholds_apply_to_the_rules_and_the_pushed_dashboards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [block for block in COMMANDS if "grafana push" in block]
    monkeypatch.chdir(tmp_path)
    Path("monitoring.toml").write_text("[thresholds]\nrequest_p95_seconds = 7.5\n")
    Path("token").write_text(TOKEN)
    with grafana() as fake:
        for line in block.replace("http://127.0.0.1:3000", fake.url).splitlines():
            subprocess.run((sys.executable, "-m", *line.split()), check=True, timeout=60)
        assert "P95 over 7.5 s" in str(fake.boards["safelight-live"])
    assert "> 7.5 and " in Path("monitoring/prometheus/rules/safelight.yml").read_text()


def test_the_page_names_every_part_of_the_export() -> None:
    assert all(f"`safelight export {part}`" in PAGE for part in (*PARTS, "all"))


@pytest.mark.parametrize("block", YAML[2:])
def test_an_overlay_names_components_that_are_exported(block: str) -> None:
    overlay = yaml.safe_load(block)
    assert overlay["resources"] == ["../kubernetes"]
    assert "../kubernetes/monitoring" in overlay["components"]
    files = kustomize_files("instructpix2pix")
    for component in overlay["components"]:
        assert f"{component.removeprefix('../kubernetes/')}/kustomization.yaml" in files


def test_the_larger_overlay_uses_the_exported_names() -> None:
    overlay = yaml.safe_load(YAML[3])
    files = kustomize_files("instructpix2pix")
    [replicas] = overlay["replicas"]
    deployment = yaml.safe_load(files["deployment.yaml"])
    assert replicas["name"] == deployment["metadata"]["name"]
    [image] = overlay["images"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].partition(":")[0] == image["name"]


def test_the_values_of_the_page_are_accepted(tmp_path: Path) -> None:
    [block] = re.findall(r"cat > values.yaml <<'END'\n(.*?)END\n", PAGE, flags=re.DOTALL)
    (tmp_path / "values.yaml").write_text(block)
    values = read_values(tmp_path / "values.yaml")
    assert (values.replicas, values.records.kind) == (4, "postgresql")

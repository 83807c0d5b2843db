"""The real stack around the pages of a replay: Prometheus with a past, Alertmanager, the relay."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from safelight.rules.files import groups, rule_file
from safelight.stack.monitoring import read
from tests.asking import HTTP
from tests.cli.running import started
from tests.histories.present import Page, served
from tests.histories.worlds import FIRST
from tests.stack.receivers import Receiver, alertmanager
from tests.stack.waiting import eventually, free_ports

STEP_SECONDS = 15
MONITORING = """
[receivers.group]
kind = "wecom"
url_file = "group"
[routes]
critical = ["group"]
warning = ["group"]
"""
GRAFANA = "http://grafana.internal:3000"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the programs are, as host:port."""

    pages: str
    prometheus: str
    alertmanager: str
    relay: str


def prometheus_config(pages: Sequence[Page], at: Addresses) -> str:
    """Return the configuration; JSON is YAML too."""
    jobs: list[dict[str, Any]] = [
        {
            "job_name": each.job,
            "metrics_path": f"/{each.job}",
            "static_configs": [{"targets": [at.pages], "labels": {"instance": each.instance}}],
        }
        for each in pages
    ]
    others = {
        "prometheus": at.prometheus, "alertmanager": at.alertmanager, "alert-relay": at.relay
    }  # fmt: skip
    jobs += [{"job_name": k, "static_configs": [{"targets": [v]}]} for k, v in others.items()]
    interval = f"{STEP_SECONDS}s"
    content = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [at.alertmanager]}]}]},
        "scrape_configs": jobs,
    }
    return json.dumps(content)


@contextmanager
def prometheus(folder: Path, address: str, config: str) -> Iterator[None]:
    """Run Prometheus with a configuration and the blocks of a folder."""
    (folder / "prometheus.yml").write_text(config)
    command = (
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    )
    with (folder / "prometheus.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually(lambda: _ready(f"http://{address}/-/ready"), within=60, what="Prometheus")
        yield
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str) -> bool:
    try:
        return HTTP.get(url).is_success
    except httpx.HTTPError:
        return False


def write_past(folder: Path, pages: Sequence[Page], begin: int, end: int) -> None:
    """Write the blocks of the past, and what the budgets' recordings were in it."""
    raw = folder / "past.om"
    with raw.open("w") as out:
        for each in pages:
            out.writelines(each.past(begin, end))
        out.write("# EOF\n")
    data = str(folder / "data")
    _promtool("openmetrics", "-q", str(raw), data)
    raw.unlink()
    recorded = [
        {"record": rule.record, "expr": rule.expr, "labels": dict(rule.labels)}
        for group in groups(FIRST)
        for rule in group.rules
        if hasattr(rule, "record") and ":objective_" in rule.record
    ]
    rules = folder / "past.yml"
    rules.write_text(json.dumps({"groups": [{"name": "past", "rules": recorded}]}))
    url = f"127.0.0.1:{free_ports(1)[0]}"
    with prometheus(folder, url, "{}"):
        _promtool(
            "rules", "--url", f"http://{url}", "--start", str(begin + 300), "--end", str(end - 1),
            "--eval-interval", "60s", "--output-dir", data, str(rules),
        )  # fmt: skip


def _promtool(*arguments: str) -> None:
    command = ("promtool", "tsdb", "create-blocks-from", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


@contextmanager
def stack(folder: Path, pages: Sequence[Page], robot: Receiver) -> Iterator[str]:
    """Run the pages, Prometheus, Alertmanager and the relay; yield Prometheus' address."""
    (folder / "group").write_text(robot.url)
    monitoring = folder / "monitoring.toml"
    monitoring.write_text(MONITORING)
    ports = free_ports(2)
    scraper, relay = (f"127.0.0.1:{port}" for port in ports)
    given = read(monitoring)
    runbooks = f"http://{relay}/runbooks?namespace={{namespace}}"
    links, limits = given.links(GRAFANA, runbooks), given.limits(FIRST)
    (folder / "rules.yml").write_text(rule_file(FIRST, thresholds=limits, links=links))
    options = (
        "--monitoring", str(monitoring), "--port", str(ports[1]), "--diagnose", f"http://{scraper}"
    )  # fmt: skip
    with (
        served(pages) as port,
        started(folder / "relay", "alert-relay", *options),
        alertmanager(folder, MONITORING, relay_url=f"http://{relay}") as manager,
    ):
        eventually(lambda: _ready(f"http://{relay}/healthz"), within=60, what="the relay")
        at = Addresses(f"127.0.0.1:{port}", scraper, manager.url.removeprefix("http://"), relay)
        with prometheus(folder, scraper, prometheus_config(pages, at)):
            yield f"http://{scraper}"

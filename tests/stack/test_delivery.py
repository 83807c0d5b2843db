"""The real Alertmanager, told of an alert, tells a Slack of our own."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from safelight.stack.config import alertmanager_yml

PROGRAM = shutil.which("prometheus-alertmanager") or "alertmanager"


@pytest.fixture
def slack() -> Iterator[tuple[str, "Queue[dict[str, Any]]"]]:
    heard: Queue[dict[str, Any]] = Queue()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/services/hook", heard
    server.shutdown()
    server.server_close()
    thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def alertmanager(slack: tuple[str, Any], tmp_path: Path) -> Iterator[str]:
    (tmp_path / "slack_url").write_text(slack[0])
    (tmp_path / "alertmanager.yml").write_text(alertmanager_yml(str(tmp_path / "slack_url")))
    address = f"127.0.0.1:{free_port()}"
    command = (
        PROGRAM,
        f"--config.file={tmp_path / 'alertmanager.yml'}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    )
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        listening = any("Listening on" in line for line in process.stderr)
        assert listening, "Alertmanager ended before it listened"
        yield f"http://{address}"
        process.terminate()
        process.communicate(timeout=30)


def test_a_critical_alert_reaches_slack_with_its_value_and_its_job(
    slack: tuple[str, "Queue[dict[str, Any]]"], alertmanager: str
) -> None:
    alert = ("HighP95Latency", "severity=critical", "job=safelight", "handler=/api/edit")
    text = (
        "--annotation=summary=safelight: /api/edit has been slow for ten minutes",
        "--annotation=description=P95 of /api/edit in safelight is 16s; the limit is 15 s.",
        "--annotation=runbook_url=docs/alerts.md#highp95latency",
    )
    told = ("amtool", f"--alertmanager.url={alertmanager}", "alert", "add", *alert, *text)
    subprocess.run(told, check=True, capture_output=True)
    message = slack[1].get(timeout=30)
    assert message["channel"] == "#safelight"
    attachment = message["attachments"][0]
    assert attachment["title"] == "[FIRING] HighP95Latency (safelight)"
    assert "P95 of /api/edit in safelight is 16s" in attachment["text"]
    assert "docs/alerts.md#highp95latency" in attachment["text"]

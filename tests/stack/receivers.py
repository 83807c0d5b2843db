"""A real Alertmanager, and a web server that records the notifications it receives."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import httpx

from safelight.stack.files.alerting import alertmanager_yml
from safelight.stack.monitoring import read
from tests.asking import HTTP
from tests.stack.waiting import free_ports

PROGRAM = shutil.which("prometheus-alertmanager") or "alertmanager"
OK = b'{"errcode": 0, "code": 0, "errmsg": "ok", "msg": "ok"}'
IN_TIME_SECONDS = 20.0
QUICK = """
[timing]
group_wait_seconds = 0.2
group_interval_seconds = 0.3
repeat_seconds = 3600
critical_wait_seconds = 0.2
"""


class Post:
    """One request to a receiver."""

    def __init__(self, path: str, body: bytes) -> None:
        self.path = path
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def query(self) -> dict[str, str]:
        return dict(httpx.URL(f"http://robot{self.path}").params)


class Receiver:
    """A web server that records its requests; `reply` makes the responses."""

    def __init__(self, port: int = 0) -> None:
        self.posts: Queue[Post] = Queue()
        self.reply: Callable[[Post], bytes] = lambda _: OK
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                post = Post(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)  # robots also return 200 for errors
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(outer.reply(post))
                outer.posts.put(post)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?access_token=hidden"

    def next(self) -> Post:
        return self.posts.get(timeout=IN_TIME_SECONDS)

    def gets_nothing(self, for_seconds: float) -> bool:
        with suppress(Empty):
            self.posts.get(timeout=for_seconds)
            return False
        return True

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """Run a receiver until the end of the block."""
    running = Receiver(port)
    try:
        yield running
    finally:
        running.stop()


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fire(self, name: str, /, **labels: str) -> None:
        """Post a firing alert."""
        self._post(name, labels, ends_in_seconds=600)

    def resolve(self, name: str, /, **labels: str) -> None:
        """Post a resolved alert."""
        self._post(name, labels, ends_in_seconds=-1)

    def _post(self, name: str, labels: dict[str, str], *, ends_in_seconds: int) -> None:
        now = datetime.now(UTC)
        alert: dict[str, Any] = {
            "labels": {"alertname": name, "severity": "critical", "job": "safelight", **labels},
            "annotations": {
                "summary": f"safelight: {name} of {labels.get('instance', 'all')}",
                "description": "P95 is 16s; the limit is 15 s.",
                "runbook_url": f"docs/alerts.md#{name.lower()}",
            },
            "startsAt": (now - timedelta(seconds=10)).isoformat(),
            "endsAt": (now + timedelta(seconds=ends_in_seconds)).isoformat(),
        }
        HTTP.post(f"{self.url}/api/v2/alerts", json=[alert], timeout=10).raise_for_status()

    def states(self) -> dict[str, str]:
        """Return the state of each alert by name."""
        response = HTTP.get(f"{self.url}/api/v2/alerts", timeout=10).raise_for_status()
        return {one["labels"]["alertname"]: one["status"]["state"] for one in response.json()}

    def count(self, name: str) -> float:
        """Return one of Alertmanager's own counters, summed over its series."""
        lines = HTTP.get(f"{self.url}/metrics", timeout=10).text.splitlines()
        series = [line for line in lines if re.match(rf"alertmanager_{name}[ {{]", line)]
        return sum(float(line.rpartition(" ")[2]) for line in series)


@contextmanager
def alertmanager(folder: Path, monitoring: str, **options: Any) -> Iterator[Alertmanager]:
    """Run the real Alertmanager with a monitoring file until the end of the block."""
    (folder / "monitoring.toml").write_text(monitoring)
    config = folder / "alertmanager.yml"
    config.write_text(alertmanager_yml(read(folder / "monitoring.toml"), **options))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = (
        PROGRAM,
        f"--config.file={config}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    )
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            listening = any("Listening on" in line for line in process.stderr)
            assert listening, "Alertmanager ended before it listened"
            drain = Thread(target=process.stderr.read, daemon=True)
            drain.start()
            yield Alertmanager(f"http://{address}")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

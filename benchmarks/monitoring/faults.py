"""Measure the time from a fault to a firing alert in the real Prometheus, without `for`."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import time

import yaml

from benchmarks.measurements import Measurement
from benchmarks.monitoring.prometheus import Prometheus, running
from safelight.metrics.catalog import CIRCUIT_OPEN, HOST_CPU, QUEUED_WORK, WORKERS_READY
from safelight.rules.alerts import alerts
from safelight.rules.files import rule_file
from safelight.rules.thresholds import Change, Thresholds

_NAMESPACE = "instructpix2pix"
_INTERVAL_SECONDS = 2
_ROUNDS = 3
_GOOD = {WORKERS_READY: 1.0, CIRCUIT_OPEN: 0.0, QUEUED_WORK: 0.0, HOST_CPU: 0.1}
_BAD = {WORKERS_READY: 0.0, CIRCUIT_OPEN: 1.0, QUEUED_WORK: 1000.0, HOST_CPU: 0.99}
_ALERTS = {"NoWorkerReady", "CircuitOpen", "WorkPilesUp", "HostCpuBusy"}


class _Service:
    """A scrape target with good or bad values."""

    def __init__(self) -> None:
        self.healthy = True

    def text(self) -> str:
        values = _GOOD if self.healthy else _BAD
        return "".join(f"{m.full_name(_NAMESPACE)} {value}\n" for m, value in values.items())


def measure() -> Iterator[Measurement]:
    """Yield the longest time from a fault to its alert, in scrape intervals."""
    immediate = {alert.name: Change(for_seconds=0) for alert in alerts(_NAMESPACE)}
    rules = rule_file(_NAMESPACE, thresholds={_NAMESPACE: Thresholds(alerts=immediate)})
    service, chance, delays = _Service(), random.Random(7), []
    with (
        TemporaryDirectory() as name,
        _serving(service) as address,
        running(Path(name), _config(address), rules) as prometheus,
    ):
        _wait_for_scrape(prometheus)
        for _ in range(_ROUNDS):
            _wait_for(prometheus, set())
            Event().wait(_INTERVAL_SECONDS * chance.random())
            started, service.healthy = time(), False
            _wait_for(prometheus, _ALERTS)
            delays.append(_latest(prometheus) - started)
            service.healthy = True
    intervals = max(delays) / _INTERVAL_SECONDS
    yield Measurement("from a fault to its alert", intervals, "scrape intervals", 2)


def _config(address: str) -> str:
    interval = f"{_INTERVAL_SECONDS}s"
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "safelight", "static_configs": [{"targets": [address]}]}
            ],
        }
    )


def _firing(prometheus: Prometheus) -> dict[str, float]:
    """Return the firing alerts, and the time of the evaluation at which each started."""
    query = f'timestamp(ALERTS{{alertstate="firing", alertname=~"{"|".join(_ALERTS)}"}})'
    series = prometheus.get("query", query=query)["result"]
    return {one["metric"]["alertname"]: float(one["value"][1]) for one in series}


def _wait_for(prometheus: Prometheus, names: set[str]) -> None:
    for _ in range(600):
        if set(_firing(prometheus)) == names:
            return
        Event().wait(0.05)
    raise TimeoutError(f"expected {names or 'no alert'}; firing: {_firing(prometheus)}")


def _wait_for_scrape(prometheus: Prometheus) -> None:
    """Wait until Prometheus has scraped the target and evaluated every group of alerts."""
    for _ in range(600):
        groups = prometheus.get("rules")["groups"]
        alerting = [group for group in groups if group["interval"] == _INTERVAL_SECONDS]
        evaluated = all(not group["lastEvaluation"].startswith("0001") for group in alerting)
        if evaluated and prometheus.get("query", query="up == 1")["result"]:
            return
        Event().wait(0.05)
    raise TimeoutError("the rules are not evaluated")


def _latest(prometheus: Prometheus) -> float:
    return max(_firing(prometheus).values())


@contextmanager
def _serving(service: _Service) -> Iterator[str]:
    class Target(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = service.text().encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

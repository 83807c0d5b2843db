"""How long from a fault to a firing alert, with the real Prometheus; an alert's own time aside."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import time

import yaml

from benchmarks.figures import Figure
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
_WANTED = {"NoWorkerReady", "CircuitOpen", "WorkPilesUp", "HostCpuBusy"}


class _Service:
    """A target that is well or not, as told."""

    def __init__(self) -> None:
        self.well = True

    def text(self) -> str:
        shown = _GOOD if self.well else _BAD
        return "".join(f"{m.full_name(_NAMESPACE)} {value}\n" for m, value in shown.items())


def measure() -> Iterator[Figure]:
    """Yield the longest time from a fault to its alert, in scrape intervals."""
    at_once = {alert.name: Change(for_seconds=0) for alert in alerts(_NAMESPACE)}
    rules = rule_file(_NAMESPACE, thresholds={_NAMESPACE: Thresholds(alerts=at_once)})
    service, chance, took = _Service(), random.Random(7), []
    with (
        TemporaryDirectory() as name,
        _serving(service) as address,
        running(Path(name), _config(address), rules) as prometheus,
    ):
        _until_scraped(prometheus)
        for _ in range(_ROUNDS):
            _until(prometheus, set())
            Event().wait(_INTERVAL_SECONDS * chance.random())
            began, service.well = time(), False
            _until(prometheus, _WANTED)
            took.append(_latest(prometheus) - began)
            service.well = True
    yield Figure("from a fault to its alert", max(took) / _INTERVAL_SECONDS, "scrape intervals", 2)


def _config(address: str) -> str:
    often = f"{_INTERVAL_SECONDS}s"
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": often, "evaluation_interval": often},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "safelight", "static_configs": [{"targets": [address]}]}
            ],
        }
    )


def _firing(prometheus: Prometheus) -> dict[str, float]:
    """Return the alerts that fire, and the moment of the evaluation at which each began."""
    query = f'timestamp(ALERTS{{alertstate="firing", alertname=~"{"|".join(_WANTED)}"}})'
    found = prometheus.get("query", query=query)["result"]
    return {each["metric"]["alertname"]: float(each["value"][1]) for each in found}


def _until(prometheus: Prometheus, wanted: set[str]) -> None:
    for _ in range(600):
        if set(_firing(prometheus)) == wanted:
            return
        Event().wait(0.05)
    raise TimeoutError(f"{wanted or 'no alert'} was waited for; there is {_firing(prometheus)}")


def _until_scraped(prometheus: Prometheus) -> None:
    """Wait until every group of alerts has been evaluated once, and the target is known."""
    for _ in range(600):
        groups = prometheus.get("rules")["groups"]
        often = [group for group in groups if group["interval"] == _INTERVAL_SECONDS]
        judged = all(not group["lastEvaluation"].startswith("0001") for group in often)
        if judged and prometheus.get("query", query="up == 1")["result"]:
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

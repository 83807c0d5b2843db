"""A real stack for tests: the three demos, Prometheus, Alertmanager and node-exporter."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from safelight.metrics.registry import parse, where
from safelight.models.demo.bundle import DEMOS
from safelight.settings import Settings, load
from safelight.stack.local import PROMETHEUS, Stack, plan
from safelight.stack.tools.check import TIMEOUT_SECONDS, Checker, Result, verify
from safelight.stack.tools.samples import parse_task, photo
from tests.asking import HTTP
from tests.stack.waiting import all_gone, consecutive_ports, eventually, free_ports, process_tree
from tests.telemetry.receiver import Receiver, http_receiver

NAMESPACE = "instructpix2pix"
EDITOR, GENERATOR, RECOGNISER = "instructpix2pix", "zimage", "recognition"  # service names
START_SECONDS = 90.0


@dataclass(frozen=True)
class Real:
    """A running stack, and the results of its checks."""

    stack: Stack
    service: str
    prometheus: str
    first_sample_seconds: float
    results: dict[str, list[Result]]
    receiver: Receiver = field(repr=False)
    state: Path

    def get(self, path: str, **params: str) -> Any:
        response = HTTP.get(f"{self.prometheus}/api/v1/{path}", params=params, timeout=10)
        return response.raise_for_status().json()["data"]

    def query(self, query: str) -> list[float]:
        return [float(sample["value"][1]) for sample in self.get("query", query=query)["result"]]

    def metrics(self, accept: str = "text/plain") -> httpx.Response:
        return HTTP.get(f"{self.service}/metrics", headers={"accept": accept}, timeout=10)

    def counted(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series in the service."""
        series = where(parse(self.metrics().text), f"{NAMESPACE}_{name}", **labels)
        return sum(value for _, value in series)

    def edit(self, steps: int = 2, size: int = 128) -> httpx.Response:
        return HTTP.post(
            f"{self.service}/api/edit",
            params={"instruction": "make him old", "steps": steps},
            content=photo(size, size),
            headers={"content-type": "image/jpeg"},
            timeout=60,
        )

    def is_ready(self) -> bool:
        return HTTP.get(f"{self.service}/readyz", timeout=5).status_code == httpx.codes.OK


def _settings(folder: Any) -> Settings:
    api, prometheus, alertmanager, node = consecutive_ports(3), *free_ports(3)
    return load(
        port=api,
        prometheus_port=prometheus,
        alertmanager_port=alertmanager,
        node_exporter_port=node,
        state_folder=folder,
        grace_seconds=5,
        records_url=f"sqlite:///{folder}/records.db",
    )


@pytest.fixture(scope="package")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with http_receiver() as receiver:
        yield from _real(tmp_path_factory, receiver)


def _real(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Real]:
    settings = _settings(tmp_path_factory.mktemp("state"))
    started = monotonic()

    def wait(seconds: float) -> bool:
        return threading.Event().wait(seconds) or monotonic() - started > START_SECONDS

    stack = Stack(plan(settings, list(DEMOS)), settings, lambda _text: None, wait)
    try:
        with pytest.MonkeyPatch.context() as environment:  # the services inherit it
            environment.setenv("SAFELIGHT_QUALITY_SAMPLE_RATIO", "1")
            environment.setenv("SAFELIGHT_OTLP_ENDPOINT", receiver.url)
            environment.setenv("SAFELIGHT_GPU_HOUR_PRICE", "2.5")
            assert stack.start(), "the stack was not ready in time"
        service, prometheus = (stack.plan.find(name).url for name in (EDITOR, PROMETHEUS))
        first = Real(stack, service, prometheus, 0, {}, receiver, settings.state_folder)
        eventually(
            lambda: first.query(f"{NAMESPACE}_workers_ready == 1"), within=60, what="a first sample"
        )
        seconds = monotonic() - started
        names = list(stack.plan.services)
        with ThreadPoolExecutor(len(names)) as pool:
            verified = pool.map(lambda name: _verify(stack, name), names)
            results = dict(zip(names, verified, strict=True))
        yield Real(stack, service, prometheus, seconds, results, receiver, settings.state_folder)
    finally:
        # Only the processes of this stack: services of other tests may run too.
        processes = [one for running in stack._running for one in process_tree(running.pid)]
        stack.stop()
        assert all_gone(processes)


def _verify(stack: Stack, name: str) -> list[Result]:
    url, prometheus = stack.plan.find(name).url, stack.plan.find(PROMETHEUS).url
    with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
        task = parse_task(client.get(f"{url}/v1/models"))
        checker = Checker(url, prometheus, client, task)
        namespace = stack.plan.services[name].namespace
        return verify(checker, namespace, name, wait=threading.Event().wait)

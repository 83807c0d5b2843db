"""The real stack that tests share: the three demos, Prometheus, Alertmanager and node-exporter."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx
import pytest

from safelight.metrics.registry import parse, where
from safelight.models.demo.bundle import DEMOS
from safelight.settings import Settings, load
from safelight.stack.local import PROMETHEUS, Stack, plan
from safelight.stack.tools.check import TIMEOUT_SECONDS, Answer, Checker, prove
from safelight.stack.tools.samples import photo, task_told
from tests.asking import HTTP
from tests.stack.waiting import all_gone, eventually, family, free_ports, ports_in_a_row

NAMESPACE = "instructpix2pix"
EDITOR, GENERATOR, RECOGNISER = "instructpix2pix", "zimage", "recognition"  # as services are called
START_SECONDS = 90.0


@dataclass(frozen=True)
class Real:
    """What is running, and what was seen while it started."""

    stack: Stack
    service: str
    prometheus: str
    first_point_seconds: float
    answers: dict[str, list[Answer]]

    def get(self, path: str, **params: str) -> Any:
        answer = HTTP.get(f"{self.prometheus}/api/v1/{path}", params=params, timeout=10)
        return answer.raise_for_status().json()["data"]

    def query(self, query: str) -> list[float]:
        return [float(sample["value"][1]) for sample in self.get("query", query=query)["result"]]

    def metrics(self, accept: str = "text/plain") -> httpx.Response:
        return HTTP.get(f"{self.service}/metrics", headers={"accept": accept}, timeout=10)

    def counted(self, name: str, **labels: str) -> float:
        """Return a metric of the service, its series summed."""
        found = where(parse(self.metrics().text), f"{NAMESPACE}_{name}", **labels)
        return sum(value for _, value in found)

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
    api, prometheus, alertmanager, node = ports_in_a_row(3), *free_ports(3)
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
    settings = _settings(tmp_path_factory.mktemp("state"))
    began = monotonic()

    def wait(seconds: float) -> bool:
        return threading.Event().wait(seconds) or monotonic() - began > START_SECONDS

    stack = Stack(plan(settings, list(DEMOS)), settings, lambda _text: None, wait)
    try:
        with pytest.MonkeyPatch.context() as environment:  # which its services inherit
            environment.setenv("SAFELIGHT_QUALITY_SAMPLE_RATIO", "1")
            assert stack.start(), "the stack was not ready in time"
        service, prometheus = (stack.plan.find(name).url for name in (EDITOR, PROMETHEUS))
        first = Real(stack, service, prometheus, 0, {})
        eventually(
            lambda: first.query(f"{NAMESPACE}_workers_ready == 1"), within=60, what="a first point"
        )
        seconds = monotonic() - began
        names = list(stack.plan.services)
        with ThreadPoolExecutor(len(names)) as pool:
            proven = pool.map(lambda name: _proven(stack, name), names)
            answers = dict(zip(names, proven, strict=True))
        yield Real(stack, service, prometheus, seconds, answers)
    finally:
        # Its own alone: a service of other tests may run beside it.
        processes = [each for running in stack._running for each in family(running.pid)]
        stack.stop()
        assert all_gone(processes)


def _proven(stack: Stack, name: str) -> list[Answer]:
    url, prometheus = stack.plan.find(name).url, stack.plan.find(PROMETHEUS).url
    with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
        task = task_told(client.get(f"{url}/v1/models"))
        checker = Checker(url, prometheus, client, task)
        namespace = stack.plan.services[name].namespace
        return prove(checker, namespace, name, wait=threading.Event().wait)

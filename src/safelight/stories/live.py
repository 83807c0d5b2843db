"""The demos with their watchers, on free ports and in a folder of their own, and their end."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, Spans, gather
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.report import Diagnosis
from safelight.settings import Settings, load
from safelight.stack.local import PROMETHEUS, Plan, Stack, plan
from safelight.stack.tools.traffic import Summary, Traffic, drive
from safelight.stories.replay import free_port

# Prometheus looks every 5 s here: shorter windows would hold too few points.
SPANS = Spans(window_seconds=30, before_seconds=40, history_seconds=300, step_seconds=5)
_TIMEOUT_SECONDS = 60.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Live:
    """A running stack: where its service and its Prometheus answer."""

    stack: Stack
    settings: Settings
    url: str
    prometheus: Prometheus
    service: Service

    def send(self, rate: float, seconds: float, **what: Any) -> Summary:
        """Send traffic, and return what became of it."""

        async def sent() -> Summary:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as client:
                return await drive(Traffic(rate, seconds, **what), self.url, client=client)

        return asyncio.run(sent())

    def diagnosed(self, spans: Spans = SPANS) -> Diagnosis:
        """Return what is said of the service now."""
        evidence = gather(self.prometheus, self.service, self.prometheus.now(), spans)
        return Diagnosis(evidence, judge(evidence))


@contextmanager
def performed(
    models: Sequence[str], tell: Tell, environment: Mapping[str, str] | None = None
) -> Iterator[Live]:
    """Start a stack, its services with an `environment` beside ours, and end it at last.

    Raises MissingProgram, MissingExtra or ServiceFailed.
    """
    with TemporaryDirectory(prefix="safelight-story-") as folder:
        ports = {name: free_port() for name in _PORTS}
        told = load(state_folder=Path(folder), grace_seconds=2, **ports)
        stack = Stack(
            _with(plan(told, models), environment or {}), told, tell, threading.Event().wait
        )
        try:
            stack.start()
            with Prometheus(stack.plan.find(PROMETHEUS).url) as prometheus:
                [(name, own)] = stack.plan.services.items()
                service = Service(own.namespace, name)
                yield Live(stack, told, stack.plan.find(name).url, prometheus, service)
        finally:
            stack.stop()


def _with(made: Plan, environment: Mapping[str, str]) -> Plan:
    programs = tuple(
        replace(program, environment={**program.environment, **environment})
        for program in made.programs
    )
    return replace(made, programs=programs)


_PORTS = ("port", "prometheus_port", "alertmanager_port", "node_exporter_port", "grafana_port")

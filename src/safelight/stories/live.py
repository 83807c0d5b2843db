"""Start a demo with its monitoring on free ports in a temporary folder, and stop it."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, Spans, gather
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.report import Diagnosis
from safelight.settings import Settings, load
from safelight.stack.local import PROMETHEUS, Plan, Stack, plan
from safelight.stories.replay import free_port

# Prometheus scrapes every 5 s here. Shorter windows have too few points.
SPANS = Spans(window_seconds=30, before_seconds=40, history_seconds=300, step_seconds=5)
Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Live:
    """A running stack with the address of its service and a client of its Prometheus."""

    stack: Stack
    settings: Settings
    url: str
    prometheus: Prometheus
    service: Service

    def diagnose(self, spans: Spans = SPANS) -> Diagnosis:
        """Return the diagnosis of the service now."""
        evidence = gather(self.prometheus, self.service, self.prometheus.now(), spans)
        return Diagnosis(evidence, judge(evidence))


@contextmanager
def running_stack(
    models: Sequence[str], notify: Notify, environment: Mapping[str, str] | None = None
) -> Iterator[Live]:
    """Start a stack and stop it at the end. `environment` is added to that of its programs.

    Raises MissingProgram, MissingExtra or ServiceFailed.
    """
    with TemporaryDirectory(prefix="safelight-story-") as folder:
        ports = {name: free_port() for name in _PORTS}
        settings = load(state_folder=Path(folder), grace_seconds=2, **ports)
        stack = Stack(
            _with_environment(plan(settings, models), environment or {}),
            settings,
            notify,
            threading.Event().wait,
        )
        try:
            stack.start()
            with Prometheus(stack.plan.find(PROMETHEUS).url) as prometheus:
                [(name, own)] = stack.plan.services.items()
                service = Service(own.namespace, name)
                yield Live(stack, settings, stack.plan.find(name).url, prometheus, service)
        finally:
            stack.stop()


def _with_environment(original: Plan, environment: Mapping[str, str]) -> Plan:
    programs = tuple(
        replace(program, environment={**program.environment, **environment})
        for program in original.programs
    )
    return replace(original, programs=programs)


_PORTS = ("port", "prometheus_port", "alertmanager_port", "node_exporter_port", "grafana_port")

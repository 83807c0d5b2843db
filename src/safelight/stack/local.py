"""The whole stack on this machine, without containers: which programs, started, followed, ended."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from safelight.errors import BadSetting, ServiceFailed
from safelight.rules.files import RUNBOOKS, rule_file
from safelight.settings import Settings
from safelight.stack.files.alerting import alertmanager_yml
from safelight.stack.files.config import prometheus_yml
from safelight.stack.files.grafana import planned
from safelight.stack.monitoring import read
from safelight.stack.programs import Program, Running, find_program, look_for, require_free_port
from safelight.stack.services import namespaces, program_of, services

PROMETHEUS, ALERTMANAGER, NODE_EXPORTER = "prometheus", "alertmanager", "node-exporter"
ALERT_RELAY = "alert-relay"
PROMETHEUS_NAMES = ("prometheus",)
ALERTMANAGER_NAMES = ("alertmanager", "prometheus-alertmanager")
NODE_EXPORTER_NAMES = ("node_exporter", "prometheus-node-exporter")
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 15.0
_LAST_MOMENTS_SECONDS = 5.0  # beyond its own grace, for a program to close up
_HEALTHY_SECONDS = 60.0

Report = Callable[[str], None]
Wait = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """The programs in the order they start, and the files they need first."""

    programs: tuple[Program, ...]
    files: dict[Path, str]
    state: Path
    services: Mapping[str, Settings] = field(default_factory=dict)

    def find(self, name: str) -> Program:
        """Return the program of that name."""
        return next(program for program in self.programs if program.name == name)


def plan(settings: Settings, models: Sequence[str] = ()) -> Plan:
    """Return what `safelight up` starts for these models. Raises MissingProgram, or BadSetting."""
    served = services(settings, models)
    state = settings.state_folder.expanduser().absolute()
    node_exporter = look_for(NODE_EXPORTER_NAMES)
    told = read(settings.monitoring)
    programs = [
        *(program_of(name, own) for name, own in served.items()),
        _prometheus(settings, state),
        *([_alert_relay(settings)] if told.relayed else []),
        _alertmanager(settings, state),
        *([_node_exporter(settings, node_exporter)] if node_exporter else []),
    ]
    drawn = planned(
        settings, state, f"http://{settings.host}:{settings.prometheus_port}", told.thresholds
    )
    programs += [drawn.program] if drawn else []
    _refuse_shared_ports(programs)
    address = {program.name: f"{program.host}:{program.port}" for program in programs}
    relay = address.get(ALERT_RELAY)
    alerting = alertmanager_yml(told, **({"relay_url": f"http://{relay}"} if relay else {}))
    rules = state / "config" / "rules.yml"
    configuration = prometheus_yml(
        {name: address[name] for name in served},
        prometheus=address[PROMETHEUS],
        alertmanager=address[ALERTMANAGER],
        node_exporter=address.get(NODE_EXPORTER),
        alert_relay=relay,
        rule_files=[str(rules)],
    )
    files = {
        state / "config" / "prometheus.yml": configuration,
        state / "config" / "alertmanager.yml": alerting,
        rules: rule_file(
            *namespaces(served),
            thresholds=told.limits(*namespaces(served)),
            runbooks=told.runbooks_url or RUNBOOKS,
        ),
        **(drawn.files if drawn else {}),
    }
    return Plan(tuple(programs), files, state, served)


class Stack:
    """The started programs. `wait(seconds)` pauses, and tells whether the user wants to stop."""

    def __init__(self, plan: Plan, settings: Settings, report: Report, wait: Wait) -> None:
        self.plan = plan
        self._settings = settings
        self._report = report
        self._wait = wait
        self._running: list[Running] = []
        self._answering: dict[str, bool] = {}
        self._since: dict[str, float] = {}

    def start(self) -> bool:
        """Start everything and wait until each is ready; False where the user stopped the wait.

        Raises PortTaken, or ServiceFailed where a program ends before it is ready.
        """
        for program in self.plan.programs:
            require_free_port(program)
        logs = self._prepare()
        for program in self.plan.programs:
            self._running.append(Running(program, logs))
            self._since[program.name] = monotonic()
        return all(self._until_ready(running) for running in self._running)

    def follow(self) -> None:
        """Keep everything alive until the user stops; a program that died is started again.

        Raises ServiceFailed once one has died too often in a row.
        """
        while not self._wait(1.0):
            for running in self._running:
                self._look_after(running)

    def pid(self, name: str) -> int:
        """Return the process id of the program of that name."""
        return next(running.pid for running in self._running if running.program.name == name)

    def stop(self) -> None:
        """End everything, the last started first."""
        if self._running:
            self._report("stopping")
        for running in reversed(self._running):
            running.stop(self._settings.grace_seconds + _LAST_MOMENTS_SECONDS)
        self._running.clear()

    def _prepare(self) -> Path:
        logs = self.plan.state / "logs"
        try:
            logs.mkdir(parents=True, exist_ok=True)
            for path, text in self.plan.files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        except OSError as wrong:
            raise BadSetting(
                f"The state folder {self.plan.state} cannot be written: {wrong.strerror}. "
                "Choose another with --state-folder."
            ) from None
        for program in self.plan.programs:
            (logs / f"{program.name}.log").write_text("")
        return logs

    def _until_ready(self, running: Running) -> bool:
        name = running.program.name
        self._report(f"starting {name}")
        told = monotonic()
        while not running.is_ready():
            if running.ended is not None:
                raise running.failure()
            if self._wait(_POLL_SECONDS):
                return False
            if monotonic() - told > _PATIENCE_SECONDS:
                told = monotonic()
                self._report(self._still(name, told - self._since[name]))
        self._answering[name] = True
        return True

    def _still(self, name: str, seconds: float) -> str:
        """Return what is waited for, and that nothing went wrong."""
        if name not in self.plan.services:
            return f"{name} is still starting after {seconds:.0f} s; waiting on"
        return (
            f"{name} is still loading its model after {seconds:.0f} s; waiting on, "
            "for a large one takes minutes"
        )

    def _look_after(self, running: Running) -> None:
        name = running.program.name
        if running.ended is not None:
            self._revive(running)
        elif (answering := running.is_ready()) != self._answering[name]:
            self._answering[name] = answering
            self._report(f"{name} {'answers again' if answering else 'is not ready'}")

    def _revive(self, running: Running) -> None:
        name = running.program.name
        if monotonic() - self._since[name] > _HEALTHY_SECONDS:
            running.restarts = 0
        if running.restarts >= self._settings.restart_limit:
            raise ServiceFailed(
                f"{name} died {running.restarts + 1} times. {running.failure()}"
            ) from None
        self._report(f"{name} ended {running.ended} and is started again")
        self._answering[name] = False
        self._since[name] = monotonic()
        running.restart()


def _refuse_shared_ports(programs: Sequence[Program]) -> None:
    wanted: dict[int, str] = {}
    for program in programs:
        if (first := wanted.setdefault(program.port, program.name)) != program.name:
            raise BadSetting(
                f"{first} and {program.name} both want port {program.port}. Give each its own."
            )


def _prometheus(settings: Settings, state: Path) -> Program:
    command = (
        find_program(PROMETHEUS_NAMES, "prometheus"),
        f"--config.file={state / 'config' / 'prometheus.yml'}",
        f"--storage.tsdb.path={state / 'prometheus'}",
        f"--storage.tsdb.retention.time={settings.retention}",
        f"--web.listen-address={settings.host}:{settings.prometheus_port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    )
    shows = "measurements, rules, targets"
    return Program(PROMETHEUS, command, settings.host, settings.prometheus_port, "/-/ready", shows)


def _alertmanager(settings: Settings, state: Path) -> Program:
    command = (
        find_program(ALERTMANAGER_NAMES, "prometheus-alertmanager"),
        f"--config.file={state / 'config' / 'alertmanager.yml'}",
        f"--storage.path={state / 'alertmanager'}",
        f"--web.listen-address={settings.host}:{settings.alertmanager_port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    return Program(
        ALERTMANAGER, command, settings.host, settings.alertmanager_port, "/-/ready", "alerts"
    )


def _alert_relay(settings: Settings) -> Program:
    port = settings.alert_relay_port
    command = (
        sys.executable,
        "-m",
        "safelight",
        "alert-relay",
        "--monitoring",
        str(settings.monitoring),
        "--host",
        settings.host,
        "--port",
        str(port),
        "--log-format",
        "json",
    )
    return Program(ALERT_RELAY, command, settings.host, port, "/healthz", "alerts for group chats")


def _node_exporter(settings: Settings, path: str) -> Program:
    port = settings.node_exporter_port
    command = (path, f"--web.listen-address={settings.host}:{port}", "--log.level=warn")
    return Program(NODE_EXPORTER, command, settings.host, port, "/", "the machine's own metrics")

"""Plan, start, supervise and stop a stack on this machine, without containers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from time import monotonic

from safelight.errors import BadSetting, ServiceFailed
from safelight.models.extras import require_extras
from safelight.rules.files import RUNBOOKS, rule_file
from safelight.settings import Settings
from safelight.stack.files.alerting import RELAY_URL, alertmanager_yml
from safelight.stack.files.config import prometheus_yml
from safelight.stack.files.folder import leftovers
from safelight.stack.files.grafana import GRAFANA, grafana_plan
from safelight.stack.lock import StateLock
from safelight.stack.logs import Logs
from safelight.stack.monitoring import Monitoring, read
from safelight.stack.programs import (
    Program,
    Running,
    find_program,
    look_for,
    refuse_shared_ports,
    require_free_port,
)
from safelight.stack.services import (
    ALERT_RELAY,
    alert_relay_program,
    console_program,
    metrics_key,
    namespaces,
    service_program,
    services,
)

PROMETHEUS, ALERTMANAGER, NODE_EXPORTER = "prometheus", "alertmanager", "node-exporter"
RELAY_TOKEN = Path("config", "relay_token")  # Alertmanager sends it to the relay
PROMETHEUS_NAMES = ("prometheus",)
ALERTMANAGER_NAMES = ("alertmanager", "prometheus-alertmanager")
NODE_EXPORTER_NAMES = ("node_exporter", "prometheus-node-exporter")
_POLL_SECONDS, _PROGRESS_SECONDS = 0.2, 15.0  # between looks and messages while a program starts
_CLOSE_SECONDS = 5.0  # after its grace period, for a program to close files and connections
_HEALTHY_SECONDS = 60.0  # after which a new failure is not a repetition

Report = Callable[[str], None]
Wait = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """The programs in their start order, and the files that they need."""

    programs: tuple[Program, ...]
    files: dict[Path, str]
    state: Path
    services: Mapping[str, Settings] = field(default_factory=dict)

    def find(self, name: str) -> Program:
        """Return the program with that name."""
        return next(program for program in self.programs if program.name == name)


def plan(settings: Settings, models: Sequence[str] = (), *, with_console: bool = False) -> Plan:
    """Return what `safelight up` starts for these models, with the console or without it.

    Raises MissingExtra, MissingProgram or BadSetting.
    """
    if settings.tls_certificate or settings.tls_key:
        raise BadSetting(
            "`safelight up` serves http only. Unset SAFELIGHT_TLS_CERTIFICATE and "
            "SAFELIGHT_TLS_KEY, or run `safelight serve`, which uses them."
        )
    served = services(settings, models)
    for own in served.values():
        require_extras(own)
    state = settings.state_folder.expanduser().absolute()
    node_exporter = look_for(NODE_EXPORTER_NAMES)
    monitoring = read(settings.monitoring)
    prometheus = f"http://{settings.host}:{settings.prometheus_port}"
    relay = alert_relay_program(settings, state / RELAY_TOKEN, prometheus)
    programs = [
        *(service_program(name, own) for name, own in served.items()),
        _prometheus(settings, state, monitoring.prometheus_url or prometheus),
        *([relay] if monitoring.receivers else []),
        _alertmanager(settings, state, monitoring.alertmanager_url),
        *([_node_exporter(settings, node_exporter)] if node_exporter else []),
    ]
    [first, *_] = namespaces(served)
    limits = monitoring.limits(first)[first]
    grafana = grafana_plan(settings, state, prometheus, limits, first, monitoring.language)
    programs += [grafana.program] if grafana else []
    urls = {program.name: program.url for program in programs}
    programs += [console_program(settings, urls, served)] if with_console else []
    refuse_shared_ports(programs)
    files = _files(state, served, programs, monitoring)
    return Plan(tuple(programs), {**files, **(grafana.files if grafana else {})}, state, served)


def _files(
    state: Path, served: Mapping[str, Settings], programs: Sequence[Program], monitoring: Monitoring
) -> dict[Path, str]:
    """Return the configurations of Prometheus and Alertmanager, and the rules."""
    address = {program.name: f"{program.host}:{program.port}" for program in programs}
    relay, rules = address.get(ALERT_RELAY), state / "config" / "rules.yml"
    relay_url = f"http://{relay}" if relay else RELAY_URL
    runbooks = f"{relay_url}/runbooks?namespace={{namespace}}" if relay else RUNBOOKS
    prometheus = prometheus_yml(
        {name: address[name] for name in served},
        {
            "node": address.get(NODE_EXPORTER),
            PROMETHEUS: address[PROMETHEUS],
            ALERTMANAGER: address[ALERTMANAGER],
            ALERT_RELAY: relay,
        },
        rule_files=[str(rules)],
        key_file=metrics_key(served),
        remote_write=monitoring.remote_write,
    )
    return {
        state / "config" / "prometheus.yml": prometheus,
        state / RELAY_TOKEN: token_hex(32),
        state / "config" / "alertmanager.yml": alertmanager_yml(
            monitoring, relay_url=relay_url, relay_token_file=state / RELAY_TOKEN
        ),
        rules: rule_file(
            *namespaces(served),
            thresholds=monitoring.limits(*namespaces(served)),
            links=monitoring.links(
                f"http://{address[GRAFANA]}" if GRAFANA in address else "", runbooks
            ),
        ),
    }


class Stack:
    """The running programs. `wait(seconds)` pauses, and returns True if the user wants to stop."""

    def __init__(self, plan: Plan, settings: Settings, report: Report, wait: Wait) -> None:
        self.plan = plan
        self._settings = settings
        self._report = report
        self._wait = wait
        self._lock = StateLock(plan.state)
        names = [program.name for program in plan.programs]
        self._logs = Logs(plan.state / "logs", names, settings.log_limit_bytes)
        self._silence_seconds = settings.hang_seconds
        self._running: list[Running] = []
        self._ready: dict[str, bool] = {}
        self._started_at: dict[str, float] = {}

    def start(self) -> bool:
        """Start every program and wait until it is ready. Return False if the user stops the wait.

        Raises PortTaken, or ServiceFailed if a program ends before it is ready.
        """
        for program in self.plan.programs:
            require_free_port(program)
        self._prepare()
        for program in self.plan.programs:
            self._running.append(Running(program, self._logs.folder))
            self._started_at[program.name] = monotonic()
        self._lock.note(self._running)
        return all(self._wait_until_ready(running) for running in self._running)

    def follow(self, look: Callable[[], None] = lambda: None) -> None:
        """Check the programs every second until the user stops; restart those that ended.

        Calls `look` each time. Raises ServiceFailed if a program ends too often in a row.
        """
        while not self._pause(1.0):
            look()
            for running in self._running:
                self._check(running)

    def pid(self, name: str) -> int:
        """Return the process id of the program with that name."""
        return next(running.pid for running in self._running if running.program.name == name)

    def stop(self) -> None:
        """Stop every program, the last started first."""
        if self._running:
            self._report("stopping")
        for running in reversed(self._running):
            running.stop(self._settings.grace_seconds + _CLOSE_SECONDS)
        self._running.clear()
        self._lock.release()

    def _pause(self, seconds: float) -> bool:
        self._logs.rotate()
        return self._wait(seconds)

    def _prepare(self) -> None:
        state = self.plan.state
        try:
            self._lock.take()
            self._logs.prepare()
            for path, text in self.plan.files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)
                path.write_text(text)
            names = {str(path.relative_to(state)): text for path, text in self.plan.files.items()}
            for name in leftovers(state, names):  # such as the dashboards of an earlier version
                (state / name).unlink()
        except OSError as error:
            raise BadSetting(
                f"The state folder {state} cannot be written: {error.strerror}. "
                "Choose another with --state-folder."
            ) from None

    def _wait_until_ready(self, running: Running) -> bool:
        name = running.program.name
        self._report(f"starting {name}")
        reported_at = monotonic()
        while not running.is_ready():
            if running.ended is not None:
                raise running.failure()
            if self._pause(_POLL_SECONDS):
                return False
            if monotonic() - reported_at > _PROGRESS_SECONDS:
                reported_at = monotonic()
                self._report(self._progress(name, reported_at - self._started_at[name]))
        self._ready[name] = True
        return True

    def _progress(self, name: str, seconds: float) -> str:
        if name not in self.plan.services:
            return f"{name} is still starting after {seconds:.0f} s"
        return (
            f"{name} is still loading its model after {seconds:.0f} s; a large model takes minutes"
        )

    def _check(self, running: Running) -> None:
        name = running.program.name
        if running.ended is not None:
            self._restart(running)
        elif (ready := running.is_ready()) != self._ready[name]:
            self._ready[name] = ready
            self._report(f"{name} is {'ready again' if ready else 'not ready'}")
        elif running.silent_seconds > self._silence_seconds:
            self._report(f"{name} has not answered for {running.silent_seconds:.0f} s")
            running.kill()
            self._restart(running)

    def _restart(self, running: Running) -> None:
        name = running.program.name
        if monotonic() - self._started_at[name] > _HEALTHY_SECONDS:
            running.restarts = 0
        if running.restarts >= self._settings.restart_limit:
            raise ServiceFailed(
                f"{name} ended {running.restarts + 1} times. {running.failure()}"
            ) from None
        self._report(f"{name} ended {running.ended}; restarting it")
        self._ready[name] = False
        self._started_at[name] = monotonic()
        running.restart()
        self._lock.note(self._running)


def _prometheus(settings: Settings, state: Path, external: str) -> Program:
    command = (
        find_program(PROMETHEUS_NAMES, "prometheus"),
        f"--config.file={state / 'config' / 'prometheus.yml'}",
        f"--storage.tsdb.path={state / 'prometheus'}",
        f"--storage.tsdb.retention.time={settings.retention}",
        f"--web.listen-address={settings.host}:{settings.prometheus_port}",
        *_external(external),
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    )
    shows = "metrics, rules, targets"
    return Program(PROMETHEUS, command, settings.host, settings.prometheus_port, "/-/ready", shows)


def _alertmanager(settings: Settings, state: Path, external: str | None) -> Program:
    port = settings.alertmanager_port
    command = (
        find_program(ALERTMANAGER_NAMES, "prometheus-alertmanager"),
        f"--config.file={state / 'config' / 'alertmanager.yml'}",
        f"--storage.path={state / 'alertmanager'}",
        f"--web.listen-address={settings.host}:{port}",
        *_external(external or f"http://{settings.host}:{port}"),
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    return Program(ALERTMANAGER, command, settings.host, port, "/-/ready", "alerts")


def _external(url: str) -> tuple[str, ...]:
    """Return the options for the address in links; the program itself answers without its path."""
    return f"--web.external-url={url}", "--web.route-prefix=/"


def _node_exporter(settings: Settings, path: str) -> Program:
    port = settings.node_exporter_port
    command = (path, f"--web.listen-address={settings.host}:{port}", "--log.level=warn")
    return Program(NODE_EXPORTER, command, settings.host, port, "/", "metrics of the machine")

"""What is tried in a clean environment: modules to import, commands to run, programs of extras."""

import os
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from safelight.stories.replay import free_port

READY_SECONDS, STOP_SECONDS, RUN_SECONDS = 60, 30, 60
NOWHERE = "http://127.0.0.1:9"
PORTS = "--port 18000 --prometheus-port 18090 --alertmanager-port 18093 --node-exporter-port 18100"
TRACED = {"SAFELIGHT_OTLP_ENDPOINT": NOWHERE}
POSTGRES = {"SAFELIGHT_RECORDS_URL": "postgresql://anna@127.0.0.1:9/none"}


@dataclass(frozen=True)
class Trial:
    """A command, the extras that it needs in the order of its checks, and its exit codes with them.

    Without one of the extras, it must name that extra in one line and end at once. With all of
    them, a slow command is not run.
    """

    arguments: str
    needs: tuple[str, ...] = ()
    codes: tuple[int, ...] = (0,)
    environment: dict[str, str] = field(default_factory=dict)
    slow: bool = False

    def missing(self, extras: Iterable[str]) -> str:
        """Return the extra that the command must name; empty if it has all that it needs."""
        return next((extra for extra in self.needs if extra not in extras), "")


TRIALS = (
    Trial("--version"),
    Trial("demo portrait portrait.png"),
    Trial("demo sheet sheet.png", ("models",), slow=True),
    Trial("demo story io-bottleneck", ("models",), slow=True),
    Trial("demo story bad-background", ("models",), slow=True),
    Trial("demo story shadow-worse", ("models",), slow=True),
    Trial("demo story wrong-model", ("models",), slow=True),
    Trial("demo story vram-leak"),  # replays a recording
    Trial("demo save demo-edit weights", ("models",)),
    Trial("metrics"),
    Trial("key anna"),
    Trial("doctor", codes=(0, 1)),
    Trial("diagnose --prometheus " + NOWHERE, codes=(3,)),
    Trial("forecast --prometheus " + NOWHERE, codes=(3,)),
    Trial("trends --prometheus " + NOWHERE, codes=(3,)),
    Trial("top " + NOWHERE, codes=(1,)),
    Trial("console --host 0.0.0.0", codes=(2,)),
    Trial("sleep " + NOWHERE, codes=(1,)),
    Trial("canary " + NOWHERE, codes=(1,)),
    Trial("wake " + NOWHERE, codes=(1,)),
    Trial("shadow " + NOWHERE, codes=(1, 3)),
    Trial("rollout status " + NOWHERE, codes=(1, 3)),
    Trial("rollout start b " + NOWHERE, codes=(1, 3)),
    Trial("rollout resume " + NOWHERE, codes=(1, 3)),
    Trial("logs", codes=(2,)),
    Trial("show nothing", codes=(2, 3)),
    Trial("radar"),
    Trial("tradeoff"),
    Trial("records upgrade"),
    Trial("records info"),
    Trial("records backup records-backup.db"),
    Trial("records info", ("postgres",), (3,), POSTGRES),
    Trial("radar", ("postgres",), (3,), POSTGRES),
    Trial("alert-relay", codes=(2,)),
    Trial("down"),
    Trial("export prometheus files"),
    Trial("export alertmanager files"),
    Trial("export grafana files", ("grafana",)),
    Trial("export compose files", ("grafana",)),
    Trial("export kubernetes files", ("grafana",)),
    Trial("export helm files", ("grafana",)),
    Trial("export systemd files"),
    Trial("export elk files"),
    Trial("export all files", ("grafana",)),
    Trial("grafana push --url " + NOWHERE, ("grafana",), (1,)),
    Trial("grafana pull boards --url " + NOWHERE, codes=(1,)),
    Trial("serve /nowhere", ("models",), (3,)),
    Trial("serve --precision int8 /nowhere", ("models", "int8"), (3,)),
    Trial("serve /nowhere", ("models", "postgres"), (3,), POSTGRES),
    Trial("serve /nowhere", ("models", "tracing"), (3,), TRACED),
    Trial("serve --devices cuda:0 demo-recognize", ("models",), (3,)),
    Trial("serve nothing.such:Model", codes=(3,)),
    Trial(f"up /nowhere {PORTS}", ("models",), (1, 3)),
    Trial(f"up --precision int8 /nowhere {PORTS}", ("models", "int8"), (1, 3)),
)

SERVE = Trial("serve", ("models",), slow=True)  # tried in every environment

# Imports every module; prints those that fail, each with the library that it lacks.
IMPORTS = """
import importlib, pkgutil, warnings, safelight
warnings.filterwarnings("error", module="safelight", category=DeprecationWarning)
warnings.filterwarnings("ignore", "Prefer using dashboardv2")  # as in pyproject.toml
run_by_alembic = "safelight.records.migrations.env"
for module in pkgutil.walk_packages(safelight.__path__, "safelight."):
    if module.name != run_by_alembic:
        try:
            importlib.import_module(module.name)
        except Exception as error:
            print(module.name, getattr(error.__cause__ or error, "name", None) or repr(error))
"""
LIBRARIES = {
    "torch": "models",
    "diffusers": "models",
    "transformers": "models",
    "grafana_foundation_sdk": "grafana",
    "opentelemetry": "tracing",
}

# Runs every command with --help, in one process: 18 processes would take ten seconds.
HELP = """
import sys
from safelight.cli.main import COMMANDS, main
for name in COMMANDS:
    sys.argv = ["safelight", name, "--help"]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (name, ended.code)
    print("\\f")
"""

# What an extra adds to the package itself.
PROGRAMS = {
    "flask": "import safelight, flask; safelight.watch(app=flask.Flask('x')).unwatch()",
    "heif": """
import io, pillow_heif
from PIL import Image
from safelight.quality.images import decode, measure
pillow_heif.register_heif_opener()
file = io.BytesIO()
Image.new("RGB", (64, 48), "red").save(file, "HEIF")
assert measure(file.getvalue()) == (64, 48)
assert decode(file.getvalue(), (64, 48)).getpixel((5, 5))[0] > 240
""",
    "tracing": """
from safelight.telemetry.otlp import Receiver
from safelight.telemetry.trace_context import current_trace
Receiver("http://127.0.0.1:9", "http/protobuf", {}).close()
Receiver("http://127.0.0.1:9", "grpc", {}).close()
assert current_trace() is None
""",
}
WITHOUT_HEIF = """
from safelight.errors import UnsupportedMediaType
from safelight.quality.images import measure
try:
    measure(bytes([0, 0, 0, 24]) + b"ftypheic" + bytes(12))
except UnsupportedMediaType as error:
    assert "safelight[heif]" in str(error), error
else:
    raise AssertionError("HEIC was read")
"""
# A user's own model, which needs no extra.
TAGGER = """
from safelight.models.backend import Labels, ModelInfo


class Tagger:
    task, pipeline = "predict", None

    def __init__(self, order):
        self.info = ModelInfo(order.model, "Tagger", "none", "float32", "cpu")

    def run(self, batch, on_step):
        return [Labels((("cat", 0.9), ("dog", 0.1))[: work.top]) for work in batch]
"""


@dataclass
class Trials:
    """Runs the trials in one environment, and counts which extra was named how often."""

    home: Path
    extras: frozenset[str]
    folder: Path
    named: Counter[str] = field(default_factory=Counter)
    runs: int = 0

    def python(self, program: str) -> str:
        """Run a program; return its output. Raises AssertionError with what it printed."""
        done = self._run([str(self.home / "bin" / "python"), "-c", program])
        assert done.returncode == 0, f"{program}\n{done.stdout}{done.stderr}"
        return done.stdout

    def imports(self) -> None:
        """Import every module. Only those of a missing extra may fail, for its library."""
        for line in self.python(IMPORTS).splitlines():
            module, _, library = line.partition(" ")
            extra = LIBRARIES.get(library.partition(".")[0], "")
            behind_extra = extra and extra not in self.extras
            assert behind_extra, f"{module} cannot be imported: {library}"

    def commands(self, trials: Iterable[Trial]) -> None:
        """Run commands. Raises AssertionError if one does not end as it should."""
        for trial in trials:
            if trial.missing(self.extras) or not trial.slow:
                self._command(trial)

    def help(self) -> None:
        """Run every command with --help."""
        shown = self.python(HELP)
        assert shown.count("Usage: safelight") == len(shown.split("\f")) - 1 > 10, shown
        self.runs += shown.count("\f")

    def serve(self, model: str, *options: str) -> None:
        """Serve a model, send it requests, and stop it."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        log = self.folder / "serve.log"
        with log.open("w") as output:
            command = [str(self._safelight), "serve", model, "--port", str(port), *options]
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment({}), stdout=output, stderr=output
            )
        try:
            assert until_ready(f"{url}/readyz", process), log.read_text()
            self._command(Trial(f"traffic {url} --rate 5 --duration 1"))
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(STOP_SECONDS)
        assert code == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()

    @property
    def _safelight(self) -> Path:
        return self.home / "bin" / "safelight"

    def _command(self, trial: Trial) -> None:
        done = self._run([str(self._safelight), *shlex.split(trial.arguments)], trial.environment)
        self.runs += 1
        missing, said = trial.missing(self.extras), f"{trial}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in said, said
        assert done.returncode in ((3,) if missing else trial.codes), said
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
            assert len(lines) <= 1, said
        if missing:
            assert done.stderr.endswith(f"Run: pip install 'safelight[{missing}]'\n"), said
            assert len(done.stderr.splitlines()) == 1, said
            self.named[missing] += 1

    def _run(
        self, command: list[str], more: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment(more or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )


def environment(more: dict[str, str]) -> dict[str, str]:
    """Return this environment without what points Python at the checkout."""
    hidden = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.startswith("SAFELIGHT_")
    }
    return {**kept, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", **more}


def until_ready(url: str, process: "subprocess.Popen[bytes]") -> bool:
    """Return whether a service answers before it ends or the time is over."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    return False

"""What this machine has and lacks: programs, libraries, cards, ports. Looks; changes nothing."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from safelight.errors import BadSetting, PortTaken
from safelight.settings import Settings, environment_name
from safelight.stack.files.grafana import GRAFANA, GRAFANA_NAMES
from safelight.stack.local import (
    ALERTMANAGER,
    ALERTMANAGER_NAMES,
    NODE_EXPORTER,
    NODE_EXPORTER_NAMES,
    PROMETHEUS,
    PROMETHEUS_NAMES,
)
from safelight.stack.programs import Program, is_writable, look_for, require_free_port
from safelight.stack.services import SERVICE
from safelight.units import size

_LIBRARIES = (
    ("torch", "models", True),
    ("diffusers", "models", True),
    ("transformers", "models", True),
    ("flask", "flask", False),
    ("grafana-foundation-sdk", "grafana", False),
    ("opentelemetry-api", "tracing", False),
)
_PROGRAMS = (
    (PROMETHEUS_NAMES, "prometheus", True),
    (("promtool",), "prometheus", False),
    (ALERTMANAGER_NAMES, "prometheus-alertmanager", True),
    (("amtool",), "prometheus-alertmanager", False),
    (NODE_EXPORTER_NAMES, "prometheus-node-exporter", False),
    (GRAFANA_NAMES, "grafana", False),
)
_PORTS = {
    "port": SERVICE,
    "prometheus_port": PROMETHEUS,
    "alertmanager_port": ALERTMANAGER,
    "node_exporter_port": NODE_EXPORTER,
}
_ROOM_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for; `needed` is whether `safelight up` cannot do without it."""

    area: str
    name: str
    found: bool
    detail: str
    needed: bool = True
    remedy: str = ""

    @property
    def blocks(self) -> bool:
        """Tell whether `safelight up` would fail for want of this."""
        return self.needed and not self.found


def examine(settings: Settings) -> list[Finding]:
    """Return everything that was looked for, found or not."""
    return [*_machine(settings), *_libraries(), *_programs(), *_cards(), *_ports(settings)]


def _machine(settings: Settings) -> Iterator[Finding]:
    yield Finding("machine", "Python", found=True, detail=platform.python_version())
    state = settings.state_folder.expanduser().absolute()
    writable = is_writable(state)
    remedy = "" if writable else "Choose another with SAFELIGHT_STATE_FOLDER."
    yield Finding("machine", "state folder", writable, str(state), remedy=remedy)
    existing = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{size(free)} free"
    yield Finding("machine", "disk", free > _ROOM_BYTES, detail, needed=False, remedy="Make room.")


def _libraries() -> Iterator[Finding]:
    for name, extra, needed in _LIBRARIES:
        try:
            yield Finding("library", name, found=True, detail=version(name), needed=needed)
        except PackageNotFoundError:
            remedy = f"pip install 'safelight[{extra}]'"
            yield Finding(
                "library", name, found=False, detail="missing", needed=needed, remedy=remedy
            )


def _programs() -> Iterator[Finding]:
    for names, package, needed in _PROGRAMS:
        path = look_for(names)
        remedy = "" if path else f"apt-get install {package}, or see the project's own site."
        detail = _version_of(path) if path else "missing"
        yield Finding("program", names[0], path is not None, detail, needed, remedy)


def _version_of(path: str) -> str:
    """Return the version in a program's own words, without its name: `2.42.0`."""
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return path
    words = (told.stdout or told.stderr).split()
    return next((word.rstrip(",") for word in words if word[:1].isdigit()), path)


def _cards() -> Iterator[Finding]:
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        cards = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        detail = ", ".join(str(pynvml.nvmlDeviceGetName(card)) for card in cards)
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        detail, cards = f"none ({error})", []
    remedy = "Models run on the CPU."
    yield Finding("card", "NVIDIA", bool(cards), detail or "none", needed=False, remedy=remedy)


def _ports(settings: Settings) -> Iterator[Finding]:
    drawn = {"grafana_port": GRAFANA} if look_for(GRAFANA_NAMES) else {}
    for field, name in {**_PORTS, **drawn}.items():
        port = getattr(settings, field)
        remedy = f"Stop who holds it, or set {environment_name(field)}."
        try:
            require_free_port(Program(name, (), settings.host, port, "/"))
        except PortTaken:
            yield Finding("port", str(port), found=False, detail="taken", remedy=remedy)
        except BadSetting as wrong:
            remedy = f"Set {environment_name('host')} to an address of this machine."
            yield Finding("port", str(port), found=False, detail=str(wrong), remedy=remedy)
        else:
            yield Finding("port", str(port), found=True, detail=f"free, for {name}")

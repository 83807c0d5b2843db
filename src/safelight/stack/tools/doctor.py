"""Check this machine's programs, libraries, GPUs and ports, without changing anything."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
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
from safelight.stack.tools.exposure import open_to
from safelight.stack.tools.finding import Finding
from safelight.stack.tools.losses import lost_records
from safelight.units import size

LIBRARIES = (
    ("torch", "models", True),
    ("diffusers", "models", True),
    ("transformers", "models", True),
    ("torchao", "int8", False),
    ("flask", "flask", False),
    ("grafana-foundation-sdk", "grafana", False),
    ("pillow-heif", "heif", False),
    ("psycopg", "postgres", False),
    ("opentelemetry-sdk", "tracing", False),
)
# The program, its package in Debian (none: empty), and whether `safelight up` needs it.
PROGRAMS = (
    (PROMETHEUS_NAMES, "prometheus", True),
    (("promtool",), "prometheus", False),
    (ALERTMANAGER_NAMES, "prometheus-alertmanager", True),
    (("amtool",), "prometheus-alertmanager", False),
    (NODE_EXPORTER_NAMES, "prometheus-node-exporter", False),
    (GRAFANA_NAMES, "", False),
)
_PORTS = {
    "port": SERVICE,
    "prometheus_port": PROMETHEUS,
    "alertmanager_port": ALERTMANAGER,
    "node_exporter_port": NODE_EXPORTER,
}
_MIN_FREE_BYTES = 2 * 1024**3


def examine(settings: Settings) -> list[Finding]:
    """Return the result of every check."""
    machine = [*_machine(settings), *_libraries(), *_programs(), *_gpus(), *_ports(settings)]
    return [*machine, *open_to(settings), *lost_records(settings)]


def _machine(settings: Settings) -> Iterator[Finding]:
    yield Finding("machine", "Python", found=True, detail=platform.python_version())
    state = settings.state_folder.expanduser().absolute()
    writable = is_writable(state)
    remedy = "" if writable else "Choose another folder with SAFELIGHT_STATE_FOLDER."
    yield Finding("machine", "state folder", writable, str(state), remedy=remedy)
    existing = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    remedy = f"Free at least {size(_MIN_FREE_BYTES)}."
    enough = free > _MIN_FREE_BYTES
    yield Finding("machine", "disk", enough, f"{size(free)} free", needed=False, remedy=remedy)


def _libraries() -> Iterator[Finding]:
    for name, extra, needed in LIBRARIES:
        try:
            yield Finding("library", name, found=True, detail=version(name), needed=needed)
        except PackageNotFoundError:
            remedy = f"pip install 'safelight[{extra}]'"
            yield Finding(
                "library", name, found=False, detail="missing", needed=needed, remedy=remedy
            )


def _programs() -> Iterator[Finding]:
    for names, package, needed in PROGRAMS:
        path = look_for(names)
        remedy = "" if path else _how_to_install(package)
        detail = _version_of(path) if path else "missing"
        yield Finding("program", names[0], path is not None, detail, needed, remedy)


def _how_to_install(package: str) -> str:
    if not package:
        return "Debian has no package of it. See the project's website."
    return f"apt-get install {package}, or see the project's website."


def _version_of(path: str) -> str:
    """Return a program's version, such as `2.42.0`, or its path if it prints none."""
    try:
        process = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return path
    words = (process.stdout or process.stderr).split()
    return next((word.rstrip(",") for word in words if word[:1].isdigit()), path)


def _gpus() -> Iterator[Finding]:
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        detail = ", ".join(str(pynvml.nvmlDeviceGetName(gpu)) for gpu in gpus)
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        detail, gpus = f"none ({error})", []
    remedy = "Without a GPU, models run on the CPU."
    yield Finding("GPU", "NVIDIA", bool(gpus), detail or "none", needed=False, remedy=remedy)


def _ports(settings: Settings) -> Iterator[Finding]:
    grafana = {"grafana_port": GRAFANA} if look_for(GRAFANA_NAMES) else {}
    for field, name in {**_PORTS, **grafana}.items():
        port = getattr(settings, field)
        remedy = f"Stop the program that uses it, or set {environment_name(field)}."
        try:
            require_free_port(Program(name, (), settings.host, port, "/"))
        except PortTaken:
            yield Finding("port", str(port), found=False, detail="taken", remedy=remedy)
        except BadSetting as error:
            remedy = f"Set {environment_name('host')} to an address of this machine."
            yield Finding("port", str(port), found=False, detail=str(error), remedy=remedy)
        else:
            yield Finding("port", str(port), found=True, detail=f"free, for {name}")

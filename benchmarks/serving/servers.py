"""Runs one system on a free port, alone, and ends all its processes whatever happens.

Alone, and anew in each round: an idle peer still uses the cores (LitServe a whole one, asking for
work), and processes that map the same libraries would share the memory that is counted.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.serving.systems import System

_DEVICE_SECONDS = re.compile(r'^\w+_device_seconds_total\{.*?use="(\w+)".*?\} (\S+)', re.MULTILINE)
ROOT = Path(__file__).parents[2]

_READY_SECONDS = 120
_STOP_SECONDS = 3
_QUIET = {
    # One thread for the model, here as in the raw limit.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass(frozen=True)
class Server:
    """A system that runs and is ready."""

    system: System
    port: int
    process: psutil.Process
    ready_seconds: float

    @property
    def url(self) -> str:
        """Return where it takes work."""
        return f"http://127.0.0.1:{self.port}{self.system.path}"

    def memory_bytes(self) -> int:
        """Return the memory of all its processes, what they share counted once."""
        return sum(_pss(process.pid) for process in _family(self.process))


@contextmanager
def serving(system: System) -> Iterator[Server]:
    """Run a system until the block ends; it is ready once it has answered the first request."""
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as home,
        Path(home, "log").open("w+b") as log,
    ):
        port = _free_port()
        command = [part.replace("{port}", str(port)) for part in system.command]
        own = {name: value.replace("{home}", home) for name, value in system.environment.items()}
        homes = {"BENTOML_HOME": home, "RAY_TMPDIR": home}
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment(), **homes, **own},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        process = psutil.Process(child.pid)
        try:
            ready = _await_answer(system, port, child)
            yield Server(system, port, process, ready - started)
        except Exception as failure:
            log.seek(0)
            failure.add_note(f"{system.name} wrote:\n{log.read()[-3000:].decode(errors='replace')}")
            raise
        finally:
            _end(child, process)


def device_seconds(server: Server) -> dict[str, float]:
    """Return how long Safelight's device was used so far, by what for; nobody else tells."""
    if not server.system.metered:
        return {}
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        lines = answer.read().decode()
    found: dict[str, float] = {}
    for use, seconds in _DEVICE_SECONDS.findall(lines):
        found[use] = found.get(use, 0) + float(seconds)  # of every device
    return found


def environment() -> dict[str, str]:
    """Return the environment of a process that runs a model."""
    return {**os.environ, **_QUIET}


def _await_answer(system: System, port: int, child: "subprocess.Popen[bytes]") -> float:
    """Return when the first request was answered."""
    deadline = time.perf_counter() + _READY_SECONDS
    while time.perf_counter() < deadline and child.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_READY_SECONDS)
            connection.request(
                "POST", system.path, system.body, {"Content-Type": system.media_type}
            )
            if connection.getresponse().status == 200:
                return time.perf_counter()
        time.sleep(0.02)
    raise TimeoutError(f"{system.name} ended, or took longer than {_READY_SECONDS} s to answer.")


def _end(child: "subprocess.Popen[bytes]", process: psutil.Process) -> None:
    """Ask the process to end, and end by force those of its family that stay."""
    family = _family(process)
    with suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_STOP_SECONDS)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()  # psutil makes sure that the id is still that process's
    child.wait()


def _family(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes of its session, and their children that opened one of their own."""
    family = {each for each in psutil.process_iter() if _session(each.pid) == process.pid}
    for member in list(family):
        with suppress(psutil.NoSuchProcess):
            family.update(member.children(recursive=True))
    return list(family)


def _session(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


def _pss(pid: int) -> int:
    with suppress(OSError):  # it has just ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""Run one system on a free port, and stop all its processes at the end.

Only one system runs at a time, and it restarts in each round: an idle peer still uses the cores
(LitServe polls with a whole one), and processes with the same libraries would share memory.
"""

import http.client
import os
import re
import signal
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
from safelight.stories.replay import free_port

_DEVICE_SECONDS = re.compile(r'^\w+_device_seconds_total\{.*?use="(\w+)".*?\} (\S+)', re.MULTILINE)
ROOT = Path(__file__).parents[2]

_READY_SECONDS = 120
_STOP_SECONDS = 3
_QUIET = {
    # One thread for the model, as for the raw limit.
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
    """A running system."""

    system: System
    port: int
    process: psutil.Process
    ready_seconds: float

    @property
    def url(self) -> str:
        """Return the address for requests."""
        return f"http://127.0.0.1:{self.port}{self.system.path}"

    def cpu_seconds(self) -> float:
        """Return the CPU time of its first process."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self) -> int:
        """Return the memory of all its processes; shared memory counts once."""
        return sum(_pss(process.pid) for process in _session_processes(self.process))


@contextmanager
def serving(system: System) -> Iterator[Server]:
    """Run a system until the block ends; it is ready after its first response."""
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as home,
        Path(home, "log").open("w+b") as log,
    ):
        port = free_port()
        command = [part.replace("{port}", str(port)) for part in system.command]
        variables = {
            name: value.replace("{home}", home) for name, value in system.environment.items()
        }
        homes = {"BENTOML_HOME": home, "RAY_TMPDIR": home}
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment(), **homes, **variables},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        process = psutil.Process(child.pid)
        try:
            ready = _await_response(system, port, child)
            yield Server(system, port, process, ready - started)
        except Exception as failure:
            log.seek(0)
            failure.add_note(
                f"log of {system.name}:\n{log.read()[-3000:].decode(errors='replace')}"
            )
            raise
        finally:
            _stop(child, process)


def device_seconds(server: Server) -> dict[str, float]:
    """Return Safelight's device seconds by use; other systems do not report them."""
    if not server.system.metered:
        return {}
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as response:
        lines = response.read().decode()
    uses: dict[str, float] = {}
    for use, seconds in _DEVICE_SECONDS.findall(lines):
        uses[use] = uses.get(use, 0) + float(seconds)  # summed over devices
    return uses


def environment() -> dict[str, str]:
    """Return the environment of a process that runs a model."""
    return {**os.environ, **_QUIET}


def _await_response(system: System, port: int, child: "subprocess.Popen[bytes]") -> float:
    """Return the time of the first response."""
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
    raise TimeoutError(f"{system.name} ended, or did not respond within {_READY_SECONDS} s.")


def _stop(child: "subprocess.Popen[bytes]", process: psutil.Process) -> None:
    """Send SIGTERM to the process, then kill what remains of its session."""
    processes = _session_processes(process)
    with suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_STOP_SECONDS)
    for member in processes:
        with suppress(psutil.NoSuchProcess):
            member.kill()  # psutil checks that the id still belongs to this process
    child.wait()


def _session_processes(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes of its session, and their descendants in other sessions."""
    members = {one for one in psutil.process_iter() if _session(one.pid) == process.pid}
    for member in list(members):
        with suppress(psutil.NoSuchProcess):
            members.update(member.children(recursive=True))
    return list(members)


def _session(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


def _pss(pid: int) -> int:
    with suppress(OSError):  # the process may have ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0

"""Find, start, check and stop the programs of a stack."""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx

from safelight.errors import BadSetting, MissingProgram, ServiceFailed, listen_error
from safelight.settings import program_environment
from safelight.stack.logs import last_line

_TIMEOUT_SECONDS = 2.0
_OWN_PREFIX = "safelight: "
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run. `ready_path` returns 200 once it is ready; `shows` is what users find."""

    name: str
    command: tuple[str, ...]
    host: str
    port: int
    ready_path: str
    shows: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """Return the program's address."""
        return f"http://{self.host}:{self.port}"


class Running:
    """A started program: its process and its log file."""

    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.restarts = 0
        self._silent_since: float | None = None
        # Created once: creating a client takes 35 ms (it loads the certificates), and this one is
        # used every second. It keeps no connection, so there is nothing to close.
        self._client = httpx.Client(
            base_url=program.url,
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._process = self._start()

    @property
    def ended(self) -> str | None:
        """Return how the process ended, such as `with code 1`, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def is_ready(self) -> bool:
        """Send one request, and return True if the program is ready."""
        try:
            response = self._client.get(self.program.ready_path)
        except httpx.HTTPError:
            self._silent_since = self._silent_since or monotonic()
            return False
        self._silent_since = None
        return response.status_code == httpx.codes.OK

    @property
    def silent_seconds(self) -> float:
        """Return for how long the program has answered no request at all."""
        return monotonic() - self._silent_since if self._silent_since else 0.0

    def kill(self) -> None:
        """End the program at once, also if it is stopped or hangs."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start the program again after it ended."""
        self.restarts += 1
        self._silent_since = None
        self._process = self._start()

    def stop(self, grace_seconds: float) -> None:
        """Send SIGTERM, and SIGKILL after `grace_seconds`. A second call does nothing."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def failure(self) -> ServiceFailed:
        """Return an error with the program's exit status and its last line of output."""
        last = last_line(self.log)[:300]
        return ServiceFailed(
            f"The program {self.program.name} ended {self.ended}: "
            f"{last.removeprefix(_OWN_PREFIX)} (log: {self.log})"
        )

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            # In its own session, Ctrl-C does not reach it: the stack stops the programs in order.
            return subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=program_environment(None, **self.program.environment),
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )


def _end_with_parent() -> None:
    """Let the kernel send SIGTERM to this process when the thread that started it ends (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def find_program(names: Sequence[str], package: str) -> str:
    """Return the path of the first of these programs on PATH.

    Raises MissingProgram, which names the package to install.
    """
    path = look_for(names)
    if path is None:
        raise MissingProgram(names[0], package)
    return path


def look_for(names: Sequence[str]) -> str | None:
    """Return the path of the first of these programs on PATH, or None."""
    return next((path for name in names if (path := shutil.which(name))), None)


def refuse_shared_ports(programs: Sequence[Program]) -> None:
    """Raise BadSetting if two programs have the same port."""
    ports: dict[int, str] = {}
    for program in programs:
        if (first := ports.setdefault(program.port, program.name)) != program.name:
            raise BadSetting(
                f"{first} and {program.name} have the same port {program.port}. "
                "Give each its own port."
            )


def require_free_port(program: Program) -> None:
    """Raise PortTaken if another process listens on the program's port.

    Raises BadSetting if the address is not one of this machine, or not allowed.
    """
    family = socket.AF_INET6 if ":" in program.host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: without it, a port that was released a moment ago counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((program.host, program.port))
        except OSError as error:
            raise listen_error(program.name, program.host, program.port, error) from None


def error_text(error: httpx.HTTPError) -> str:
    """Return why a request failed, in one line without a full stop."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it returned {error.response.status_code} {error.response.reason_phrase}"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def without_password(url: str) -> str:
    """Return an address without user and password, so that messages can show it."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1", url, flags=re.IGNORECASE | re.DOTALL)


def is_writable(folder: Path) -> bool:
    """Return True if a folder, or its nearest existing parent, is writable."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)

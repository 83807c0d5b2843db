"""A program that we run beside the service: how it is found, started, asked, and ended."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from safelight.errors import MissingProgram, ServiceFailed, listen_error
from safelight.settings import program_environment

_ANSWER_SECONDS = 2.0
_OWN_PREFIX = "safelight: "


@dataclass(frozen=True, slots=True)
class Program:
    """What to run; `address` is where people look, `ready_path` answers 200 once it is ready."""

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
    """A started program: its process, and the file that its output goes to."""

    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.restarts = 0
        # Made once: a client reads the world's certificates, 35 ms, and we ask every second. It
        # keeps no connection, so there is nothing to close.
        self._client = httpx.Client(
            base_url=program.url,
            timeout=_ANSWER_SECONDS,
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
        """Ask the program once whether it is ready."""
        try:
            answer = self._client.get(self.program.ready_path)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK

    def restart(self) -> None:
        """Start the program again after its end."""
        self.restarts += 1
        self._process = self._start()

    def stop(self, grace_seconds: float) -> None:
        """Ask the program to end, and make it after `grace_seconds`; a second call does nothing."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def failure(self) -> ServiceFailed:
        """Return the error that says how the program ended, with the last line it wrote."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1].strip()[:300] if lines else "it wrote nothing"
        return ServiceFailed(
            f"The program {self.program.name} ended {self.ended}: "
            f"{last.removeprefix(_OWN_PREFIX)} (whole log: {self.log})"
        )

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            # A session of its own: Ctrl-C reaches us alone, and we end the others in order.
            return subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=program_environment(None, **self.program.environment),
                start_new_session=True,
            )


def find_program(names: Sequence[str], package: str) -> str:
    """Return the path of the first program found. Raises MissingProgram, saying how to get it."""
    found = look_for(names)
    if found is None:
        raise MissingProgram(names[0], package)
    return found


def look_for(names: Sequence[str]) -> str | None:
    """Return the path of the first program found, if any."""
    return next((path for name in names if (path := shutil.which(name))), None)


def require_free_port(program: Program) -> None:
    """Raise PortTaken where somebody listens on the program's port already.

    Raises BadSetting where nobody could: the address is not this machine's, or not for us.
    """
    family = socket.AF_INET6 if ":" in program.host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: a port that was just given up may be taken again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((program.host, program.port))
        except OSError as wrong:
            raise listen_error(program.name, program.host, program.port, wrong) from None


def why(error: httpx.HTTPError) -> str:
    """Return why a request got no good answer, in one line without a full stop."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code} {error.response.reason_phrase}"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def without_password(url: str) -> str:
    """Return an address as messages may show it: without the user and password before its host."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1", url, flags=re.IGNORECASE | re.DOTALL)


def is_writable(folder: Path) -> bool:
    """Tell whether files can be made in a folder, or in the nearest that exists above it."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)

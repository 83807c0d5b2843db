"""The lock of a state folder, so that one `safelight up` uses it, and the programs that it runs.

The kernel releases the lock when its process ends, however it ends.
"""

import fcntl
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import psutil

from safelight.errors import BadSetting
from safelight.stack.programs import Running

_FILE = "up.json"
_STOP_SECONDS = 30.0  # for all leftovers together; then they are killed


@dataclass(frozen=True, slots=True)
class Started:
    """A process, with the time of its start: its id may belong to another one later."""

    name: str
    pid: int
    created: float

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            alive = process.create_time() == self.created and process.status() != "zombie"
        except psutil.Error:
            return None
        return process if alive else None


class StateLock:
    """The right to use a state folder, until `release` or the end of this process."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._file: TextIO | None = None

    def take(self) -> None:
        """Take the lock. Raises BadSetting if it is taken, or if an earlier run left programs."""
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (self._state / _FILE).open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise BadSetting(
                f"Another `safelight up` uses the state folder {self._state}. Stop it with "
                "`safelight down`, or choose another folder with --state-folder."
            ) from None
        self._file = file
        if left := leftovers(self._state):
            self.release()
            listed = ", ".join(f"{each.name} (pid {each.pid})" for each in left)
            raise BadSetting(
                f"Programs of an earlier run still use {self._state}: {listed}. Stop them with "
                "`safelight down`."
            )
        self.note(())

    def note(self, started: Iterable[Running]) -> None:
        """Write which programs run, for the next run and for `safelight down`."""
        assert self._file is not None, "the lock is not taken"
        programs = [
            {
                "name": each.program.name,
                "pid": each.pid,
                "created": psutil.Process(each.pid).create_time(),
            }
            for each in started
            if psutil.pid_exists(each.pid)
        ]
        up, this = "safelight up", psutil.Process()
        own = [{"name": up, "pid": this.pid, "created": this.create_time()}]
        self._file.truncate(0)
        self._file.write(json.dumps({"up": own, "programs": programs}))
        self._file.flush()

    def release(self) -> None:
        """Release the lock. A second call does nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def running(state: Path) -> Started | None:
    """Return the `safelight up` that uses a state folder."""
    return next((up for up in _read(state, "up") if up.process()), None)


def leftovers(state: Path) -> list[Started]:
    """Return the programs of a state folder that still run."""
    return [each for each in _read(state, "programs") if each.process()]


def stop(programs: Iterable[Started]) -> None:
    """Send SIGTERM to programs, and SIGKILL to those that do not end in time."""
    processes = [process for each in programs if (process := each.process())]
    for process in processes:
        process.terminate()
    _, alive = psutil.wait_procs(processes, _STOP_SECONDS)
    for process in alive:
        process.kill()


def _read(state: Path, key: str) -> list[Started]:
    """Return the processes under a key of the file; none if the file is missing or damaged."""
    try:
        content = json.loads((state / _FILE).read_text(encoding="utf-8"))
        return [Started(**each) for each in content.get(key, ())]
    except (OSError, ValueError, TypeError, AttributeError):
        return []

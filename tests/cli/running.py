"""Run `safelight` as a process that always ends with the test."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.stack.waiting import all_gone, eventually, process_tree


class Command:
    """A running `safelight` whose output goes to files."""

    def __init__(self, folder: Path, arguments: tuple[str, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "safelight", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "NO_COLOR": "1"},
            )
        self.processes: set[psutil.Process] = set()

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for_output(self, text: str, within: float = 60) -> None:
        def printed() -> bool:
            assert self.process.poll() is None, f"the process ended: {self.err}"
            return text in self.out + self.err

        eventually(printed, within=within, what=f"output contains {text!r}")

    def send(self, number: signal.Signals, within: float = 40) -> int:
        """Collect the process tree, send the signal, and return the exit code."""
        self.processes.update(process_tree(self.process.pid))
        self.process.send_signal(number)
        return self.process.wait(within)

    def still_running(self) -> list[psutil.Process]:
        return [each for each in self.processes if not all_gone([each])]


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Command]:
    """Start `safelight` with arguments; kill it and its child processes at the end."""
    command = Command(folder, arguments)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.processes.update(process_tree(command.process.pid))
            command.process.kill()
            command.process.wait()
        for each in command.still_running():
            each.kill()

"""A `safelight` that runs as a process of its own, watched and always ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.stack.waiting import all_gone, eventually, family


class Command:
    """A started `safelight` with its output in files."""

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
        self.seen: set[psutil.Process] = set()

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until_it_says(self, text: str, within: float = 60) -> None:
        def said() -> bool:
            assert self.process.poll() is None, f"it ended: {self.err}"
            return text in self.out + self.err

        eventually(said, within=within, what=f"it says {text!r}")

    def send(self, number: signal.Signals, within: float = 40) -> int:
        """Note everything it started, send it the signal, and return its exit code."""
        self.seen.update(family(self.process.pid))
        self.process.send_signal(number)
        return self.process.wait(within)

    def left_behind(self) -> list[psutil.Process]:
        return [each for each in self.seen if not all_gone([each])]


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Command]:
    """Start `safelight` with arguments; whatever it started is gone afterwards."""
    command = Command(folder, arguments)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.seen.update(family(command.process.pid))
            command.process.kill()
            command.process.wait()
        for each in command.left_behind():
            each.kill()

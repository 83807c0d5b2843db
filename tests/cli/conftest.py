"""Fixture that calls the command line in this process."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from safelight.cli.main import main


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Return standard error, which must be one line."""
        [line] = self.err.splitlines()
        return line


Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Return a function that runs `safelight` with arguments; signal handlers are restored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> Result:
        monkeypatch.setattr("sys.argv", ["safelight", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            main()
        out, err = capsys.readouterr()
        code = exit_info.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)

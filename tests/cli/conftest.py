"""How the tests of the command line call it: in this process, as a user would."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from safelight.cli.main import main


@dataclass(frozen=True)
class Called:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Return the one line on standard error."""
        [line] = self.err.splitlines()
        return line


Call = Callable[..., Called]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Return a call of `safelight` with arguments; signals are as before afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> Called:
        monkeypatch.setattr("sys.argv", ["safelight", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Called(end.value.code if isinstance(end.value.code, int) else 0, out, err)

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)

"""Run `safelight` without one part of a service: `python -m benchmarks.without log serve …`."""

import sys
from collections.abc import Callable

from safelight.cli.main import main
from safelight.probes.sampler import Sampler
from safelight.serving import app


def _log() -> None:
    app.log_sink = lambda: lambda _record: None


def _sampler() -> None:
    Sampler.start = lambda _self: None


PARTS: dict[str, Callable[[], None]] = {"log": _log, "sampler": _sampler}

if __name__ == "__main__":
    PARTS[sys.argv.pop(1)]()
    main()

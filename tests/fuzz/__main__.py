"""Fuzz each target with atheris: `python -m tests.fuzz 600 [TARGET …]` spends ten minutes on each.

An input that crashes a target, or takes half a minute, becomes a seed in tests/fuzz/corpus, which
`make test` runs from then on. Fuzzing starts from valid inputs: many of those seeds are slow.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.seeds import CORPUS, write
from tests.fuzz.targets import TARGETS

_TARGET = "tests.fuzz.target"
_LONGEST_INPUT_BYTES = 4096
_LIMITS = (
    "-timeout=30",
    "-report_slow_units=30",
    "-rss_limit_mb=2048",
    f"-max_len={_LONGEST_INPUT_BYTES}",
    "-verbosity=1",
)


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz a target; return whether it never failed."""
    (CORPUS / name).mkdir(exist_ok=True)
    known = {file.name for file in CORPUS.glob(f"{name}/*")}
    with TemporaryDirectory() as folder:
        write(name, Path(folder))
        command = [sys.executable, "-m", _TARGET, name, folder]
        options = [*_LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={CORPUS / name}/"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith(("Done", "==", " ==="))]
    print(f"{name}: {lines[-1] if lines else 'did not start'}", flush=True)
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-6000:], file=sys.stderr, flush=True)
        for file in sorted({file.name for file in CORPUS.glob(f"{name}/*")} - known):
            print(f"{name}: a new seed, {file}. Correct the cause, and commit both.", flush=True)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Fuzz the named targets, or all; return the exit code."""
    seconds = int(arguments[0]) if arguments else 600
    names = arguments[1:] or list(TARGETS)
    passed = [fuzz(name, seconds) for name in names]  # all of them, also after a failure
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

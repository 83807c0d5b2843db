"""Build the wheel, install it as users do, and try what was promised: every extra, every Python.

A minimal install imports every module that needs no extra. Each command works, or says in one line
which extra it needs: with the oldest Python and the newest. Downloads are shared: one folder of
wheels for each Python.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from scripts.trials import PROGRAMS, SERVE, TAGGER, TRIALS, WITHOUT_HEIF, Trials

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13")
LIGHT = ("flask", "grafana", "heif", "postgres", "tracing")  # without torch
ALL = ("models", "int8", *LIGHT)
_AT_ONCE = 2  # environments; each keeps about one core busy


@dataclass(frozen=True)
class Python:
    """An interpreter, its wheels, and whether they include a build of torch for the CPU."""

    version: str
    path: Path
    wheels: Path
    has_torch: bool


@dataclass(frozen=True)
class Environment:
    """An interpreter and the extras that are installed, one step after the other.

    Each command is tried without extras and with all, unless the environment is `brief`.
    """

    python: Python
    steps: tuple[tuple[str, ...], ...]
    brief: bool = False


def run(*command: str | Path) -> str:
    """Run a command; return its output. Raises RuntimeError with the output if it fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def interpreter(version: str) -> Path | None:
    """Return the path of a Python of this version, if this machine has one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [Path(sys.base_prefix) / "bin" / "python3"]
    found += sorted(pyenv.glob(f"versions/{version}.*/bin/python3"))
    found += [Path(path) for path in (shutil.which(f"python{version}"),) if path]
    return next((path for path in found if is_version(path, version)), None)


def is_version(path: Path, version: str) -> bool:
    """Return whether a program is that Python, with pip. Stubs of pyenv only fail."""
    program = "import pip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([path, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


def gather(version: str, wheel: Path, folder: Path) -> Python | None:
    """Download all wheels for a Python once; None if this machine does not have it."""
    path = interpreter(version)
    if path is None:
        print(f"Python {version}: not on this machine, so not tried", flush=True)
        return None
    wheels = folder / f"wheels-{version}"
    download = (path, "-m", "pip", "download", "--quiet", "--dest", wheels)
    has_torch = True
    try:
        run(*download, "--no-deps", torch_requirement())
    except RuntimeError:
        has_torch = False
        print(
            f"Python {version}: this machine's package index has no {torch_requirement()}, and the "
            "usual build needs gigabytes for GPUs. So the extra `models` is not tried with it.",
            flush=True,
        )
    extras = ALL if has_torch else LIGHT
    target = f"{wheel}[{','.join(extras)}]"
    run(*download, "--find-links", wheels, "--constraint", CONSTRAINTS, target)
    return Python(version, path, wheels, has_torch)


def torch_requirement() -> str:
    """Return the tested torch; on Linux its build for the CPU, which has a version of its own."""
    [version] = re.findall(r"^torch==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE)
    return f"torch=={version}{'+cpu' if sys.platform == 'linux' else ''}"


def planned(pythons: list[Python]) -> list[Environment]:
    """Return the environments, the longest first: each extra alone with the first Python."""
    first, *others = pythons
    heavy = [Environment(python, (("models",), ALL)) for python in pythons if python.has_torch]
    between = others[:-1]
    bare = [
        Environment(first, ((),)),
        *(Environment(python, ((), LIGHT), brief=python in between) for python in others),
    ]
    extras = ("int8", *LIGHT) if first.has_torch else LIGHT
    alone = [Environment(first, ((extra,),)) for extra in extras]
    return [*heavy, *bare, *alone]


def check(environment: Environment, wheel: Path, folder: Path) -> None:
    """Create an environment; install and try each of its steps."""
    python = environment.python
    home = folder / "-".join((python.version, *environment.steps[-1], str(len(environment.steps))))
    run(python.path, "-m", "venv", "--without-pip", home)
    for place, extras in enumerate(environment.steps):
        started = monotonic()
        install(home, python, wheel, extras)
        trials = Trials(home, frozenset(extras), home / f"trials-{place}")
        trials.folder.mkdir()
        attempt(trials, full=extras in ((), ALL) and not environment.brief)
        name = ", ".join(extras) or "no extra"
        named = ", ".join(f"{extra} {count} times" for extra, count in sorted(trials.named.items()))
        print(
            f"Python {python.version} with {name}: {trials.runs} commands in "
            f"{monotonic() - started:.0f} s; named as missing: {named or 'nothing'}",
            flush=True,
        )


def install(home: Path, python: Python, wheel: Path, extras: tuple[str, ...]) -> None:
    """Install the wheel with extras into an environment, from the downloaded wheels only."""
    target = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    source = ("--no-index", "--find-links", python.wheels, "--constraint", CONSTRAINTS)
    pip = (sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install")
    run(*pip, "--quiet", "--no-compile", *source, target)


def attempt(trials: Trials, *, full: bool) -> None:
    """Try an environment: all of it if `full`, else what its extras add."""
    (trials.folder / "tagger.py").write_text(TAGGER)
    trials.imports()
    if full:
        trials.help()
        trials.serve("tagger:Tagger")
        trials.commands(TRIALS)
    else:
        own = (trial for trial in TRIALS if trials.extras.intersection(trial.needs))
        trials.commands((SERVE, *own))
    for extra, program in PROGRAMS.items():
        if extra in trials.extras:
            trials.python(program)
    if "heif" not in trials.extras:
        trials.python(WITHOUT_HEIF)
    if "int8" in trials.extras and "models" in trials.extras:
        trials.serve("demo-edit", "--precision", "int8")
    elif "models" in trials.extras:
        trials.serve("demo-edit")


def together(tasks: list[Callable[[], object]]) -> list[object]:
    """Run tasks, two at once; return their results. Exit with 1 if one failed, when all ended."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running = [pool.submit(task) for task in tasks]
    failures = [error for each in running if (error := each.exception())]
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr, flush=True)
    if failures:
        raise SystemExit(1)
    return [each.result() for each in running]


def main() -> int:
    """Build and check; return the exit code."""
    started = monotonic()
    with TemporaryDirectory(prefix="safelight-wheels-") as name:
        folder = Path(name)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
        [wheel] = folder.glob("*.whl")
        print(f"built {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        gathered = together([partial(gather, version, wheel, folder) for version in PYTHONS])
        pythons = [each for each in gathered if isinstance(each, Python)]
        print(f"wheels gathered in {monotonic() - started:.0f} s", flush=True)
        together([partial(check, each, wheel, folder) for each in planned(pythons)])
        print(f"all in {monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

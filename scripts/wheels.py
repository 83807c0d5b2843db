"""Build the wheel, install it in clean environments, and check that what was promised works there.

A minimal install has no torch: `import safelight`, `--help` and `export` work, and `serve` says in
one line what is missing. Each extra is installed alone and its part of Safelight is imported.
"""

import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
# The extra, and a program that needs it. `models` is left out: every other test runs on it.
EXTRAS = {
    "": "import safelight, safelight.serving.app, safelight.cli.main",
    "flask": "import safelight, flask; safelight.watch(app=flask.Flask('x')).unwatch()",
    "grafana": "from safelight.stack.files.grafana import board_files; assert board_files()",
    "postgres": "import psycopg",
    "tracing": "from safelight.telemetry.traces import current_trace_id; current_trace_id()",
}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command; return its output. Raises RuntimeError with the output if it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def check(extra: str, wheel: Path, folder: Path) -> None:
    """Install the wheel with an extra in a new environment, and run the extra's program."""
    home = folder / (extra or "minimal")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    target = f"{wheel}[{extra}]" if extra else str(wheel)
    run(python, "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, target)
    run(python, "-W", "error::DeprecationWarning:safelight", "-c", EXTRAS[extra], cwd=folder)
    print(f"wheel [{extra}]: installed, works", flush=True)
    if not extra:
        check_minimal(home / "bin" / "safelight", folder)


def check_minimal(command: Path, folder: Path) -> None:
    """Check the commands that need no extra, and the message where one is missing."""
    assert "serve" in run(command, "--help", cwd=folder)
    run(command, "export", "prometheus", folder / "exported", cwd=folder)
    done = subprocess.run(
        [command, "demo", "sheet", folder / "sheet.png"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode != 0, output
    assert "safelight[models]" in output, output
    assert "Traceback" not in output, output
    print("minimal install: commands work, the missing extra is named", flush=True)


def main() -> int:
    """Build and check; return the exit code."""
    with TemporaryDirectory(prefix="safelight-wheels-") as name:
        folder = Path(name)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
        [wheel] = folder.glob("*.whl")
        print(f"built {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        for extra in EXTRAS:
            check(extra, wheel, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

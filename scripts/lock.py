"""Write the locks: each package that an installation needs, with the hashes of all its files.

uv resolves for every system and every Python at once. `make constraints` runs this.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "locks"
BIN = Path(sys.executable).parent
IMAGE = ("models", "postgres", "tracing")  # extras
CPU = "torch-cpu.txt"
# torch, and the gigabytes of CUDA that its usual build needs on Linux.
TORCH = re.compile(r"^(torch|triton|nvidia-(?!ml-py).*|cuda-.*)$")
_HEADER = "# Written by: make constraints\n"
_HASH = re.compile(r"--hash=(sha256:\w+)")


def entries(text: str) -> dict[str, str]:
    """Return the text of each package in a lock by its name."""
    found = re.findall(r"^(([\w.-]+)==.*(?:\n .*)*)\n", text, re.MULTILINE)
    return {name: entry for entry, name in found}


def resolved(*options: str) -> dict[str, str]:
    """Return the packages of the project with some options, as uv resolves them."""
    command = [str(BIN / "uv"), "pip", "compile", "pyproject.toml", "-", *options]
    command += ["--constraint", "constraints.txt", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-annotate", "--no-header", "--quiet", "--no-config"]
    # These two build the project itself.
    build = "hatchling\neditables\n"
    done = subprocess.run(command, cwd=ROOT, input=build, stdout=subprocess.PIPE, text=True)
    done.check_returncode()
    return entries(done.stdout)


def cpu_build(version: str) -> str:
    """Return the entry of torch's builds for the CPU, which are not on the usual index.

    Its hashes are those of the wheel that pip finds on this machine, and those that the lock has
    already.
    """
    found = LOCKS / CPU
    old = entries(found.read_text()).get("torch", "") if found.exists() else ""
    pin = f"{version}+cpu"
    hashes = set(_HASH.findall(old)) if old.startswith(f"{pin} ") else set()
    with TemporaryDirectory() as folder:
        command = [str(BIN / "pip"), "download", "--quiet", "--no-deps", "--dest", folder, pin]
        subprocess.run(command, check=False)
        for wheel in Path(folder).iterdir():
            hashes.add(f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    return " \\\n".join([pin, *(f"    --hash={each}" for each in sorted(hashes))])


def write(name: str, packages: Iterable[str]) -> None:
    """Write a lock."""
    (LOCKS / name).write_text(_HEADER + "".join(f"{entry}\n" for entry in packages))


def main() -> None:
    """Write the locks of the environment, of both builds of torch beside it, and of the image."""
    everything = resolved("--all-extras")
    image = resolved(*(word for extra in IMAGE for word in ("--extra", extra)))
    usual = {name: text for name, text in everything.items() if TORCH.match(name)}
    write("environment.txt", (text for name, text in everything.items() if name not in usual))
    write("torch.txt", usual.values())
    write(CPU, [cpu_build(usual["torch"].split()[0])])
    write("image.txt", image.values())


if __name__ == "__main__":
    main()

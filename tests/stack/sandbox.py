"""Run a command as a container would: another user, a read-only root, its own network.

bubblewrap makes the file system and the user, `unshare` the network that several commands share.
There is no image: a command sees this machine's programs, and its own volumes.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_PROJECT = Path(__file__).parents[2]
_HOST = ("/usr", "/bin", "/lib", "/lib64", "/sbin")
# Python's own folders: those of the virtual environment, of its Python, and of the source.
_PYTHON = (sys.prefix, sys.base_prefix, str(_PROJECT))
_PATH = f"{sys.prefix}/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Container:
    """What a command sees. `mounts` has the source by target, `writable` likewise."""

    user: int
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)
    home: str = "/"


class Network:
    """A network of its own, in which names lead to 127.0.0.1."""

    def __init__(self, pid: int, folder: Path, names: Sequence[str]) -> None:
        self._pid = pid
        self._etc = folder / "etc"
        self._etc.mkdir(parents=True)
        (self._etc / "hosts").write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
        (self._etc / "nsswitch.conf").write_text("hosts: files\npasswd: files\n")

    def command(self, container: Container, command: Sequence[str]) -> tuple[str, ...]:
        """Return the command line that runs a command in a container in this network."""
        passwd = self._etc / f"passwd-{container.user}"
        home = container.home
        passwd.write_text(f"user:x:{container.user}:{container.user}::{home}:/bin/sh\n")
        inputs = {
            **{path: Path(path) for path in (*_HOST, *_PYTHON) if Path(path).exists()},
            "/etc/hosts": self._etc / "hosts",
            "/etc/nsswitch.conf": self._etc / "nsswitch.conf",
            "/etc/passwd": passwd,
            **container.mounts,
        }
        environment = {"PATH": _PATH, "HOME": home, **container.environment}
        return (
            *("nsenter", "--target", str(self._pid), "--user", "--net", "--preserve-credentials"),
            *("bwrap", "--die-with-parent", "--unshare-user", "--unshare-pid", "--clearenv"),
            *("--uid", str(container.user), "--gid", str(container.user)),
            *("--tmpfs", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
            *(part for to, at in inputs.items() for part in ("--ro-bind", str(at), to)),
            *(part for to, at in container.writable.items() for part in ("--bind", str(at), to)),
            *(part for pair in environment.items() for part in ("--setenv", *pair)),
            *("--remount-ro", "/", "--chdir", home if home in container.writable else "/"),
            *command,
        )

    def run(self, container: Container, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        line = self.command(container, command)
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)

    def answers(self, container: Container, command: Sequence[str]) -> bool:
        """Return whether a command ends with success."""
        return self.run(container, command).returncode == 0


@contextmanager
def network(folder: Path, *names: str) -> Iterator[Network]:
    """Create a network in which these host names exist, until the block ends."""
    start = "ip link set lo up && echo ready && exec sleep 600"
    holder = subprocess.Popen(
        ("unshare", "--map-root-user", "--net", "sh", "-c", start),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield Network(holder.pid, folder, names)
    finally:
        holder.kill()
        holder.communicate()


@contextmanager
def started(
    network: Network, container: Container, command: Sequence[str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command until the block ends; its output goes to the log."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            network.command(container, command), stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            stop(process)


def stop(process: "subprocess.Popen[bytes]", *, within: float = 30) -> int:
    """Send SIGTERM to the command in a container, and return its exit code."""
    if process.poll() is None:
        inside = psutil.Process(process.pid).children(recursive=True)
        [main, *_] = [each for each in inside if each.name() != "bwrap"] or inside
        main.terminate()
    try:
        return process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

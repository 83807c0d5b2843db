"""The folder of one group of processes: who is alive, exclusive access, and its removal.

A process is alive while it holds the lock of its file: the kernel releases it, also at SIGKILL.
This file is also a program, which removes the folder when the supervisor of the group has ended. It
imports only the standard library, so that it starts fast.
"""

import fcntl
import os
import select
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from time import monotonic
from typing import IO

VALUES, ARCHIVE = ".values", ".archive"
_MEMORY = Path("/dev/shm")
_PRIVATE = 0o700
_WAIT_SECONDS, _POLL_SECONDS, _GIVE_UP_SECONDS = 2.0, 0.1, 600.0
_threads = threading.Lock()  # the kernel's locks do not exclude threads of one process


def base() -> Path:
    """Return the private folder of this user, in memory if possible.

    Raises PermissionError if another user has made it.
    """
    user, parent = os.geteuid(), _MEMORY if os.access(_MEMORY, os.W_OK) else Path(gettempdir())
    folder = parent / f"safelight-{user}"
    folder.mkdir(mode=_PRIVATE, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user or status.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user.")
    return folder


def start_of(pid: int) -> int:
    """Return when the process started, in a unit of the system; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0 if Path("/proc/self/stat").exists() else _start_elsewhere(pid)
    except ProcessLookupError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _start_elsewhere(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).create_time() * 100)
    except psutil.Error:
        return 0


def is_locked(descriptor: int) -> bool:
    """Return True if another process holds the lock of an open file."""
    try:
        # Shared: two processes that look at once must not take each other for the owner.
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def has_members(folder: Path) -> bool:
    """Return True if a process counts into a file of the folder. Not for the own folder."""
    for path in folder.glob(f"*{VALUES}"):
        with suppress(FileNotFoundError), path.open("rb+") as file:
            if is_locked(file.fileno()):
                return True
    return False


@contextmanager
def exclusive(folder: Path, wait_seconds: float = _WAIT_SECONDS) -> Iterator[None]:
    """Hold the folder alone; make it if it does not exist. Raises TimeoutError."""
    with _threads:
        file = _held(folder, monotonic() + wait_seconds)
        try:
            yield
        finally:
            file.close()


def _held(folder: Path, ends: float) -> IO[bytes]:
    """Return the lock file of the folder, locked."""
    while True:
        folder.mkdir(mode=_PRIVATE, exist_ok=True)
        try:
            file = (folder / "lock").open("ab")
        except FileNotFoundError:
            continue  # removed just now
        if _lock(file) and _is_same(file, folder / "lock"):
            return file
        file.close()
        if monotonic() >= ends:
            raise TimeoutError(f"Another process holds {folder} for too long.")
        select.select([], [], [], _POLL_SECONDS / 10)


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_same(file: IO[bytes], path: Path) -> bool:
    """Return True if the path still names the open file."""
    with suppress(FileNotFoundError):
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    return False


def after_fork() -> None:
    """Forget that another thread of the parent process held a folder."""
    global _threads
    _threads = threading.Lock()


def remove(folder: Path) -> None:
    """Remove the folder, and the user's folder if it was the last."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def sweep(parent: Path, supervisor: int) -> None:
    """Remove the folders of groups whose supervisor and members have all ended.

    Not those of the own supervisor: a process must not open its own file again.
    """
    for folder in parent.iterdir():
        pid, started, *_ = (*folder.name.split("-"), "")
        if not (pid.isdigit() and started.isdigit()) or int(pid) == supervisor:
            continue
        if start_of(int(pid)) != int(started) and not has_members(folder):
            shutil.rmtree(folder, ignore_errors=True)


def remove_later(folder: Path, pid: int, started: int) -> None:
    """Start this file as a program: a worker ends before its supervisor."""
    if not Path(sys.executable or "").name.startswith("python"):
        return  # embedded in another program: the next start of a group removes it
    command = [sys.executable, "-I", __file__, str(folder), str(pid), str(started)]
    nowhere = subprocess.DEVNULL
    with suppress(OSError):
        process = subprocess.Popen(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        process.returncode = 0  # nobody waits for it, so nobody must warn about that


def main(folder: Path, pid: int, started: int) -> None:
    """Wait until the supervisor has ended, then remove the folder; end if a worker joins it.

    If neither happens, the counts are of no use any more.
    """
    ends = monotonic() + _GIVE_UP_SECONDS
    waiting = select.poll()
    with suppress(OSError, AttributeError):  # only Linux has it; elsewhere, look again and again
        waiting.register(os.pidfd_open(pid), select.POLLIN)
    while start_of(pid) == started and monotonic() < ends:
        if has_members(folder):
            return
        waiting.poll(_POLL_SECONDS * 1000)
    with exclusive(folder):
        if not has_members(folder):
            remove(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

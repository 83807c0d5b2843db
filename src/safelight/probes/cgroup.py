"""Read the memory of the container, or of the systemd unit, from cgroup v2."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_UNLIMITED = "max"


class CgroupMemory(NamedTuple):
    """Bytes used, without the file cache that the kernel can drop, and the limit in bytes."""

    used: int
    limit: int


def memory(root: Path = _ROOT, own: Path = _OWN) -> CgroupMemory | None:
    """Return the memory of the nearest cgroup with a limit, or None if none has one."""
    try:
        folder = next((each for each in _folders(root, own) if _limited(each)), None)
        if folder is None:
            return None
        used = int((folder / "memory.current").read_text()) - _inactive(folder)
        return CgroupMemory(max(0, used), int((folder / "memory.max").read_text()))
    except (OSError, ValueError, StopIteration):  # cgroup v1, or not Linux
        return None


def _folders(root: Path, own: Path) -> Iterator[Path]:
    """Yield the process's cgroup and those that contain it, the innermost first."""
    line = next(each for each in [*own.read_text().splitlines(), "0::/"] if each.startswith("0::"))
    folder = root / line.removeprefix("0::").strip("/")
    while folder != root:
        yield folder
        folder = folder.parent
    yield root


def _limited(folder: Path) -> bool:
    limit = folder / "memory.max"
    return limit.is_file() and limit.read_text().strip() != _UNLIMITED


def _inactive(folder: Path) -> int:
    lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return next(int(value) for name, value in lines if name == "inactive_file")

"""Read CPU, memory, disks and network of the machine with psutil."""

import re
from collections.abc import Callable
from typing import Any

import psutil

from safelight.metrics.catalog import (
    CGROUP_MEMORY_LIMIT,
    CGROUP_MEMORY_USED,
    HOST_CPU,
    HOST_DISK_BUSY,
    HOST_DISK_READ,
    HOST_DISK_WRITTEN,
    HOST_FILESYSTEM_SIZE,
    HOST_FILESYSTEM_USED,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    HOST_RECEIVED,
    HOST_SENT,
)
from safelight.metrics.registry import Meter
from safelight.probes.cgroup import CgroupMemory, memory

# Whole disks; not partitions (their bytes would count twice), loop devices or RAM disks.
_WHOLE_DISK = re.compile(r"(sd|vd|xvd|hd)[a-z]+|nvme\d+n\d+|mmcblk\d+|disk\d+|md\d+")


class HostProbe:
    """Reads the machine into a meter."""

    def __init__(
        self,
        meter: Meter,
        *,
        source: Any = psutil,
        mountpoint: str = "/",
        container: Callable[[], CgroupMemory | None] = memory,
    ) -> None:
        self._meter = meter
        self._source = source
        self._mountpoint = mountpoint
        self._container = container
        source.cpu_percent()  # the first value is meaningless: it needs an earlier reading

    def read(self) -> bool:
        """Read everything once."""
        self._meter.set(HOST_CPU, value=self._source.cpu_percent() / 100)
        memory = self._source.virtual_memory()
        self._meter.set(HOST_MEMORY_USED, value=memory.total - memory.available)
        self._meter.set(HOST_MEMORY_TOTAL, value=memory.total)
        self._read_container()
        self._read_disks()
        self._read_network()
        return True

    def _read_container(self) -> None:
        container = self._container()
        if container is not None:
            self._meter.set(CGROUP_MEMORY_USED, value=container.used)
            self._meter.set(CGROUP_MEMORY_LIMIT, value=container.limit)

    def _read_disks(self) -> None:
        usage = self._source.disk_usage(self._mountpoint)
        self._meter.set(HOST_FILESYSTEM_USED, self._mountpoint, value=usage.used)
        self._meter.set(HOST_FILESYSTEM_SIZE, self._mountpoint, value=usage.total)
        # psutil returns None on a machine without disks, such as some containers.
        for disk, counters in (self._source.disk_io_counters(perdisk=True) or {}).items():
            if not _WHOLE_DISK.fullmatch(disk):
                continue
            self._meter.set_total(HOST_DISK_READ, disk, value=counters.read_bytes)
            self._meter.set_total(HOST_DISK_WRITTEN, disk, value=counters.write_bytes)
            if hasattr(counters, "busy_time"):  # milliseconds; Linux and FreeBSD only
                self._meter.set_total(HOST_DISK_BUSY, disk, value=counters.busy_time / 1000)

    def _read_network(self) -> None:
        interfaces = self._source.net_io_counters(pernic=True) or {}
        external = [counters for name, counters in interfaces.items() if name != "lo"]
        self._meter.set_total(HOST_RECEIVED, value=sum(each.bytes_recv for each in external))
        self._meter.set_total(HOST_SENT, value=sum(each.bytes_sent for each in external))

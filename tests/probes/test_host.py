from types import SimpleNamespace
from typing import Any

import psutil
import pytest

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
from safelight.probes.cgroup import CgroupMemory
from safelight.probes.host import HostProbe
from tests.reading import series, value


class FakeMachine:
    """A fake of psutil."""

    def __init__(self) -> None:
        self.disks: dict[str, Any] | None = {
            "sda": SimpleNamespace(read_bytes=100, write_bytes=50, busy_time=2500),
            "sda1": SimpleNamespace(read_bytes=90, write_bytes=40, busy_time=2400),
            "nvme0n1": SimpleNamespace(read_bytes=7, write_bytes=8, busy_time=0),
            "nvme0n1p1": SimpleNamespace(read_bytes=7, write_bytes=8, busy_time=0),
            "loop0": SimpleNamespace(read_bytes=1, write_bytes=0, busy_time=0),
            "ram0": SimpleNamespace(read_bytes=1, write_bytes=0, busy_time=0),
        }
        self.interfaces: dict[str, Any] | None = {
            "eth0": SimpleNamespace(bytes_recv=1000, bytes_sent=500),
            "lo": SimpleNamespace(bytes_recv=9, bytes_sent=9),
        }

    def cpu_percent(self) -> float:
        return 42.0

    def virtual_memory(self) -> Any:
        return SimpleNamespace(total=16_000, available=6_000, used=7_000)

    def disk_usage(self, mountpoint: str) -> Any:
        return SimpleNamespace(used=300, total=1000)

    def disk_io_counters(self, *, perdisk: bool) -> Any:
        return self.disks

    def net_io_counters(self, *, pernic: bool) -> Any:
        return self.interfaces


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


def test_processors_and_memory_are_read(meter: Meter, machine: FakeMachine) -> None:
    assert HostProbe(meter, source=machine).read()
    assert value(meter, HOST_CPU) == 0.42
    assert value(meter, HOST_MEMORY_USED) == 10_000
    assert value(meter, HOST_MEMORY_TOTAL) == 16_000


def test_only_whole_disks_are_read(meter: Meter, machine: FakeMachine) -> None:
    HostProbe(meter, source=machine).read()
    assert {found["disk"] for found in series(meter, HOST_DISK_READ)} == {"sda", "nvme0n1"}
    assert value(meter, HOST_DISK_READ, disk="sda") == 100
    assert value(meter, HOST_DISK_WRITTEN, disk="sda") == 50
    assert value(meter, HOST_DISK_BUSY, disk="sda") == 2.5


def test_totals_follow_the_counters_of_the_machine(meter: Meter, machine: FakeMachine) -> None:
    probe = HostProbe(meter, source=machine)
    probe.read()
    machine.disks = {"sda": SimpleNamespace(read_bytes=160, write_bytes=50, busy_time=2500)}
    probe.read()
    assert value(meter, HOST_DISK_READ, disk="sda") == 160


def test_the_loopback_interface_is_not_counted(meter: Meter, machine: FakeMachine) -> None:
    HostProbe(meter, source=machine).read()
    assert (value(meter, HOST_RECEIVED), value(meter, HOST_SENT)) == (1000, 500)


def test_the_file_system_is_read(meter: Meter, machine: FakeMachine) -> None:
    HostProbe(meter, source=machine, mountpoint="/data").read()
    assert value(meter, HOST_FILESYSTEM_USED, mountpoint="/data") == 300
    assert value(meter, HOST_FILESYSTEM_SIZE, mountpoint="/data") == 1000


def test_a_machine_without_disks_has_no_disk_series(meter: Meter, machine: FakeMachine) -> None:
    machine.disks = None
    machine.interfaces = None
    assert HostProbe(meter, source=machine).read()
    assert series(meter, HOST_DISK_READ) == []
    assert value(meter, HOST_RECEIVED) == 0


def test_a_system_without_disk_busy_time_has_no_such_series(
    meter: Meter, machine: FakeMachine
) -> None:
    machine.disks = {"disk0": SimpleNamespace(read_bytes=1, write_bytes=1)}
    HostProbe(meter, source=machine).read()
    assert value(meter, HOST_DISK_READ, disk="disk0") == 1
    assert series(meter, HOST_DISK_BUSY) == []


def test_this_machine_is_read(meter: Meter) -> None:
    assert HostProbe(meter).read()
    assert 0 <= value(meter, HOST_CPU) <= 1
    assert 0 < value(meter, HOST_MEMORY_USED) < value(meter, HOST_MEMORY_TOTAL)
    assert value(meter, HOST_MEMORY_TOTAL) == psutil.virtual_memory().total
    assert 0 < value(meter, HOST_FILESYSTEM_USED) <= value(meter, HOST_FILESYSTEM_SIZE)


def test_a_container_has_its_own_memory_and_limit(meter: Meter) -> None:
    HostProbe(meter, source=FakeMachine(), container=lambda: CgroupMemory(3, 4)).read()
    assert value(meter, CGROUP_MEMORY_USED) == 3
    assert value(meter, CGROUP_MEMORY_LIMIT) == 4


def test_a_process_without_a_memory_limit_has_no_container(meter: Meter) -> None:
    HostProbe(meter, source=FakeMachine(), container=lambda: None).read()
    assert not series(meter, CGROUP_MEMORY_LIMIT)

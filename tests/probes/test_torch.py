import subprocess
import sys
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from safelight.metrics.catalog import VRAM_PEAK, VRAM_RESERVED, VRAM_USED
from safelight.metrics.registry import Meter
from safelight.probes.sampler import Sampler
from safelight.probes.torch import TorchProbe, compilations, read_vram
from tests.probes.cuda import FakeMemory
from tests.reading import FakeClock, series, value

GB, MB = 1_000_000_000, 1_000_000


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


def test_p6_used_reserved_and_peak_are_read_per_device(meter: Meter) -> None:
    assert TorchProbe(meter, cuda=FakeMemory([4 * GB, 2 * GB], peak=[6 * GB, 3 * GB])).read()
    assert value(meter, VRAM_USED, device="cuda:0") == 4 * GB
    assert value(meter, VRAM_USED, device="cuda:1") == 2 * GB
    assert value(meter, VRAM_RESERVED, device="cuda:0") == 4 * GB + 2**20
    assert value(meter, VRAM_PEAK, device="cuda:1") == 3 * GB


def test_p6_a_leak_of_200_mb_an_hour_is_visible_in_samples_of_5_s(meter: Meter) -> None:
    clock, memory = FakeClock(), FakeMemory([4 * GB])
    sampler = Sampler(meter, clock=clock)
    sampler.every(5, "torch", TorchProbe(meter, cuda=memory).read)
    seen: list[float] = []
    while clock.now < 3600:
        memory.used[0] = 4 * GB + int(200 * MB * clock.now / 3600)
        waited = sampler.tick()
        seen.append(value(meter, VRAM_USED, device="cuda:0"))
        clock.now += waited
    assert len(seen) == 720
    slope_per_hour = (seen[-1] - seen[0]) / (719 * 5) * 3600
    assert slope_per_hour == pytest.approx(200 * MB, rel=0.01)
    assert all(later > earlier for earlier, later in pairwise(seen))


def test_cuda_is_not_initialised_by_the_probe(meter: Meter) -> None:
    assert not TorchProbe(meter, cuda=FakeMemory([4 * GB], initialized=False)).read()
    assert series(meter, VRAM_USED) == []


def test_an_unused_device_is_absent(meter: Meter) -> None:
    TorchProbe(meter, cuda=FakeMemory([0, 2 * GB])).read()
    assert series(meter, VRAM_USED) == [{"device": "cuda:1"}]


def test_a_device_with_freed_memory_shows_zero(meter: Meter) -> None:
    TorchProbe(meter, cuda=FakeMemory([0], peak=[GB])).read()
    assert value(meter, VRAM_USED, device="cuda:0") == 0


def test_torch_without_cuda_has_no_readings() -> None:
    import torch

    cuda: Any = torch.cuda
    if not cuda.is_initialized():
        assert read_vram() == []


def test_without_torch_nothing_is_read_and_torch_is_not_loaded() -> None:
    program = (
        "import sys; from safelight.probes.torch import read_vram; "
        "assert read_vram() == []; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["torch", "torch._dynamo.utils"])
def test_a_partly_imported_torch_is_ignored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo.utils", raising=False)  # an earlier test's
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert read_vram() == []
    assert compilations() == 0

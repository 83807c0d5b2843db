"""The memory that a model needs, compared with what is free. Only the hardware is not real."""

import asyncio
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch

from safelight.errors import ModelTooLarge, Unusable
from safelight.metrics.registry import Meter
from safelight.models.backend import ModelOrder
from safelight.models.source import Source, source_of
from safelight.probes.cgroup import CgroupMemory
from safelight.serving.engine.pool import Pool
from safelight.serving.worker import budget
from safelight.serving.worker.budget import Free, check_budget
from safelight.settings import load

DEMO_BYTES = 30_000_000  # of demo-edit in float32, about
Machine = namedtuple("Machine", "available total")
Swap = namedtuple("Swap", "free")


def check(device: str = "cpu", precision: str = "auto", *, free: int) -> None:
    order = ModelOrder("demo-edit", device, precision)
    check_budget(order, source_of(order), free=lambda name: Free(free, 24 * 1024**3, name))


def test_a_model_that_fits_is_loaded() -> None:
    check(free=2 * DEMO_BYTES)


def test_a_model_that_does_not_fit_is_refused_with_the_numbers_and_what_to_do() -> None:
    with pytest.raises(ModelTooLarge) as refused:
        check(free=DEMO_BYTES // 2)

    text = str(refused.value)
    assert "'demo-edit' does not fit" in text
    assert "MiB as float32" in text
    assert "of 24 GiB free" in text
    assert "SAFELIGHT_PRECISION: float16, bfloat16, int8" in text
    assert "SAFELIGHT_DEVICES" in text
    assert "SAFELIGHT_ATTENTION_SLICING" in text
    assert refused.value.exit_code == 3


def test_on_a_gpu_half_as_many_bytes_are_needed_by_default() -> None:
    check("cuda:0", free=DEMO_BYTES * 6 // 10)
    with pytest.raises(ModelTooLarge, match="as float32"):
        check("cuda:0", "float32", free=DEMO_BYTES * 6 // 10)


def test_what_is_refused_in_float16_may_fit_in_int8() -> None:
    with pytest.raises(ModelTooLarge, match="SAFELIGHT_PRECISION: int8") as refused:
        check("cuda:0", free=DEMO_BYTES // 3)
    assert "float16," not in str(refused.value).split("SAFELIGHT_PRECISION")[1]
    check("cuda:0", "int8", free=DEMO_BYTES // 3)


def test_where_nothing_smaller_is_left_no_number_format_is_advised() -> None:
    with pytest.raises(ModelTooLarge) as refused:
        check("cuda:0", "int8", free=1000)
    assert "SAFELIGHT_PRECISION" not in str(refused.value)


def test_five_percent_are_left_for_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "weights_bytes", lambda *_: 1000)
    check(free=1050)
    with pytest.raises(ModelTooLarge):
        check(free=1049)


def test_what_is_unknown_is_not_refused(tmp_path: Path) -> None:
    order = ModelOrder(str(tmp_path), "cpu")
    check_budget(order, Source(str(tmp_path), True), free=lambda name: Free(1, 1, name))
    demo = ModelOrder("demo-edit", "mps")
    check_budget(demo, source_of(demo))


def test_the_host_has_what_the_machine_and_its_swap_have_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Machine(600, 1000))
    monkeypatch.setattr(psutil, "swap_memory", lambda: Swap(50))
    monkeypatch.setattr(budget, "container_memory", lambda: None)
    assert budget.free_memory("cpu") == Free(650, 1000, "the machine")

    monkeypatch.setattr(budget, "container_memory", lambda: CgroupMemory(300, 500))
    assert budget.free_memory("cpu") == Free(200, 500, "the container")
    monkeypatch.setattr(budget, "container_memory", lambda: CgroupMemory(300, 5000))
    assert budget.free_memory("cpu") == Free(650, 1000, "the machine")


def test_a_gpu_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 24))
    assert budget.free_memory("cuda:1") == Free(7, 24, "cuda:1")

    def unusable(device: str) -> tuple[int, int]:
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch.cuda, "mem_get_info", unusable)
    assert budget.free_memory("cuda:1") is None


def test_the_memory_of_this_machine_is_real() -> None:
    here = budget.free_memory("cpu")
    assert here is not None
    assert here.free > 0
    assert here.total > 100 * 1024**2


def test_a_service_whose_model_does_not_fit_ends_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Machine(1_000_000, 8_000_000))
    monkeypatch.setattr(psutil, "swap_memory", lambda: Swap(0))

    async def scenario() -> None:
        pool = Pool(load(model="demo-edit", isolation="thread", devices="cpu"), Meter("tests"))
        try:
            with pytest.raises(
                Unusable, match="does not fit: its weights take at least"
            ) as refused:
                await pool.start()
            assert refused.value.exit_code == ModelTooLarge.exit_code
        finally:
            await pool.stop()

    asyncio.run(scenario())

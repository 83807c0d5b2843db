"""The benchmark for a GPU runs on a device that is faked at its boundary."""

from collections.abc import Callable
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.measurements import Measurement
from tests.pipelines import edit_pipeline
from tests.probes.cuda import FakeMemory
from tests.probes.nvidia import GB, FakeGpu, FakeNvml


def seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def measured(
    monkeypatch: pytest.MonkeyPatch, *, step: float, allocated: int, used_by_smi: float
) -> dict[str, Measurement]:
    monkeypatch.setattr(gpu, "_STEPS", 3)
    monkeypatch.setattr(gpu, "_ROUNDS", 1)
    device = gpu.Device(
        seconds,
        lambda pipeline, work: [step],
        lambda: allocated,
        lambda: used_by_smi,
        cuda=FakeMemory([4 * GB]),
        nvml=FakeNvml(FakeGpu(used=12 * GB)),
    )
    pipe: Any = edit_pipeline()
    return {each.name: each for each in gpu.measure_on(device, pipe)}


def test_the_metrics_are_compared_with_profiler_allocator_and_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = measured(monkeypatch, step=1e-9, allocated=4 * GB, used_by_smi=12 * 1024)
    assert found["vram_used_bytes, off the allocator's"].value == 0
    assert found["gpu_memory_used_bytes, off nvidia-smi's"].value == 0
    assert not found["step time, off a profiler's"].holds  # a profiler that says a nanosecond
    assert "the probe adds to a full-size step" in found


def test_a_wrong_figure_misses_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, step=1.0, allocated=4 * GB + 1, used_by_smi=11 * 1024)
    assert not found["vram_used_bytes, off the allocator's"].holds
    assert not found["gpu_memory_used_bytes, off nvidia-smi's"].holds


def test_without_a_gpu_nothing_is_measured_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: False))
    assert list(gpu.measure()) == []
    assert "no CUDA device" in capsys.readouterr().err

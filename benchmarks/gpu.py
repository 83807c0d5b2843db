"""Measure the probes on a CUDA device: `python -m benchmarks gpu`, at most 10 minutes.

A full-size InstructPix2Pix with random weights needs the same computation as a trained one. The
device is a parameter, so that a test can run the script without one.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import safelight
from benchmarks.measurements import Measurement, rounds
from safelight.metrics.catalog import GPU_MEMORY_USED, VRAM_USED
from safelight.metrics.registry import Meter, parse, where
from safelight.probes.nvml import NvmlProbe
from safelight.probes.torch import TorchProbe

_ROUNDS = 8
_STEPS = 30
_RANGE = "safelight_denoiser"
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Device:
    """What the benchmark asks of the machine.

    `seconds(work)` returns the device's time of a function. `profiled(pipeline, work)` returns the
    device's times between the starts of the denoiser's calls, by a profiler. `allocated()` is the
    allocator's figure in bytes, `smi()` the used memory of the first GPU by nvidia-smi in MiB.
    `cuda` and `nvml` replace torch.cuda and pynvml in a test.
    """

    seconds: Callable[[Callable[[], object]], float]
    profiled: Callable[[Any, Callable[[], object]], Sequence[float]]
    allocated: Callable[[], float]
    smi: Callable[[], float]
    cuda: Any = None
    nvml: Any = None


def measure() -> Iterator[Measurement]:
    """Yield the measurements; none on a machine without a CUDA device."""
    import torch

    if not torch.cuda.is_available():
        print("gpu: this machine has no CUDA device, so nothing is measured", file=sys.stderr)
        return
    yield from measure_on(_cuda_device(), _full_size(torch))


def measure_on(device: Device, pipeline: Any) -> Iterator[Measurement]:
    """Yield the measurements of a pipeline on a device."""

    def run() -> object:
        from PIL import Image

        image = Image.effect_noise((512, 512), 50).convert("RGB")
        return pipeline(
            "make him old", image=image, num_inference_steps=_STEPS, output_type="latent"
        )

    run()  # the first call compiles kernels
    pairs = []
    for _ in range(rounds(_ROUNDS)):
        plain = device.seconds(run)
        with safelight.watch(pipeline=pipeline):
            pairs.append((plain, device.seconds(run)))
    added = median(watched / plain for plain, watched in pairs) - 1
    yield Measurement("the probe adds to a full-size step", added * 100, "%", 0.5)
    yield from _compared(device, pipeline, run)


def _compared(device: Device, pipeline: Any, run: Callable[[], object]) -> Iterator[Measurement]:
    """Yield how far the metrics are from what the profiler, the allocator and the driver say."""
    records: list[safelight.Record] = []
    with safelight.watch(pipeline=pipeline, on_record=records.append):
        run()
        profiled = median(device.profiled(pipeline, run))
    probed = median(records[0].calls[0].step_seconds)
    yield Measurement("step time, off a profiler's", abs(probed / profiled - 1) * 100, "%", 2)
    meter = Meter("pix")
    TorchProbe(meter, cuda=device.cuda).read()
    NvmlProbe(meter, nvml=device.nvml).read()
    samples = parse(meter.expose().body.decode())
    off = abs(_value(samples, VRAM_USED.full_name("pix")) - device.allocated())
    yield Measurement("vram_used_bytes, off the allocator's", off, "bytes", 0)
    smi = abs(_value(samples, GPU_MEMORY_USED.name) / _MEBIBYTE - device.smi())
    yield Measurement("gpu_memory_used_bytes, off nvidia-smi's", smi, "MiB", 1)


def _value(samples: Any, name: str) -> float:
    return next(value for _, value in where(samples, name))


def _full_size(torch: Any) -> Any:
    """Return InstructPix2Pix in its full size, with random weights, in float16 on the GPU."""
    from diffusers import (
        AutoencoderKL,
        EulerAncestralDiscreteScheduler,
        StableDiffusionInstructPix2PixPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    from safelight.models.backend import ModelOrder
    from safelight.models.load import load_backend

    demo = load_backend(ModelOrder("demo-edit", "cpu")).pipeline
    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    pipeline: Any = StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=demo.tokenizer,
        unet=UNet2DConditionModel(in_channels=8, sample_size=64, cross_attention_dim=768),
        scheduler=EulerAncestralDiscreteScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda", torch.float16)


def _cuda_device() -> Device:
    import torch

    def seconds(work: Callable[[], object]) -> float:
        cuda: Any = torch.cuda
        begin, end = (cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000

    def smi() -> float:
        query = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i0")
        return float(subprocess.check_output(query, text=True).strip())

    return Device(seconds, _profiled, torch.cuda.memory_allocated, smi)


def _profiled(pipeline: Any, work: Callable[[], object]) -> list[float]:
    """Return the device's times between the starts of the denoiser's calls, in seconds."""
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    ranges: list[Any] = []

    def enter(*_: object) -> None:
        ranges.append(record_function(_RANGE))
        ranges[-1].__enter__()

    def leave(*_: object) -> None:
        ranges.pop().__exit__(None, None, None)

    hooks = (
        pipeline.unet.register_forward_pre_hook(enter),
        pipeline.unet.register_forward_hook(leave),
    )
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        work()
        torch.cuda.synchronize()
    for hook in hooks:
        hook.remove()
    autograd: Any = torch.autograd
    on_device = autograd.DeviceType.CUDA
    named = (e for e in trace.events() if e.name == _RANGE and e.device_type == on_device)
    starts = sorted(event.time_range.start for event in named)
    return [(later - earlier) / 1e6 for earlier, later in pairwise(starts)]

"""Start a worker with the settings of the service, as a process or in a thread."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module

from safelight.models.backend import ModelOrder
from safelight.serving.wire.process import OnMessage, WorkerConnection, WorkerProcess
from safelight.serving.wire.schema import Load, OutputLimits, SamplingPlan
from safelight.settings import Settings

Start = Callable[[Load, OnMessage, int], Awaitable[WorkerConnection]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker runs: its index, its device, its CPU threads (0: no limit)."""

    index: int
    device: str
    threads: int = 0


async def launch(settings: Settings, place: Place, on_message: OnMessage) -> WorkerConnection:
    """Start a worker at a place; it begins to load the model."""
    return await _starter(settings)(_order(settings, place), on_message, place.threads)


def _order(settings: Settings, place: Place) -> Load:
    model = ModelOrder(
        settings.model,
        place.device,
        settings.precision,
        settings.compile,
        settings.attention_slicing,
        settings.vae_tiling,
        settings.allow_pickle,
        settings.warm_up,
        str(settings.tags or ""),
    )
    return Load(
        model,
        settings.gpu_interval_seconds,
        settings.image_limit_pixels,
        OutputLimits(settings.black_level, settings.flat_deviation, settings.noise_correlation),
        SamplingPlan(settings.quality_sample_ratio, settings.samples, settings.clip_model),
        settings.isolation == "process",
    )


def _starter(settings: Settings) -> Start:
    if settings.isolation == "process":
        return WorkerProcess.start
    # By name: an API process whose workers are processes must never import torch.
    start: Start = import_module("safelight.serving.worker.inline").InlineWorker.start
    return start

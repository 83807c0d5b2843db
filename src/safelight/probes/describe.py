"""Describe a watched pipeline in `model_info`, as it is at each scrape."""

import weakref
from pathlib import Path

from safelight.metrics.catalog import MODEL_INFO, NO_ADAPTERS
from safelight.metrics.registry import Meter
from safelight.probes.calls import denoiser_of, is_int8, precision_of

_MAX_CHARACTERS = 80


class Described:
    """Keeps `model_info` true: scheduler, precision, device and LoRA may change after `watch`."""

    def __init__(self, meter: Meter, pipeline: object, name: str) -> None:
        self._meter = meter
        self._pipeline = weakref.ref(pipeline)
        self._name = name
        self._labels: tuple[str, ...] = ()
        self._seen: tuple[int, str] = (0, "")
        self._int8 = False
        self.stop = meter.before_expose(self.update)
        self.update()

    def update(self) -> None:
        """Expose the current description, and remove the former one."""
        pipeline = self._pipeline()
        labels = () if pipeline is None else self._describe(pipeline)
        if labels != self._labels:
            if self._labels:
                self._meter.forget(MODEL_INFO, *self._labels)
            if labels:
                self._meter.set(MODEL_INFO, *labels, value=1)
            self._labels = labels

    def _describe(self, pipeline: object) -> tuple[str, ...]:
        denoiser = denoiser_of(pipeline)
        seen = (id(denoiser), str(getattr(denoiser, "dtype", "")))
        if seen != self._seen:  # reading every weight is slow
            self._seen, self._int8 = seen, is_int8(pipeline)
        return (
            self._name or model_name(pipeline),
            type(pipeline).__name__,
            type(getattr(pipeline, "scheduler", None)).__name__,
            precision_of(pipeline, int8=self._int8),
            str(getattr(pipeline, "device", "cpu")),
            _adapters(denoiser),
        )


def model_name(model: object) -> str:
    """Return the hub id or folder name of a pipeline or model, else the name of its class."""
    for holder in (model, getattr(model, "model", None)):
        name = getattr(holder, "name_or_path", None)
        if isinstance(name, str) and name:
            return Path(name).name if Path(name).exists() else name
    return type(model).__name__


def _adapters(denoiser: object) -> str:
    """Return the names of the loaded LoRA adapters, which peft keeps on the denoiser."""
    adapters = getattr(denoiser, "peft_config", None)
    return "+".join(sorted(map(str, adapters)))[:_MAX_CHARACTERS] if adapters else NO_ADAPTERS

"""Load a checkpoint with the backend of its family: edit, generate or recognise."""

from safelight.errors import ModelNotFound
from safelight.models.backend import Backend, ModelOrder
from safelight.models.devices import disable_progress_bars
from safelight.models.diffusion import Diffusion
from safelight.models.edit import EditBackend
from safelight.models.generate import GenerateBackend
from safelight.models.pipelines import load_pipeline
from safelight.models.recognize import load_recognizer
from safelight.models.source import Source, defaults_of
from safelight.models.warmup import warm_up


def load(order: ModelOrder, source: Source) -> Backend:
    """Load a model from its source, and warm it up. Raises Unusable."""
    disable_progress_bars()
    family = _load_diffusion if source.is_pipeline else load_recognizer
    backend: Backend = family(order, source)
    if order.warm_up:
        warm_up(backend, order)
    return backend


def _load_diffusion(order: ModelOrder, source: Source) -> Backend:
    if order.tags:
        raise ModelNotFound(order.model, "it does not label images. Unset SAFELIGHT_TAGS.")
    defaults = defaults_of(order, source)
    diffusion = Diffusion(load_pipeline(order, source), order)
    family = EditBackend if "image" in diffusion.takes else GenerateBackend
    return family(diffusion, defaults)

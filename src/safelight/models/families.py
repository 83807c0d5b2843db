"""Which family a checkpoint belongs to, told by its own files; then it is loaded."""

import os
from pathlib import Path

from diffusers import DiffusionPipeline

from safelight.errors import ModelNotFound
from safelight.models.backend import Backend, ModelOrder
from safelight.models.devices import first_line, quieten
from safelight.models.diffusion import Diffusion
from safelight.models.edit import EditBackend
from safelight.models.generate import GenerateBackend
from safelight.models.pipelines import load_pipeline
from safelight.models.recognize import load_recognizer
from safelight.models.source import Source, defaults_of, source_of
from safelight.models.warmth import warm_up


def load(order: ModelOrder) -> Backend:
    """Load a demo, a folder or a hub id, and warm it up. Raises Unusable, saying what to do."""
    quieten()
    source = source_of(order)
    recognises = not _is_pipeline(order, source)
    backend = load_recognizer(order, source) if recognises else _load_diffusion(order, source)
    if order.warm_up:
        warm_up(backend, order)
    return backend


def _load_diffusion(order: ModelOrder, source: Source) -> Backend:
    if order.tags:
        raise ModelNotFound(order.model, "it names nothing. Unset SAFELIGHT_TAGS.")
    defaults = defaults_of(order, source)
    diffusion = Diffusion(load_pipeline(order, source), order)
    family = EditBackend if "image" in diffusion.takes else GenerateBackend
    return family(diffusion, defaults)


def _is_pipeline(order: ModelOrder, source: Source) -> bool:
    """Tell whether it is a diffusers pipeline; if not, it is a transformers model."""
    if os.path.exists(source.place):  # unlike pathlib's, it takes a name too long for none
        if (Path(source.place) / "model_index.json").is_file():
            return True
        if (Path(source.place) / "config.json").is_file():
            return False
        raise ModelNotFound(
            order.model,
            "the folder has neither a model_index.json, as diffusers pipelines have, nor a "
            "config.json, as classifiers of transformers have.",
        )
    said = ""
    for config in (DiffusionPipeline.load_config, _transformers_config):
        try:
            config(source.place)
        except Exception as wrong:  # noqa: BLE001 - whatever it is: it is not of this kind
            said = said or first_line(wrong)
            continue
        return config is not _transformers_config
    raise ModelNotFound(
        order.model,
        f"it is no folder here, and the hub lacks it, wants a token or is out of reach: {said}",
    )


def _transformers_config(source: str) -> object:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source)

"""Which family a checkpoint belongs to, told by its own files; then it is loaded."""

import os
from pathlib import Path

from diffusers import DiffusionPipeline

from safelight.errors import ModelNotFound
from safelight.models.backend import Backend, ModelOrder
from safelight.models.devices import quieten
from safelight.models.diffusion import accepted, load_pipeline
from safelight.models.edit import EditBackend
from safelight.models.generate import GenerateBackend
from safelight.models.recognize import load_recognizer
from safelight.models.source import Source, defaults_of, source_of
from safelight.models.warmth import warm_up

_NEEDED = ("prompt", "num_inference_steps", "callback_on_step_end")


def load(order: ModelOrder) -> Backend:
    """Load a demo, a folder or a hub id, and warm it up. Raises Unusable, saying what to do."""
    quieten()
    source = source_of(order)
    recognises = not _is_pipeline(order, source)
    backend = load_recognizer(order, source) if recognises else _load_diffusion(order, source)
    if order.warm_up:
        warm_up(backend)
    return backend


def _load_diffusion(order: ModelOrder, source: Source) -> Backend:
    if order.tags:
        raise ModelNotFound(order.model, "it names nothing. Unset SAFELIGHT_TAGS.")
    defaults = defaults_of(order, source)
    pipeline = load_pipeline(order, source)
    takes = accepted(pipeline)
    missing = [name for name in _NEEDED if name not in takes]
    if missing:
        raise ModelNotFound(
            order.model,
            f"its pipeline is {type(pipeline).__name__}, which takes no {' or '.join(missing)}, "
            "so it can neither edit by instruction nor generate from a prompt.",
        )
    family = EditBackend if "image" in takes else GenerateBackend
    return family(pipeline, order, defaults)


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
    for config in (DiffusionPipeline.load_config, _transformers_config):
        try:
            config(source.place)
        except Exception:  # noqa: BLE001 - whatever it is: it is not of this kind
            continue
        return config is not _transformers_config
    raise ModelNotFound(
        order.model, "it is no folder here, and the hub lacks it or is out of reach."
    )


def _transformers_config(source: str) -> object:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source)

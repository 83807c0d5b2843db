"""Which family a checkpoint belongs to, told by its own files; then it is loaded."""

import os
from pathlib import Path

from diffusers import DiffusionPipeline

from safelight.errors import ModelNotFound
from safelight.models.backend import Backend, ModelOrder
from safelight.models.demo.build import DEMOS, demo_folder
from safelight.models.devices import first_line
from safelight.models.diffusion import accepted, load_pipeline
from safelight.models.edit import EditBackend
from safelight.models.generate import GenerateBackend
from safelight.models.recognize import load_recognizer

_NEEDED = ("prompt", "num_inference_steps", "callback_on_step_end")


def load(order: ModelOrder) -> Backend:
    """Load a demo, a folder or a hub id. Raises ModelNotFound, saying what to do."""
    source = _demo(order) if order.model in DEMOS else order.model
    if not _is_pipeline(order, source):
        return load_recognizer(order, source)
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
    return family(pipeline, order.model)


def _is_pipeline(order: ModelOrder, source: str) -> bool:
    """Tell whether it is a diffusers pipeline; if not, it is a transformers model."""
    if os.path.exists(source):  # unlike pathlib's, it takes a name too long for none
        if (Path(source) / "model_index.json").is_file():
            return True
        if (Path(source) / "config.json").is_file():
            return False
        raise ModelNotFound(
            order.model,
            "the folder has neither a model_index.json, as diffusers pipelines have, nor a "
            "config.json, as classifiers of transformers have.",
        )
    for config in (DiffusionPipeline.load_config, _transformers_config):
        try:
            config(source)
        except Exception:  # noqa: BLE001 - whatever it is: it is not of this kind
            continue
        return config is not _transformers_config
    raise ModelNotFound(
        order.model, "it is no folder here, and the hub lacks it or is out of reach."
    )


def _transformers_config(source: str) -> object:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source)


def _demo(order: ModelOrder) -> str:
    try:
        return str(demo_folder(order.model, Path(order.cache_folder).expanduser()))
    except OSError as wrong:
        why = f"it cannot be built in {order.cache_folder}: {first_line(wrong)}"
        raise ModelNotFound(order.model, why) from wrong

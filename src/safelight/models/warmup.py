"""Warm up a model before the first request: the first call of a process is always slow."""

import sys
from dataclasses import replace
from time import perf_counter

from PIL import Image

from safelight.errors import HostOutOfMemory, ModelNotFound, OutOfMemory
from safelight.models.backend import Backend, Edit, Generation, ModelOrder, Recognition, Work
from safelight.models.devices import first_line
from safelight.reasons import reason_of_exception

_SIDE = 512  # if the model's side is unknown
_STEPS = 2
_PROMPT = "warm up"


def warm_up(backend: Backend, order: ModelOrder) -> None:
    """Run a model once and discard the output. Raises ModelNotFound if that fails.

    Out of memory is not a failure here: smaller requests may still fit.
    """
    started = perf_counter()
    try:
        backend.run([_work(backend)], lambda _step, _latents: None)
    except Exception as error:
        if reason_of_exception(error) not in (OutOfMemory.reason, HostOutOfMemory.reason):
            raise ModelNotFound(
                order.model, f"its first call failed: {first_line(error)}"
            ) from error
        sys.excepthook(type(error), error, error.__traceback__)
    backend.info = replace(backend.info, warm_up_seconds=perf_counter() - started)


def _work(backend: Backend) -> Work:
    defaults, side = backend.info.defaults, backend.info.side or _SIDE
    size = int(defaults.get("width", side)), int(defaults.get("height", side))
    guidance = defaults.get("guidance_scale", 7.5)
    match backend.task:
        case "edit":
            image_guidance = defaults.get("image_guidance_scale", 1.5)
            image = Image.new("RGB", size)
            return Edit(image, _PROMPT, "", _STEPS, guidance, image_guidance, seed=0)
        case "generate":
            return Generation(size, _PROMPT, "", _STEPS, guidance, seed=0)
        case "predict":
            return Recognition(Image.new("RGB", (side, side)), top=1)

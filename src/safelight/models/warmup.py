"""Makes a model warm before the first caller comes: no process's first call is typical."""

import sys
from dataclasses import replace
from time import perf_counter

from PIL import Image

from safelight.errors import ModelNotFound, OutOfMemory
from safelight.models.backend import Backend, Edit, Generation, ModelOrder, Recognition, Work
from safelight.models.devices import first_line
from safelight.reasons import reason_of_exception

_SIDE = 512  # where a model does not tell its own
_STEPS = 2
_PROMPT = "warm up"


def warm_up(backend: Backend, order: ModelOrder) -> None:
    """Have a model make one thing that nobody sees. Raises ModelNotFound where it makes nothing.

    Too little memory is no reason to stop: those who ask for less may still be served.
    """
    started = perf_counter()
    try:
        backend.run([_work(backend)], lambda _step, _latents: None)
    except Exception as wrong:
        if reason_of_exception(wrong) != OutOfMemory.reason:
            raise ModelNotFound(order.model, f"it makes nothing: {first_line(wrong)}") from wrong
        sys.excepthook(type(wrong), wrong, wrong.__traceback__)
    backend.info = replace(backend.info, warm_up_seconds=perf_counter() - started)


def _work(backend: Backend) -> Work:
    asked, side = backend.info.defaults, backend.info.side or _SIDE
    size = int(asked.get("width", side)), int(asked.get("height", side))
    guidance = asked.get("guidance_scale", 7.5)
    match backend.task:
        case "edit":
            about = asked.get("image_guidance_scale", 1.5)
            return Edit(Image.new("RGB", size), _PROMPT, "", _STEPS, guidance, about, seed=0)
        case "generate":
            return Generation(size, _PROMPT, "", _STEPS, guidance, seed=0)
        case "predict":
            return Recognition(Image.new("RGB", (side, side)), top=1)

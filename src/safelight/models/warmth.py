"""Makes a model warm before the first caller comes: no process's first call is typical."""

import sys
from dataclasses import replace
from time import perf_counter

from PIL import Image

from safelight.models.backend import Backend, Edit, Generation, Recognition, Work

_SIDE = 512  # where a model does not tell its own
_STEPS = 2
_PROMPT = "warm up"


def warm_up(backend: Backend) -> None:
    """Have a model make one thing that nobody sees.

    One that fails is told of and no reason to stop: those who ask for less may still be served.
    """
    started = perf_counter()
    try:
        backend.run([_work(backend)], lambda _step, _latents: None)
    except Exception as wrong:  # noqa: BLE001 - whatever it is, the first caller will be told
        sys.excepthook(type(wrong), wrong, wrong.__traceback__)
    backend.info = replace(backend.info, warm_up_seconds=perf_counter() - started)


def _work(backend: Backend) -> Work:
    side = backend.info.side or _SIDE
    guidance = backend.info.defaults.get("guidance_scale", 7.5)
    match backend.task:
        case "edit":
            image = Image.new("RGB", (side, side))
            return Edit(image, _PROMPT, "", _STEPS, guidance, 1.5, seed=0)
        case "generate":
            return Generation((side, side), _PROMPT, "", _STEPS, guidance, seed=0)
        case "predict":
            return Recognition(Image.new("RGB", (side, side)), top=1)

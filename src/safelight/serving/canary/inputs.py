"""The golden inputs of each task: two fixed pictures, two prompts, two seeds.

Two, so that a worker that answers with an earlier image is found out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from math import sin

from PIL import Image

from safelight.serving.job import (
    EditParameters,
    GenerateParameters,
    Parameters,
    PredictParameters,
    Served,
)
from safelight.settings import Settings

_SIDE = 128  # at most: a smaller image costs less, and passes through the same weights
_USUAL_SIDE = 512
_STEPS = 3
_LABELS = 20
_PROMPTS = ("turn it into a painting of a harbour at night", "a red bicycle in front of a hedge")
_SEEDS = (41, 97)


@dataclass(frozen=True, slots=True)
class GoldenInput:
    """One input: its name, the image, the size (width, height) of the output."""

    name: str
    image: bytes
    size: tuple[int, int]
    parameters: Parameters
    seed: int

    @property
    def steps(self) -> int:
        """Return the number of denoising steps; 0 if the task has none."""
        return 0 if isinstance(self.parameters, PredictParameters) else self.parameters.steps


def golden_inputs(served: Served, settings: Settings) -> list[GoldenInput]:
    """Return the two golden inputs of a loaded model, with its own guidance.

    A compiled model gets its own size: for another one it would compile again.
    """
    own = served.side or _USUAL_SIDE
    longest = own if settings.compile else min(_SIDE, own)
    side = max(served.multiple, longest // served.multiple * served.multiple)
    steps = min(_STEPS, settings.step_limit)
    return [
        GoldenInput(
            f"golden-{place + 1}",
            b"" if served.task == "generate" else picture(side, place),
            (side, side),
            _parameters(served.task, prompt, steps, side, served.defaults),
            seed,
        )
        for place, (prompt, seed) in enumerate(zip(_PROMPTS, _SEEDS, strict=True))
    ]


def _parameters(
    task: str, prompt: str, steps: int, side: int, defaults: Mapping[str, float]
) -> Parameters:
    guidance = {name: value for name, value in defaults.items() if "guidance" in name}
    match task:
        case "edit":
            return EditParameters.model_validate(
                {"instruction": prompt, "steps": steps, **guidance}
            )
        case "generate":
            size = {"width": side, "height": side}
            own = {name: value for name, value in guidance.items() if name == "guidance_scale"}
            return GenerateParameters.model_validate(
                {"prompt": prompt, "steps": steps, **size, **own}
            )
        case _:
            return PredictParameters(top=_LABELS)


@cache
def picture(side: int, place: int) -> bytes:
    """Return a PNG of smooth waves and hard edges, the same on every machine."""
    pixels = bytes(
        level
        for y in range(side)
        for x in range(side)
        for level in _levels(x / side, y / side, place)
    )
    buffer = BytesIO()
    Image.frombytes("RGB", (side, side), pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _levels(x: float, y: float, place: int) -> tuple[int, int, int]:
    wave = sin((5 + 3 * place) * x + 2 * y) + sin(7 * y - (4 - place) * x)
    disc = (x - 0.5) ** 2 + (y - 0.4 - 0.2 * place) ** 2 < 0.06
    red, green, blue = 128 + 60 * wave, 90 + 40 * wave, 220 * x
    return (int(red), int(200 * y), 210) if disc else (int(red), int(green), int(blue))

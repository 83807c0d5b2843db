"""The quality assessment of an output image, made after the response for a sample of requests."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assessment:
    """Quality of one output: ratios from 0 (bad) to 1 (good), or None if unknown.

    `score` combines `sharpness`, `exposure`, `colourfulness` and `cleanness` (no noise) without a
    reference image. `structure` and `edges` are the shares of the input that were kept. `changed`
    is the share of the image that changed. `adherence` is how well the image fits the prompt.
    `before` and `after` are JPEG thumbnails, empty unless samples are stored. `error` is the
    failure reason if the output is not usable, or `none`. `seconds` is the cost of the assessment.
    """

    request_id: str
    instruction_type: str
    error: str = "none"
    score: float | None = None
    sharpness: float | None = None
    exposure: float | None = None
    colourfulness: float | None = None
    cleanness: float | None = None
    structure: float | None = None
    edges: float | None = None
    changed: float | None = None
    adherence: float | None = None
    seconds: float = 0.0
    before: bytes = b""
    after: bytes = b""


Assessor = Callable[[Assessment], None]

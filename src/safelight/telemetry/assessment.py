"""What was found of an output after its request was answered: a sample, off the answer's path."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assessment:
    """How good one output is: ratios, 0 (bad) to 1 (good), or None if unknown.

    `sharpness`, `exposure`, `colourfulness` and `cleanness` (of noise) make up `score`, without any
    reference; `structure` and `edges` tell how much of the input was kept, `changed` is the share
    of the picture that changed; `adherence` is how well the picture fits what was asked. `before`
    and `after` are thumbnails (JPEG), empty unless samples are kept. `error` is the request's
    reason of failure where what was made was not as it should be, or `none`. `seconds` is what it
    cost to find this out.
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

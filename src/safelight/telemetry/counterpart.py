"""What a second model made of a request that the served model had answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counterpart:
    """The values of a pair, known some time after the request's record was written.

    `model` names the second model, and how it differs from the served one. `measures` are by name:
    ratios of latency and memory (second / first), the others differences from -1 to 1; unknown ones
    are left out. `image` is a JPEG thumbnail of the second model's output, empty unless samples are
    stored.
    """

    request_id: str
    model: str
    measures: Mapping[str, float] = field(default_factory=dict)
    image: bytes = b""

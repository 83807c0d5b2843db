"""A model whose device is not this processor, as in production: `tests.attacks.model:painter`.

Its process loads what a worker with a GPU loads. Its steps only wait, where a GPU would work.
"""

import torch

from safelight.models.backend import ModelOrder
from tests.serving.models import Painter


def painter(order: ModelOrder) -> Painter:
    """Return the model."""
    import diffusers  # noqa: F401 - for its memory

    assert torch.ones(1).sum() == 1
    return Painter(order)

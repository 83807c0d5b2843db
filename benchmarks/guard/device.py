"""A model whose steps take a fixed time on one device, which only one step can use at a time."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import numpy as np

from safelight.models.backend import Edit, MadeImage, ModelInfo, ModelOrder, OnStep, Task

LOCK = "GUARD_BENCHMARK_LOCK"
STEP_SECONDS = 0.005


class Waiting:
    """Waits at each step, and returns its input."""

    task: Task = "edit"
    pipeline = None

    def __init__(self, order: ModelOrder) -> None:
        self.info = ModelInfo(order.model, "Waiting", "none", "float32", "cpu")
        self._lock = Path(os.environ[LOCK]).open("wb")  # noqa: SIM115 - as long as the model lives

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[MadeImage]:
        """Run the steps of a batch."""
        for step in range(batch[0].steps):
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                Event().wait(STEP_SECONDS)
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            on_step(step + 1, None)
        return [MadeImage(np.asarray(edit.image)) for edit in batch]


def waiting(order: ModelOrder) -> Waiting:
    """Return the model."""
    return Waiting(order)

"""The tagger as Safelight serves it: `safelight serve benchmarks.serving.work:tagger`."""

from collections.abc import Sequence

from benchmarks.serving.model import Tagger
from safelight.models.backend import Labels, ModelInfo, ModelOrder, OnStep, Recognition, Task


class TaggerBackend:
    """The tagger, behind the protocol that Safelight's worker speaks."""

    task: Task = "predict"
    pipeline = None

    def __init__(self, order: ModelOrder) -> None:
        self.info = ModelInfo(order.model, "Tagger", "none", "float32", "cpu")
        self._tagger = Tagger()

    def run(self, batch: Sequence[Recognition], on_step: OnStep) -> list[Labels]:
        """Return the labels of each picture; there are no steps to tell of."""
        made = self._tagger.tag([work.image for work in batch])
        return [Labels(scores[: work.top]) for work, scores in zip(batch, made, strict=True)]


def tagger(order: ModelOrder) -> TaggerBackend:
    """Return the tagger, ready."""
    return TaggerBackend(order)

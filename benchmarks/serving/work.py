"""The tagger for Safelight: `safelight serve benchmarks.serving.work:tagger`."""

from collections.abc import Sequence

from benchmarks.serving.model import Tagger
from safelight.models.backend import Labels, ModelInfo, ModelOrder, OnStep, Recognition, Task


class TaggerBackend:
    """The tagger with the protocol of Safelight's worker."""

    task: Task = "predict"
    pipeline = None

    def __init__(self, order: ModelOrder) -> None:
        self.info = ModelInfo(order.model, "Tagger", "none", "float32", "cpu")
        self._tagger = Tagger()

    def run(self, batch: Sequence[Recognition], on_step: OnStep) -> list[Labels]:
        """Return the labels of each image; there are no steps to report."""
        tagged = self._tagger.tag([work.image for work in batch])
        return [Labels(scores[: work.top]) for work, scores in zip(batch, tagged, strict=True)]


def tagger(order: ModelOrder) -> TaggerBackend:
    """Return the loaded tagger."""
    return TaggerBackend(order)

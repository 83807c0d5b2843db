"""BentoML with adaptive batching: `bentoml serve benchmarks.serving.peers.bento:TaggerService`.

With a maximum latency of 100 ms it refuses requests of 32 connections; 1 s is faster than 10 s.
"""

import bentoml

from benchmarks.serving.model import Scores, Tagger
from benchmarks.serving.task import TAG_BATCH, read_base64


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class TaggerService:
    """Tags images."""

    def __init__(self) -> None:
        self._model = Tagger()

    @bentoml.api(batchable=True, max_batch_size=TAG_BATCH, max_latency_ms=1000)
    def predict(self, image: list[str]) -> list[Scores]:
        """Return the labels of a batch."""
        return self._model.tag([read_base64(one) for one in image])

"""Ray Serve with `@serve.batch`; the environment selects the proxy.

Tried: waits of 0, 2 and 10 ms for a fuller batch. No wait was the fastest.
"""

import signal
import sys

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.model import Scores, Tagger
from benchmarks.serving.task import TAG_BATCH, read_base64


# Two batches may be in progress, so that one fills while the other runs.
@serve.deployment(max_ongoing_requests=2 * TAG_BATCH, ray_actor_options={"num_cpus": 1})
class TaggerDeployment:
    """Tags images."""

    def __init__(self) -> None:
        self._model = Tagger()

    @serve.batch(max_batch_size=TAG_BATCH, batch_wait_timeout_s=0)
    async def tag(self, images: list[str]) -> list[Scores]:
        """Return the labels of a batch."""
        return self._model.tag([read_base64(image) for image in images])

    async def __call__(self, request: Request) -> dict[str, Scores]:
        """Serve one request."""
        body = await request.json()
        return {"labels": await self.tag(body["image"])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(TaggerDeployment.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()

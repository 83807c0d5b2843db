"""LitServe with batching, in the fastest settings of those tried.

Tried: batches of 8 and 32, waits of 0, 0.5, 2 and 10 ms, and both queues. The fastest is no wait
(the default) with the fast queue (not the default).
"""

import sys

import litserve
from fastapi import Response
from PIL import Image

from benchmarks.serving.model import Editor, Scores, Tagger
from benchmarks.serving.task import EDIT_BATCH, TAG_BATCH, read_base64, write


class _Api(litserve.LitAPI):
    def decode_request(self, request: dict[str, str]) -> Image.Image:
        """Return the image of one request."""
        return read_base64(request["image"])


class TaggerApi(_Api):
    """Tags images."""

    def setup(self, device: str) -> None:
        """Load the model, in the worker."""
        self._model = Tagger()

    def predict(self, x: list[Image.Image]) -> list[Scores]:
        """Return the labels of a batch."""
        return self._model.tag(x)

    def encode_response(self, output: Scores) -> dict[str, Scores]:
        """Return the response to one request."""
        return {"labels": output}


class EditorApi(_Api):
    """Edits images."""

    folder = ""

    def setup(self, device: str) -> None:
        """Load the model, in the worker."""
        self._model = Editor(self.folder)

    def predict(self, x: list[Image.Image]) -> list[Image.Image]:
        """Return a batch of edited images."""
        return self._model.edit(x)

    def encode_response(self, output: Image.Image) -> Response:
        """Return the response to one request."""
        return Response(write(output), media_type="image/png")


def tagger() -> litserve.LitAPI:
    """Return the service that tags."""
    return TaggerApi(max_batch_size=TAG_BATCH, batch_timeout=0, api_path="/predict")


def editor(folder: str) -> litserve.LitAPI:
    """Return the service that edits."""
    api = EditorApi(max_batch_size=EDIT_BATCH, batch_timeout=0, api_path="/edit")
    api.folder = folder
    return api


if __name__ == "__main__":
    port, work, *folder = sys.argv[1:]
    api = {"tagger": tagger, "editor": editor}[work](*folder)
    litserve.LitServer(api, accelerator="cpu", fast_queue=True).run(
        host="127.0.0.1", port=int(port), log_level="error", generate_client_file=False
    )

"""FastAPI as in its tutorial: a plain function in the thread pool."""

import sys
from threading import Lock

import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

from benchmarks.serving.model import Editor, Scores, Tagger
from benchmarks.serving.task import read_base64, write


class Body(BaseModel):
    """The body of a request."""

    image: str


def tagger() -> FastAPI:
    """Return the service that tags."""
    app = FastAPI()
    model = Tagger()

    @app.post("/predict")
    def predict(body: Body) -> dict[str, Scores]:
        return {"labels": model.tag([read_base64(body.image)])[0]}

    return app


def editor(folder: str) -> FastAPI:
    """Return the service that edits."""
    app = FastAPI()
    model = Editor(folder)
    one_at_a_time = Lock()  # the scheduler of a pipeline keeps state between its steps

    @app.post("/edit")
    def edit(body: Body) -> Response:
        with one_at_a_time:
            edited = model.edit([read_base64(body.image)])
        return Response(write(edited[0]), media_type="image/png")

    return app


if __name__ == "__main__":
    port, work, *folder = sys.argv[1:]
    app = {"tagger": tagger, "editor": editor}[work](*folder)
    uvicorn.run(app, port=int(port), log_level="error", access_log=False)

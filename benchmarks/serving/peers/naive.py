"""FastAPI as its tutorial teaches: a plain function, called in the thread pool."""

import sys
from threading import Lock

import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

from benchmarks.serving.model import Editor, Scores, Tagger
from benchmarks.serving.task import read_base64, write


class Asked(BaseModel):
    """What a request carries."""

    image: str


def tagger() -> FastAPI:
    """Return the service that tags."""
    app = FastAPI()
    model = Tagger()

    @app.post("/predict")
    def predict(asked: Asked) -> dict[str, Scores]:
        return {"labels": model.tag([read_base64(asked.image)])[0]}

    return app


def editor(folder: str) -> FastAPI:
    """Return the service that edits."""
    app = FastAPI()
    model = Editor(folder)
    one_at_a_time = Lock()  # a diffusers pipeline keeps its place among the steps in itself

    @app.post("/edit")
    def edit(asked: Asked) -> Response:
        with one_at_a_time:
            made = model.edit([read_base64(asked.image)])
        return Response(write(made[0]), media_type="image/png")

    return app


if __name__ == "__main__":
    port, work, *folder = sys.argv[1:]
    app = {"tagger": tagger, "editor": editor}[work](*folder)
    uvicorn.run(app, port=int(port), log_level="error", access_log=False)

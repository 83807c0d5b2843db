"""A text-to-image API with prometheus-fastapi-instrumentator, as an article builds it.

The article returns `{"error": ...}, 500` on a failure. FastAPI sends that as a list with status
200, so no counter sees it. One line adds Safelight; `failed` tells it what such a response is.

python examples/articles/diffusion_api.py stable-diffusion-v1-5/stable-diffusion-v1-5
"""

import base64
import sys
from io import BytesIO
from typing import Any

import uvicorn
from diffusers import DiffusionPipeline
from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel

import safelight


class Prompt(BaseModel):
    """What to draw, and its size in pixels."""

    prompt: str
    size: int = 512


def is_error(response: safelight.Response) -> bool:
    """Return True for `[{"error": ...}, 500]`."""
    match response.json():
        case [{"error": _}, int(status)]:
            return status >= 500
    return False


def create_app(model: str) -> FastAPI:
    pipe = DiffusionPipeline.from_pretrained(model)
    app = FastAPI(title="Diffusion API")
    Instrumentator().instrument(app).expose(app)
    safelight.watch(app=app, pipeline=pipe, failed=is_error)

    @app.post("/generate")
    def generate(body: Prompt) -> Any:
        try:
            options = {"height": body.size, "width": body.size, "num_inference_steps": 4}
            image = pipe(body.prompt, **options).images[0]
        except Exception as error:  # noqa: BLE001 - the article answers every failure itself
            return {"error": str(error)}, 500
        png = BytesIO()
        image.save(png, "PNG")
        return {"image": base64.b64encode(png.getvalue()).decode()}

    return app


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    uvicorn.run(create_app(sys.argv[1]), port=port)

"""An InstructPix2Pix service that counts its own requests, as an article builds it.

The article's middleware reads the request's JSON, which consumes the body and fails for uploads.
This one reads nothing. One line adds Safelight, which keeps the service's own metrics.

python examples/articles/edit_service.py timbrooks/instruct-pix2pix
"""

import sys
import time
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Annotated

import uvicorn
from diffusers import StableDiffusionInstructPix2PixPipeline
from fastapi import FastAPI, Form, Request, Response, UploadFile
from PIL import Image
from prometheus_client import Counter, Histogram, generate_latest

import safelight

REQUESTS = Counter("instructpix2pix_requests", "Requests.", ["endpoint", "status_code"])
SECONDS = Histogram("instructpix2pix_seconds", "Time of a request.", ["endpoint"])


def create_app(model: str) -> FastAPI:
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(model, safety_checker=None)
    app = FastAPI(title="InstructPix2Pix")
    safelight.watch(app=app, pipeline=pipe)

    @app.middleware("http")
    async def count(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        started = time.perf_counter()
        response = await call_next(request)
        SECONDS.labels(request.url.path).observe(time.perf_counter() - started)
        REQUESTS.labels(request.url.path, response.status_code).inc()
        return response

    @app.post("/edit")
    def edit(image: UploadFile, instruction: Annotated[str, Form()]) -> Response:
        original = Image.open(image.file).convert("RGB")
        edited = pipe(instruction, image=original, num_inference_steps=4).images[0]
        png = BytesIO()
        edited.save(png, "PNG")
        return Response(png.getvalue(), media_type="image/png")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), media_type="text/plain")

    return app


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    uvicorn.run(create_app(sys.argv[1]), port=port)

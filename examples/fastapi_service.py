"""A small image editing service with FastAPI. One line adds Safelight and its /metrics.

python examples/fastapi_service.py timbrooks/instruct-pix2pix
curl -F image=@photo.jpg -F instruction="make him old" localhost:8000/edit -o edited.png
"""

import sys
import threading
from io import BytesIO
from typing import Annotated

import uvicorn
from diffusers import StableDiffusionInstructPix2PixPipeline
from fastapi import FastAPI, Form, HTTPException, Response, UploadFile
from PIL import Image

import safelight


def create_app(model: str) -> FastAPI:
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(model, safety_checker=None)
    one_at_a_time = threading.Lock()
    app = FastAPI(title="Edit an image")
    safelight.watch(app=app, pipeline=pipe)

    @app.post("/edit")
    def edit(
        image: UploadFile, instruction: Annotated[str, Form()], steps: Annotated[int, Form()] = 20
    ) -> Response:
        try:
            original = Image.open(image.file).convert("RGB")
        except OSError as error:
            raise HTTPException(422, "Send an image.") from error
        with one_at_a_time:  # a pipeline's scheduler keeps state between its steps
            edited = pipe(instruction, image=original, num_inference_steps=steps).images[0]
        png = BytesIO()
        edited.save(png, "PNG")
        return Response(png.getvalue(), media_type="image/png")

    return app


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    uvicorn.run(create_app(sys.argv[1]), port=port)

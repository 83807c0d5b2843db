"""A small image editing service with Flask. One line adds Safelight and its /metrics.

python examples/flask_service.py timbrooks/instruct-pix2pix
curl -F image=@photo.jpg -F instruction="make him old" localhost:8000/edit -o edited.png
"""

import sys
from io import BytesIO

from diffusers import StableDiffusionInstructPix2PixPipeline
from flask import Flask, Response, abort, request
from PIL import Image

import safelight


def create_app(model: str) -> Flask:
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(model, safety_checker=None)
    app = Flask(__name__)
    safelight.watch(app=app, pipeline=pipe)

    @app.post("/edit")
    def edit() -> Response:
        try:
            original = Image.open(request.files["image"]).convert("RGB")
        except OSError:
            abort(422, "Send an image.")
        steps = request.form.get("steps", 20, type=int)
        instruction = request.form["instruction"]
        edited = pipe(instruction, image=original, num_inference_steps=steps).images[0]
        png = BytesIO()
        edited.save(png, "PNG")
        return Response(png.getvalue(), mimetype="image/png")

    return app


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    create_app(sys.argv[1]).run(port=port, threaded=False)

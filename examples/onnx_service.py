"""An object detection service with ONNX Runtime, as YOLO services are. One line adds Safelight.

python examples/onnx_service.py yolo.onnx
curl -F image=@street.jpg localhost:8000/detect
"""

import sys
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException, UploadFile
from PIL import Image

import safelight

SIDE = 640


def create_app(model: str) -> FastAPI:
    session = onnxruntime.InferenceSession(model, providers=onnxruntime.get_available_providers())
    name = session.get_inputs()[0].name
    app = FastAPI(title="Detect objects")
    safelight.watch(app=app, pipelines={"yolo": session})

    @app.post("/detect")
    def detect(image: UploadFile) -> Any:
        try:
            picture = Image.open(image.file).convert("RGB").resize((SIDE, SIDE))
        except OSError as error:
            raise HTTPException(422, "Send an image.") from error
        pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255
        (boxes,) = session.run(None, {name: pixels})
        return boxes.reshape(boxes.shape[0], boxes.shape[1], -1)[0].tolist()

    return app


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    uvicorn.run(create_app(sys.argv[1]), port=port)

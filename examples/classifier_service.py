"""A transformers classifier behind FastAPI. One line adds Safelight.

python examples/classifier_service.py google/vit-base-patch16-224
curl -F image=@cat.jpg localhost:8000/predict
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, UploadFile
from PIL import Image
from transformers import pipeline

import safelight


def create_app(model: str) -> FastAPI:
    classify = pipeline("image-classification", model=model)
    app = FastAPI(title="Classify images")
    safelight.watch(app=app, pipeline=classify)

    @app.post("/predict")
    def predict(image: UploadFile) -> Any:
        try:
            picture = Image.open(image.file).convert("RGB")
        except OSError as error:
            raise HTTPException(422, "Send an image.") from error
        return classify(picture)

    return app


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    uvicorn.run(create_app(sys.argv[1]), port=port)

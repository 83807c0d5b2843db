"""An image recognition service with metrics of its own, as an article builds it.

One line adds Safelight: the service's `model_request_total` and `model_latency_seconds` stay, and
its requests, stages and machine become visible.

python examples/articles/recognition_service.py google/vit-base-patch16-224
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, UploadFile
from PIL import Image
from prometheus_client import Counter, Histogram, make_asgi_app
from transformers import pipeline

import safelight

NAME = "universal_v3"
REQUESTS = Counter("model_request", "Requests of the model.", ["model_name", "status"])
LATENCY = Histogram("model_latency_seconds", "Time of the model.", ["model_name"])


def create_app(model: str) -> FastAPI:
    classify = pipeline("image-classification", model=model)
    app = FastAPI(title="Recognition")
    app.mount("/metrics", make_asgi_app())
    safelight.watch(app=app, pipelines={NAME: classify})

    @app.post("/predict")
    def predict(image: UploadFile) -> Any:
        try:
            picture = Image.open(image.file).convert("RGB")
            with LATENCY.labels(NAME).time():
                labels = classify(picture)
        except Exception as error:
            REQUESTS.labels(NAME, "failed").inc()
            raise HTTPException(500, str(error)) from error
        REQUESTS.labels(NAME, "success").inc()
        return labels

    return app


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    uvicorn.run(create_app(sys.argv[1]), port=port)

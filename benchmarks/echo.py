"""A minimal FastAPI service; the first argument chooses the instrumentation."""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI


def make(instrumentation: str) -> FastAPI:
    """Return the echo service: `plain`, `safelight`, or `instrumentator`."""
    app = FastAPI()

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    if instrumentation == "safelight":
        import safelight

        safelight.watch(app=app)
    elif instrumentation == "instrumentator":
        from prometheus_fastapi_instrumentator import Instrumentator

        Instrumentator().instrument(app).expose(app)
    return app


if __name__ == "__main__":
    uvicorn.run(make(sys.argv[1]), port=int(sys.argv[2]), log_level="error", access_log=False)

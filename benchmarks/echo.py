"""The smallest FastAPI service, watched in the way that the first argument names."""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI


def make(way: str) -> FastAPI:
    """Return the echo service: `plain`, `safelight`, or `instrumentator`."""
    app = FastAPI()

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    if way == "safelight":
        import safelight

        safelight.watch(app=app)
    elif way == "instrumentator":
        from prometheus_fastapi_instrumentator import Instrumentator

        Instrumentator().instrument(app).expose(app)
    return app


if __name__ == "__main__":
    uvicorn.run(make(sys.argv[1]), port=int(sys.argv[2]), log_level="error", access_log=False)

"""Run `safelight` without one part of a service: `python -m benchmarks.without log serve …`."""

import sys
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from safelight.cli.main import main
from safelight.http_server.uploads import arrived_body
from safelight.origins import Origins
from safelight.probes.sampler import Sampler
from safelight.records.store import Store
from safelight.serving import app
from safelight.serving.engine.batching import Batching
from safelight.serving.http.front import Front
from safelight.serving.job import Handler, Job, Outcome

_LABELS = (("cat", 0.1),) * 10
_BODY = b"x" * 500  # as long as the answer of a model


def _log() -> None:
    app.log_sink = lambda: lambda _record: None


def _sampler() -> None:
    Sampler.start = lambda _self: None


def _metrics() -> None:
    app.metrics_sink = lambda _meter, **_more: lambda _record: None


def _records() -> None:
    Store.write = lambda _self, _record: None


def _policies() -> None:
    def assemble(run_model: Handler, *_more: object) -> Handler:
        return run_model

    app.assemble = assemble


def _engine() -> None:
    async def answer(_self: Batching, _job: Job) -> Outcome:
        return Outcome(labels=_LABELS)

    Batching.__call__ = answer


def _model_routes() -> None:
    async def serve(_self: Front, request: Request, _route: object) -> Response:
        await arrived_body(request, limit_bytes=10**9)
        return Response(_BODY)

    Front.serve = serve


def _application() -> None:
    serve_truly = Origins.__call__

    async def serve(self: Origins, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            await serve_truly(self, scope, receive, send)
            return
        await receive()
        length = b"%d" % len(_BODY)
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY})

    Origins.__call__ = serve


PARTS: dict[str, Callable[[], None]] = {
    "log": _log,
    "sampler": _sampler,
    "metrics": _metrics,
    "records": _records,
    "policies": _policies,
    "engine": _engine,
    "model_routes": _model_routes,
    "application": _application,
}

if __name__ == "__main__":
    PARTS[sys.argv.pop(1)]()
    main()

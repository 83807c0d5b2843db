"""Answers scrapes with the cards' metrics; keeps answering while there is no card or driver.

A driver is often there later than the exporter is, and lost while it runs. An exporter that ended
then would be one more thing down, without a word about why; this one is up, without cards, and its
failures rise.
"""

from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from safelight.metrics.registry import Meter
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.settings import Settings
from safelight.stack.programs import Program, require_free_port

_NAME = "gpu-exporter"
_PROBE = "nvml"

Report = Callable[[str], None]


class Cards:
    """Reads the cards again and again; tells when they come and when they go."""

    def __init__(self, meter: Meter, probe: NvmlProbe, report: Report) -> None:
        self._meter = meter
        self._probe = probe
        self._report = report
        self._present: bool | None = None

    def read(self) -> bool:
        """Read every card once; tell whether there was one. None at all is a failure here."""
        found = self._probe.read()
        if not found:
            self._meter.probe_failed(_PROBE)
        if found is not self._present:
            self._present = found
            self._report(_FOUND if found else _MISSING)
        return found


_FOUND = "Cards are read."
_MISSING = (
    "No NVIDIA card answers: none is there, its driver is not loaded, or the container was not "
    "given it. Scrapes are answered without cards until one does; see nvidia-smi."
)


def application(meter: Meter) -> Starlette:
    """Return what answers: /metrics with what the meter has, /healthz that we are alive."""

    def metrics(request: Request) -> Response:  # in a thread: it is no coroutine
        exposition = meter.expose(request.headers.get("accept", ""))
        return Response(exposition.body, headers={"content-type": exposition.content_type})

    def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz)])


def serve(settings: Settings, *, report: Report) -> None:
    """Answer scrapes until the process is told to end. Raises PortTaken, or BadSetting."""
    port = settings.gpu_exporter_port
    require_free_port(Program(_NAME, (), settings.host, port, "/metrics"))
    meter = Meter(settings.namespace)
    probe = NvmlProbe(meter)
    sampler = Sampler(meter)
    sampler.every(settings.gpu_interval_seconds, _PROBE, Cards(meter, probe, report).read)
    sampler.start()
    report(
        f"http://{settings.host}:{port}/metrics is read every {settings.gpu_interval_seconds:g} s."
    )
    try:
        uvicorn.run(
            application(meter),
            host=settings.host,
            port=port,
            log_level="warning",
            access_log=False,
            lifespan="off",
        )
    finally:
        sampler.stop()
        probe.close()

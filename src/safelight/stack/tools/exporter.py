"""Expose the metrics of NVIDIA GPUs. It keeps running without a GPU or driver.

A driver often loads after the exporter starts, and can be lost while it runs. The exporter then
stays up without GPU metrics and counts its failures.
"""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from safelight.http_server.connections import Connections
from safelight.http_server.server import listen, server_of
from safelight.metrics.registry import Meter
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.settings import Settings

_NAME = "gpu-exporter"
_PROBE = "nvml"

Report = Callable[[str], None]


class GpuReader:
    """Reads the GPUs repeatedly, and reports when they appear and disappear."""

    def __init__(self, meter: Meter, probe: NvmlProbe, report: Report) -> None:
        self._meter = meter
        self._probe = probe
        self._report = report
        self._present: bool | None = None

    def read(self) -> bool:
        """Read every GPU once, and return True if there is one. None counts as a failure."""
        present = self._probe.read()
        if not present:
            self._meter.probe_failed(_PROBE)
        if present is not self._present:
            self._present = present
            self._report(_PRESENT if present else _MISSING)
        return present


_PRESENT = "NVIDIA GPUs found; reading them."
_MISSING = (
    "No NVIDIA GPU found: there is none, its driver is not loaded, or the container has no access "
    "to it. /metrics has no GPU metrics until one is found. Check with nvidia-smi."
)


def application(meter: Meter) -> Starlette:
    """Return the routes: /metrics and /healthz."""

    def metrics(request: Request) -> Response:  # not a coroutine, so it runs in a thread
        exposition = meter.expose(request.headers.get("accept", ""))
        return Response(exposition.body, headers={"content-type": exposition.content_type})

    def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz)])


def serve(settings: Settings, *, report: Report) -> None:
    """Serve /metrics until SIGINT or SIGTERM. Raises PortTaken or BadSetting."""
    port = settings.gpu_exporter_port
    listening = listen(_NAME, settings.host, port)
    meter = Meter(settings.namespace)
    probe = NvmlProbe(meter)
    sampler = Sampler(meter)
    sampler.every(settings.gpu_interval_seconds, _PROBE, GpuReader(meter, probe, report).read)
    sampler.start()
    report(
        f"http://{settings.host}:{port}/metrics is up; "
        f"the GPUs are read every {settings.gpu_interval_seconds:g} s."
    )
    try:
        # Closed connections are not a metric of the service whose namespace the GPUs have.
        connections = Connections(settings, Meter("exporter"))
        server_of(application(meter), listening, connections).run()
    finally:
        sampler.stop()
        probe.close()

"""`watch`: puts the probes around somebody else's service, and takes them off, in one call."""

from collections.abc import Callable, Collection
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from safelight.errors import BadSetting
from safelight.metrics.catalog import BUILD_INFO, IN_FLIGHT, MODEL_INFO
from safelight.metrics.registry import Exposition, Meter
from safelight.probes.asgi import AppProbe
from safelight.probes.calls import is_int8, precision_of
from safelight.probes.diffusers import DiffusersProbe
from safelight.probes.flask import FlaskProbe
from safelight.probes.guard import Guard
from safelight.probes.host import HostProbe
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.probes.torch import TorchProbe
from safelight.quality.instructions import load_taxonomy
from safelight.settings import Settings, load
from safelight.telemetry.meter import late_steps, metering
from safelight.telemetry.record import PipelineCall, Record, Sink, current_exchange, direct_call

_NAMESPACES = {"InstructPix2Pix": "instructpix2pix", "ZImage": "zimage"}
_DEFAULT_NAMESPACE = "diffusion"


class Watch:
    """What `watch` returns: the metrics of the service, until `unwatch`."""

    def __init__(self, meter: Meter, undo: list[Callable[[], None]]) -> None:
        self.meter = meter
        self._undo = undo

    def __enter__(self) -> "Watch":
        """Watch inside a block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Take every probe off at the block's end."""
        self.unwatch()

    def expose(self, accept: str = "") -> Exposition:
        """Return the metrics as text, or as OpenMetrics where `accept` names it."""
        return self.meter.expose(accept)

    def serve(self, port: int, host: str = "127.0.0.1") -> None:
        """Answer scrapes on a port, for a program without a web application; `unwatch` ends it.

        Raises OSError where the port is taken.
        """
        self._undo.append(self.meter.serve(port, host))

    def unwatch(self) -> None:
        """Take every probe off and put everything back; a second call does nothing."""
        while self._undo:
            self._undo.pop()()


def watch(
    *,
    app: Any = None,
    pipeline: Any = None,
    namespace: str | None = None,
    model_endpoints: Collection[str] = (),
    on_record: Sink | None = None,
) -> Watch:
    """Watch an application, a pipeline, or both; with both, requests and steps are joined.

    Args:
        app: FastAPI, Starlette or Flask application; it gets `/metrics`.
        pipeline: any diffusers `DiffusionPipeline`.
        namespace: prefix of the metrics; by default that of the pipeline's family
            (`instructpix2pix`, `zimage`, else `diffusion`).
        model_endpoints: route templates whose requests count as the model's even before the first
            reached it. Other routes join when a request of theirs first calls the pipeline.
        on_record: called with the `Record` of every finished request of the model.

    Raises:
        AlreadyWatched: the application or the pipeline has a probe already.
        BadSetting: `app` is no application that Safelight knows, or a setting is wrong.
    """
    chosen = load(namespace=namespace or _namespace_of(pipeline))
    meter = Meter(chosen.namespace)
    meter.set(BUILD_INFO, version("safelight"), python_version(), value=1)
    sink = _both(metering(meter), on_record, meter)
    sampler = Sampler(meter)
    undo: list[Callable[[], None]] = []
    watched = Watch(meter, undo)
    try:
        if app is not None:
            undo.append(_watch_app(app, meter, sink, model_endpoints))
        if pipeline is not None:
            undo.append(_watch_pipeline(pipeline, chosen, meter, sink, sampler))
    except BaseException:
        watched.unwatch()
        raise
    undo.append(_sample(meter, sampler, chosen))
    return watched


def _watch_app(
    app: Any, meter: Meter, sink: Sink, model_endpoints: Collection[str]
) -> Callable[[], None]:
    probe: AppProbe | FlaskProbe
    if hasattr(app, "user_middleware"):
        probe = AppProbe(app, meter=meter, sink=sink, model_endpoints=model_endpoints)
    elif hasattr(app, "wsgi_app"):
        probe = FlaskProbe(app, meter=meter, sink=sink, model_endpoints=model_endpoints)
    else:
        raise BadSetting(
            f"watch() knows FastAPI, Starlette and Flask applications, not {type(app).__name__}. "
            "Wrap any other ASGI application in safelight.probes.asgi.AsgiProbe."
        )
    return probe.unwatch


def _watch_pipeline(
    pipeline: Any, settings: Settings, meter: Meter, sink: Sink, sampler: Sampler
) -> Callable[[], None]:
    taxonomy = load_taxonomy(settings.taxonomy)
    probe = DiffusersProbe(pipeline, _Joining(meter, sink), classify=taxonomy.classify)
    _describe(meter, pipeline)
    sampler.every(settings.gpu_interval_seconds, "diffusers", probe.drain)
    return probe.unwatch


def _sample(meter: Meter, sampler: Sampler, settings: Settings) -> Callable[[], None]:
    nvml = NvmlProbe(meter)
    sampler.every(settings.gpu_interval_seconds, "torch", TorchProbe(meter).read)
    sampler.every(settings.gpu_interval_seconds, "nvml", nvml.read)
    sampler.every(settings.host_interval_seconds, "host", HostProbe(meter).read)
    sampler.start()

    def stop() -> None:
        sampler.stop()
        nvml.close()

    return stop


class _Joining:
    """Joins a pipeline's calls to the request they are made for; without one they stand alone."""

    def __init__(self, meter: Meter, sink: Sink) -> None:
        self._meter = meter
        self._sink = sink
        self.failed = meter.probe_failed

    def begin(self) -> None:
        """Charge the request's time so far to its receiving."""
        self._meter.add(IN_FLIGHT)
        exchange = current_exchange()
        if exchange is not None:
            exchange.timeline.mark("receive")

    def end(self, call: PipelineCall) -> None:
        """Hand the call to its request, or write its own Record."""
        self._meter.add(IN_FLIGHT, amount=-1)
        exchange = current_exchange()
        if exchange is None:
            self._sink(direct_call(call))
            return
        exchange.timeline.share(call.phases, rest="denoise")
        exchange.add(call)

    def late(self, call: PipelineCall) -> None:
        """Count the steps of a call whose Record is written already."""
        late_steps(self._meter, call)


def _both(first: Sink, second: Sink | None, meter: Meter) -> Sink:
    """Return a sink that writes to both; neither's failure reaches the request or the other."""
    guard = Guard("record", meter.probe_failed)

    def write(record: Record) -> None:
        with guard:
            first(record)
        if second is not None:
            with guard:
                second(record)

    return write


def _namespace_of(pipeline: Any) -> str:
    name = type(pipeline).__name__
    return next((found for part, found in _NAMESPACES.items() if part in name), _DEFAULT_NAMESPACE)


def _describe(meter: Meter, pipeline: Any) -> None:
    name = str(getattr(pipeline, "name_or_path", None) or "unnamed")
    meter.set(
        MODEL_INFO,
        Path(name).name if Path(name).exists() else name,
        type(pipeline).__name__,
        type(getattr(pipeline, "scheduler", None)).__name__,
        precision_of(pipeline, int8=is_int8(pipeline)),
        str(getattr(pipeline, "device", "cpu")),
        value=1,
    )

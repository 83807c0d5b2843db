"""`watch`: attach probes to an existing application and pipeline, and detach them."""

from collections.abc import Callable, Collection
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from safelight.errors import BadSetting
from safelight.libraries import Pipeline, WebApp
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
from safelight.telemetry.meter import metrics_sink, observe_steps
from safelight.telemetry.record import PipelineCall, Record, Sink, current_exchange, record_of_call

_NAMESPACES = {"InstructPix2Pix": "instructpix2pix", "ZImage": "zimage"}
_DEFAULT_NAMESPACE = "diffusion"


class Watch:
    """The result of `watch`: the metrics of the watched objects, until `unwatch`."""

    def __init__(self, meter: Meter, undo: list[Callable[[], None]]) -> None:
        self.meter = meter
        self._undo = undo

    def __enter__(self) -> "Watch":
        """Return this watch."""
        return self

    def __exit__(self, *error: object) -> None:
        """Detach all probes."""
        self.unwatch()

    def expose(self, accept: str = "") -> Exposition:
        """Return the metrics as text, or as OpenMetrics if `accept` names it."""
        return self.meter.expose(accept)

    def serve(self, port: int, host: str = "127.0.0.1") -> None:
        """Serve `/metrics` on a port until `unwatch`, for programs without a web application.

        Raises OSError if the port is in use.
        """
        self._undo.append(self.meter.serve(port, host))

    def unwatch(self) -> None:
        """Detach all probes and restore the watched objects; a second call does nothing."""
        while self._undo:
            self._undo.pop()()


def watch(
    *,
    app: WebApp = None,
    pipeline: Pipeline = None,
    namespace: str | None = None,
    model_endpoints: Collection[str] = (),
    on_record: Sink | None = None,
) -> Watch:
    """Watch an application, a pipeline, or both; with both, each request has its steps.

    Args:
        app: FastAPI, Starlette or Flask application; it gets `/metrics`.
        pipeline: any diffusers `DiffusionPipeline`.
        namespace: prefix of the metrics; by default that of the pipeline's family
            (`instructpix2pix`, `zimage`, else `diffusion`).
        model_endpoints: route templates whose requests always count as model requests. Other
            routes are added when one of their requests first calls the pipeline.
        on_record: called with the `Record` of every finished model request.

    Raises:
        AlreadyWatched: the application or the pipeline already has a probe.
        BadSetting: `app` has an unsupported type, or a setting is wrong.
    """
    settings = load(namespace=namespace or _namespace_of(pipeline))
    meter = Meter(settings.namespace)
    meter.set(BUILD_INFO, version("safelight"), python_version(), value=1)
    sink = _both(metrics_sink(meter), on_record, meter)
    sampler = Sampler(meter)
    undo: list[Callable[[], None]] = [meter.membership.leave]
    watched = Watch(meter, undo)
    try:
        if app is not None:
            undo.append(_watch_app(app, meter, sink, model_endpoints))
        if pipeline is not None:
            undo.append(_watch_pipeline(pipeline, settings, meter, sink, sampler))
    except BaseException:
        watched.unwatch()
        raise
    undo.append(_sample(meter, sampler, settings))
    return watched


def _watch_app(
    app: WebApp, meter: Meter, sink: Sink, model_endpoints: Collection[str]
) -> Callable[[], None]:
    meter.membership.join(Guard("processes", meter.probe_failed))
    probe: AppProbe | FlaskProbe
    if hasattr(app, "user_middleware"):
        probe = AppProbe(app, meter=meter, sink=sink, model_endpoints=model_endpoints)
    elif hasattr(app, "wsgi_app"):
        probe = FlaskProbe(app, meter=meter, sink=sink, model_endpoints=model_endpoints)
    else:
        raise BadSetting(
            f"watch() supports FastAPI, Starlette and Flask applications, not "
            f"{type(app).__name__}. Wrap any other ASGI application in "
            "safelight.probes.asgi.AsgiProbe."
        )
    return probe.unwatch


def _watch_pipeline(
    pipeline: Pipeline, settings: Settings, meter: Meter, sink: Sink, sampler: Sampler
) -> Callable[[], None]:
    taxonomy = load_taxonomy(settings.taxonomy)
    probe = DiffusersProbe(pipeline, _CallListener(meter, sink), classify=taxonomy.classify)
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


class _CallListener:
    """Adds a pipeline's calls to the current request; without one, each becomes a Record."""

    def __init__(self, meter: Meter, sink: Sink) -> None:
        self._meter = meter
        self._sink = sink
        self.failed = meter.probe_failed

    def begin(self) -> None:
        """Charge the request's time so far to the stage `receive`."""
        self._meter.add(IN_FLIGHT)
        exchange = current_exchange()
        if exchange is not None:
            exchange.timeline.mark("receive")

    def end(self, call: PipelineCall) -> None:
        """Add the call to its request, or write a Record of its own."""
        self._meter.add(IN_FLIGHT, amount=-1)
        exchange = current_exchange()
        if exchange is None:
            self._sink(record_of_call(call))
            return
        exchange.timeline.split(call.phases, rest="denoise")
        exchange.add(call)

    def late(self, call: PipelineCall) -> None:
        """Observe the steps of a call whose Record is already written."""
        observe_steps(self._meter, call)


def _both(first: Sink, second: Sink | None, meter: Meter) -> Sink:
    """Return a sink that writes to both; a failure in one affects neither request nor other."""
    guard = Guard("record", meter.probe_failed)

    def write(record: Record) -> None:
        with guard:
            first(record)
        if second is not None:
            with guard:
                second(record)

    return write


def _namespace_of(pipeline: Pipeline) -> str:
    name = type(pipeline).__name__
    matches = (namespace for part, namespace in _NAMESPACES.items() if part in name)
    return next(matches, _DEFAULT_NAMESPACE)


def _describe(meter: Meter, pipeline: Pipeline) -> None:
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

"""`watch`: attach probes to an application and its models, and detach them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safelight.errors import AlreadyWatched
from safelight.libraries import Pipeline, WebApp
from safelight.metrics.registry import Exposition, Meter
from safelight.models.extras import require_driver, require_receiver
from safelight.probes.arguments import check_joined, check_objects, check_options, models_of
from safelight.probes.asgi import AppProbe, is_asgi
from safelight.probes.assign import CallCounter
from safelight.probes.carry import carry
from safelight.probes.declare import Failed
from safelight.probes.describe import Described, model_name
from safelight.probes.diffusers import DiffusersProbe, Watcher, is_diffusion
from safelight.probes.disguise import probe_of
from safelight.probes.flask import FlaskProbe
from safelight.probes.guard import Guard
from safelight.probes.host import HostProbe
from safelight.probes.models import ModelProbe
from safelight.probes.nvml import NvmlProbe
from safelight.probes.options import METRICS_PATH, WebOptions
from safelight.probes.pushing import push_metrics
from safelight.probes.sampler import Sampler
from safelight.probes.torch import TorchProbe
from safelight.quality.instructions import load_taxonomy
from safelight.settings import Settings, load
from safelight.telemetry.meter import metrics_sink, service_meter
from safelight.telemetry.record import Record, Sink
from safelight.telemetry.textfile import Textfile
from safelight.telemetry.traces import Traces

_NAMESPACES = {"InstructPix2Pix": "instructpix2pix", "ZImage": "zimage"}
_DEFAULT_NAMESPACE = "diffusion"


class Watch:
    """The result of `watch`: the metrics of the watched objects, until `unwatch`."""

    def __init__(self, meter: Meter, undo: list[Callable[[], None]]) -> None:
        self.meter = meter
        self._undo = undo
        self._textfiles: dict[Path, Textfile] = {}

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
        """Serve `/metrics` on a port until `unwatch`, from a thread of its own.

        It answers without a web application, and while a handler blocks the application's event
        loop. Raises OSError if the port is in use.
        """
        self._undo.append(self.meter.serve(port, host))

    def write_textfile(self, path: str | Path) -> None:
        """Write the counts to a file NAME.prom of node-exporter's textfile collector.

        It is written now, at `unwatch` or the end of the program, and whenever you call this again.
        Raises OSError, and BadSetting if node-exporter would not read the name.
        """
        path = Path(path)
        textfile = self._textfiles.get(path) or Textfile(self.meter, path)
        textfile.write()
        if path not in self._textfiles:
            self._textfiles[path] = textfile
            self._undo.insert(0, textfile.close)  # after all probes have counted

    def unwatch(self) -> None:
        """Detach all probes and restore the watched objects; a second call does nothing."""
        while self._undo:
            self._undo.pop()()
        self._textfiles.clear()


def watch(  # noqa: PLR0913 - each is one choice of the user
    *,
    app: WebApp = None,
    pipeline: Pipeline = None,
    pipelines: Mapping[str, Pipeline] | None = None,
    namespace: str | None = None,
    model_endpoints: Collection[str] = (),
    failed: Failed | None = None,
    metrics_path: str = METRICS_PATH,
    metrics_port: int | None = None,
    on_record: Sink | None = None,
    records: bool = False,
) -> Watch:
    """Watch an application, models, or both; with both, each request has its model calls.

    Args:
        app: FastAPI, Starlette or Flask application, or another object that is an ASGI or WSGI
            application. It gets `/metrics`.
        pipeline: a diffusers pipeline, a transformers pipeline or model, or an ONNX Runtime
            session. For any other model see `inference` and `measured`.
        pipelines: several of these, by the name that they get in the metrics.
        namespace: prefix of the metrics; by default that of the model's family
            (`instructpix2pix`, `zimage`, `recognition` for models that make no images, else
            `diffusion`).
        model_endpoints: route templates whose requests always count as model requests. Other
            routes are added when one of their requests first calls a model.
        failed: judges each response: returns True or a reason if it is a failure, although its
            status may be 200.
        metrics_path: where the application serves the metrics. If the application has its own
            page there, both are joined.
        metrics_port: also serve the metrics on this port of 127.0.0.1, from a thread of its own,
            which answers while a handler blocks the event loop. `Watch.serve` has other addresses.
        on_record: called with the `Record` of every finished model request.
        records: also store these records in the database that SAFELIGHT_RECORDS_URL names.

    Raises:
        AlreadyWatched: the application or a pipeline already has a probe.
        BadSetting: an object has an unsupported type, or a setting is wrong.
        MissingExtra: records, or the OTLP receiver, need a library that is not installed.
        OSError: the metrics port is in use.
    """
    models = models_of(pipeline, pipelines)
    present = _watch_of(app) if models else None
    if present is not None:
        check_joined(failed, metrics_path, metrics_port, model_endpoints, records)
        namespace = present.meter.namespace if namespace is None else namespace
    settings = load(namespace=namespace or _namespace_of(models.values()))
    require_receiver(settings)
    check_objects(app, models)
    check_options(model_endpoints, failed, metrics_path, metrics_port, on_record, records)
    parts = _Parts(settings, on_record, _only_name(models), present)
    try:
        if records:
            parts.store_records()
        if app is not None and present is None:
            options = WebOptions(failed, metrics_path, joins_pages=True)
            parts.watch_app(app, model_endpoints, options)
        for name, model in models.items():
            parts.watch_model(model, name if pipelines else "", shared=app is not None)
        parts.begin()
        if metrics_port is not None:
            parts.watched.serve(metrics_port)
    except BaseException:
        parts.watched.unwatch()
        raise
    return parts.watched


@dataclass
class _Parts:
    """The parts of one watch while it is assembled."""

    settings: Settings
    on_record: Sink | None
    only_model: str
    present: AppProbe | FlaskProbe | None  # the application's first watch, which this one joins
    meter: Meter = field(init=False)
    is_first: bool = False  # of the watches that count with this meter
    undo: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        joined = self.present
        if joined is not None and joined.meter.namespace == self.settings.namespace:
            self.meter, own = joined.meter, joined.sink
        else:
            self.meter = service_meter(self.settings.namespace, self.settings.gpu_hour_price)
            own = metrics_sink(self.meter, model=self.only_model)
            self.is_first = True
            if joined is not None:
                self.undo.append(joined.page.share(self.meter))
        self.sinks = [own] if self.on_record is None else [own, self.on_record]
        self.traces = Traces(self.settings, self.meter, model=self.only_model)
        self.sink = _all(self.sinks, self.meter, self.traces)
        self.watched = Watch(self.meter, self.undo)
        self.sampler = Sampler(self.meter)
        self.counter = CallCounter(self.meter, self.sink)
        self.undo.extend((self.traces.close, self.counter.close, carry()))

    def store_records(self) -> None:
        """Store the records of all requests and calls, unless records are disabled."""
        from safelight.records.config import store_config

        require_driver(self.settings)
        config = store_config(self.settings, model=self.only_model)
        if config is not None:
            from safelight.records.lazy import LazyStore  # only here: most services need it not

            store = LazyStore(config, self.meter)
            self.sinks.append(store.write)
            self.undo.insert(0, store.close)  # at the end: probes may still count until then

    def watch_app(self, app: object, model_endpoints: Collection[str], options: WebOptions) -> None:
        """Watch an ASGI or WSGI application."""
        kind = AppProbe if is_asgi(app) else FlaskProbe
        probe = kind(
            app, meter=self.meter, sink=self.sink, model_endpoints=model_endpoints, options=options
        )
        self.undo.extend((self.meter.membership.leave, probe.unwatch))

    def watch_model(self, model: object, name: str, *, shared: bool) -> None:
        """Watch a pipeline or model. Only with an application may it have a probe already."""
        if not is_diffusion(model):
            probe = ModelProbe(model, self.counter, name=name or model_name(model))
            self.undo.append(probe.unwatch)
            return
        present = probe_of(model)
        if present is not None and (not shared or present.reports_to(self.meter)):
            raise AlreadyWatched("pipeline")
        classify = load_taxonomy(self.settings.taxonomy).classify
        if present is None:
            present = DiffusersProbe(model, self.counter, classify=classify, model=name)
            watcher = present.first
        else:
            watcher = Watcher(self.counter, classify, name)
            present.add(watcher)
        self.undo.append(lambda: present.remove(watcher))
        self.undo.append(Described(self.meter, model, name).stop)
        self.sampler.every(self.settings.gpu_interval_seconds, "diffusers", present.drain)

    def begin(self) -> None:
        """Begin to sample the machine and to send the metrics, unless an earlier watch does it."""
        if self.present is None:
            self._sample()
        if self.is_first:
            self.undo.insert(0, push_metrics(self.meter, self.settings))  # the end is in them too

    def _sample(self) -> None:
        nvml = NvmlProbe(self.meter)
        self.sampler.every(self.settings.gpu_interval_seconds, "torch", TorchProbe(self.meter).read)
        self.sampler.every(self.settings.gpu_interval_seconds, "nvml", nvml.read)
        self.sampler.every(self.settings.host_interval_seconds, "host", HostProbe(self.meter).read)
        self.sampler.start()
        self.undo.extend((nvml.close, self.sampler.stop))


def _watch_of(app: object) -> AppProbe | FlaskProbe | None:
    probe = probe_of(app)
    return probe if isinstance(probe, AppProbe | FlaskProbe) else None


def _all(sinks: Collection[Sink], meter: Meter, traces: Traces) -> Sink:
    """Return a sink that writes to all; a failure in one affects neither request nor others."""
    guard = Guard("record", meter.probe_failed)

    def write(record: Record) -> None:
        with guard:
            record = traces.decided(record)
        for sink in sinks:
            with guard:
                sink(record)

    return write


def _namespace_of(models: Iterable[object]) -> str:
    models = list(models)
    if models and not any(is_diffusion(model) for model in models):
        return "recognition"
    names = [type(model).__name__ for model in models]
    matches = (
        namespace for part, namespace in _NAMESPACES.items() if any(part in name for name in names)
    )
    return next(matches, _DEFAULT_NAMESPACE)


def _only_name(models: Mapping[str, object]) -> str:
    """Return the name of the only model, for calls and requests that do not name one."""
    if len(models) != 1:
        return ""
    ((name, model),) = models.items()
    return name or model_name(model)

"""Write Records and Assessments into the metrics of requests, models and image quality."""

import logging
import threading
from collections import defaultdict
from importlib.metadata import version
from platform import python_version

from safelight.metrics.buckets import image_size, step_place
from safelight.metrics.catalog import (
    ADHERENCE,
    ASSESSMENT_SECONDS,
    ASSESSMENTS,
    BACKGROUND_ENTROPY,
    BACKGROUNDS,
    BUILD_INFO,
    DEVICE_STEP_SECONDS,
    ENCODER_SECONDS,
    GPU_HOUR_PRICE,
    GUIDANCE_OVERRIDDEN,
    IMAGE_GUIDANCE,
    IMAGES,
    IN_FLIGHT,
    INFERENCE_SECONDS,
    MODEL_LATENCY,
    MODEL_REQUESTS,
    OUTCOMES,
    OUTPUT_PIXELS,
    QUALITY_SCORE,
    QUALITY_SQUARES,
    SERVICE_INFO,
    SIZE_SECONDS,
    STEP_SECONDS,
    STEPS,
    STRUCTURE,
    TEXT_GUIDANCE,
    WARM_UPS,
)
from safelight.metrics.metric import Metric
from safelight.metrics.registry import Exemplar, Meter
from safelight.reasons import NO_ERROR
from safelight.telemetry.assessment import Assessment, Assessor
from safelight.telemetry.record import PipelineCall, Record, Sink
from safelight.telemetry.request_series import RequestSeries, RequestWriter

log = logging.getLogger(__name__)
_MAX_WAITING = 32  # requests


def service_meter(namespace: str, gpu_hour_price: float | None = None) -> Meter:
    """Return the meter of a service, by whose `safelight_service_info` it is found.

    An unknown price is not exposed. Raises ValueError if the namespace is malformed or reserved.
    """
    meter = Meter(namespace)
    meter.set(BUILD_INFO, version("safelight"), python_version(), value=1)
    meter.set(SERVICE_INFO, namespace, value=1)
    if gpu_hour_price is not None:
        meter.set(GPU_HOUR_PRICE, value=gpu_hour_price)
    return meter


def metrics_sink(meter: Meter, *, model: str = "", together: bool = False) -> Sink:
    """Return a sink that counts Records with `meter`.

    `model` names the model of the calls that have no name, and of requests that failed before
    their call. With `together`, requests are counted before the next scrape, or when many wait:
    this takes less time, but another process must not read the counts.
    """
    meter.start_at_zero(GUIDANCE_OVERRIDDEN, WARM_UPS, IMAGES, OUTPUT_PIXELS, OUTCOMES, BACKGROUNDS)
    meter.set(IN_FLIGHT, value=0)
    counter = _Counter(meter, model)
    return _Together(meter, counter).add if together else counter.add


class _Counter:
    """Counts Records with a meter."""

    def __init__(self, meter: Meter, model: str) -> None:
        self._meter = meter
        self._model = model
        self._models = set[str]()
        if model:
            self._start(model)
        self.requests = RequestWriter(meter)

    def add(self, record: Record) -> None:
        """Count a Record, with its exemplar."""
        exemplar = Exemplar(record.trace_id, record.facts.id) if record.kept else None
        series = self.requests.series_of(record)
        series.note(record)
        series.count([record], exemplar)
        self.add_work(record, exemplar)

    def add_work(self, record: Record, exemplar: Exemplar | None = None) -> None:
        """Count what the model did for a request."""
        meter, facts = self._meter, record.facts
        _write_size(meter, record, exemplar)
        if facts.background_entropy is not None:
            _write_background(meter, record, facts.background_entropy)
        for call in facts.calls:
            if call.counted:
                _write_call(meter, call, exemplar)
                self._write_model(call, exemplar)
        unreached = not facts.calls and not facts.calls_running
        if self._model and unreached and record.status_code >= 500:
            meter.add(MODEL_REQUESTS, self._model, "failed")

    def _write_model(self, call: PipelineCall, exemplar: Exemplar | None) -> None:
        model = call.model or self._model
        if not model:
            return
        if model not in self._models:
            self._start(model)
        status = "success" if call.error == NO_ERROR else "failed"
        self._meter.child(MODEL_REQUESTS, model, status).inc(1, exemplar)
        if not call.warm_up:
            self._meter.observe(MODEL_LATENCY, model, value=call.seconds, exemplar=exemplar)

    def _start(self, model: str) -> None:
        """Expose a model's counters at 0, so that `increase` sees their first event."""
        for status in ("success", "failed"):
            self._meter.child(MODEL_REQUESTS, model, status)
        if self._meter.has(MODEL_REQUESTS, model, "failed"):
            self._models.add(model)


class _Together:
    """Counts Records that are alike together: one after another costs more. Thread-safe."""

    def __init__(self, meter: Meter, counter: _Counter) -> None:
        self._meter = meter
        self._counter = counter
        self._waiting = list[tuple[RequestSeries, Record]]()
        self._lock = threading.Lock()
        self._has_failed = False
        meter.before_expose(self.flush)

    def add(self, record: Record) -> None:
        """Count a Record soon; at once if it has an exemplar, or a value that others ask for."""
        if record.kept or record.facts.background_entropy is not None:
            self._counter.add(record)
            return
        series = self._counter.requests.series_of(record)
        series.note(record)
        self._waiting.append((series, record))
        if len(self._waiting) >= _MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Count all that wait."""
        with self._lock:  # a scrape sees all of them; `append` needs no lock
            waiting = self._waiting[:]
            del self._waiting[: len(waiting)]
            try:
                self._count(waiting)
            except Exception as error:  # noqa: BLE001 - a failure must not fail the scrape
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Count a failure and log the first."""
        self._meter.probe_failed("record")
        if not self._has_failed:
            self._has_failed = True
            log.error("Requests could not be counted.", exc_info=error)

    def _count(self, waiting: list[tuple[RequestSeries, Record]]) -> None:
        alike = defaultdict[RequestSeries, list[Record]](list)
        for series, record in waiting:
            alike[series].append(record)
            self._counter.add_work(record)
        for series, each in alike.items():
            series.count(each)


def _write_size(meter: Meter, record: Record, exemplar: Exemplar | None) -> None:
    """Observe the time of a returned image by its size."""
    sizes = [size for call in record.calls if call.counted for size in call.images]
    if sizes and record.status_code < 400:
        labels = record.facts.instruction_type, image_size(*sizes[-1])
        meter.observe(SIZE_SECONDS, *labels, value=record.seconds, exemplar=exemplar)


def _write_background(meter: Meter, record: Record, bits: float) -> None:
    meter.observe(BACKGROUND_ENTROPY, value=bits)
    background = "busy" if record.facts.busy_background else "calm"
    meter.add(BACKGROUNDS, background, "succeeded" if record.succeeded else "failed")


def assessment_sink(meter: Meter) -> Assessor:
    """Return a function that counts Assessments with `meter`."""
    meter.start_at_zero(ASSESSMENTS)

    def write(assessment: Assessment) -> None:
        meter.add(ASSESSMENTS, "assessed")
        meter.observe(ASSESSMENT_SECONDS, value=assessment.seconds)
        for metric, value in (
            (QUALITY_SCORE, assessment.score),
            (QUALITY_SQUARES, assessment.score and assessment.score**2),
            (STRUCTURE, assessment.structure),
            (ADHERENCE, assessment.adherence if assessment.error == NO_ERROR else None),
        ):
            if value is not None:
                meter.observe(metric, assessment.instruction_type, value=value)

    return write


def _write_call(meter: Meter, call: PipelineCall, exemplar: Exemplar | None) -> None:
    if call.leads and call.warm_up:
        meter.add(WARM_UPS)
    elif call.leads:
        meter.observe(INFERENCE_SECONDS, call.precision, value=call.seconds, exemplar=exemplar)
    if call.leads:
        observe_steps(meter, call, exemplar)
    for parameter in call.overridden:
        meter.add(GUIDANCE_OVERRIDDEN, parameter)
    _write_guidance(meter, TEXT_GUIDANCE, call.guidance_asked, call.guidance_in_force)
    _write_guidance(meter, IMAGE_GUIDANCE, call.image_guidance_asked, call.image_guidance_in_force)
    for width, height in call.images:
        meter.add(IMAGES, image_size(width, height))
        meter.add(OUTPUT_PIXELS, amount=width * height)


def observe_steps(meter: Meter, call: PipelineCall, exemplar: Exemplar | None = None) -> None:
    """Observe the steps and text encoders of a call, also if it ended after the Record."""
    if call.warm_up:
        return
    for encoder, seconds in call.encoder_seconds.items():
        meter.observe(ENCODER_SECONDS, encoder, value=seconds)
    number = len(call.step_seconds)
    if not number:
        return
    if call.device:
        mean = sum(call.step_seconds) / number
        meter.child(DEVICE_STEP_SECONDS, call.device).observe_many(mean, number)
    meter.observe(STEPS, value=number)
    for step, seconds in enumerate(call.step_seconds, start=1):
        meter.observe(STEP_SECONDS, step_place(step), value=seconds, exemplar=exemplar)


def _write_guidance(
    meter: Meter, metric: Metric, requested: float | None, in_force: float | None
) -> None:
    if requested is not None:
        meter.set(metric, "asked", value=requested)
    if in_force is not None:
        meter.set(metric, "in_force", value=in_force)
    elif requested is not None:  # unknown: not that of an earlier call, perhaps of another model
        meter.forget(metric, "in_force")

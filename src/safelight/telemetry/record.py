"""Data about a request: an Exchange while it runs, a Record once it is finished.

The web probe opens the Exchange and stores it in a context variable, which threads of the web
framework inherit. There the model's probe and the service add what they learn.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter

from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.reasons import NO_ERROR
from safelight.telemetry.timeline import Part, Timeline
from safelight.telemetry.trace_context import TraceContext, current_trace

NORMAL = "normal"  # the priority of requests that ask for none


@dataclass(frozen=True, slots=True)
class PipelineCall:
    """One call of a model. Times are seconds on the device that did the work.

    `pipeline` is the class of the model, `model` the name that the service gave to it, if any.
    `warm_up` marks a call that compiled the model: its time is not representative.

    If one call served a batch, each of its requests has the call with its own image. Only the
    request whose call `leads` counts the times; they have the same `batch_id`. A call with
    `counted=False` belongs to another watch, which counts it: here it only explains the request's
    stages.
    """

    pipeline: str
    instruction_type: str = NO_INSTRUCTION
    precision: str = "other"
    seconds: float = 0.0
    phases: Mapping[str, float] = field(default_factory=dict)
    encoder_seconds: Mapping[str, float] = field(default_factory=dict)
    step_seconds: tuple[float, ...] = ()
    steps_asked: int | None = None
    guidance_asked: float | None = None
    guidance_in_force: float | None = None
    image_guidance_asked: float | None = None
    image_guidance_in_force: float | None = None
    overridden: tuple[str, ...] = ()
    negative_prompt: bool = False
    images: tuple[tuple[int, int], ...] = ()
    error: str = NO_ERROR
    batch: int = 1
    batch_id: str = ""
    leads: bool = True
    warm_up: bool = False
    model: str = ""
    device: str = ""
    counted: bool = True

    @property
    def device_seconds(self) -> float | None:
        """Return the time of the call on its device; None if the device had not finished."""
        return sum(self.phases.values()) if self.phases else None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request, apart from its result and its times.

    `background_entropy` is the entropy of the input image's background in bits; `busy_background`
    is True if it is above the service's limit. `device_seconds` is the request's share of the
    device's time; None is unknown. `calls_running` counts the calls that had not ended
    when the request was over. `prompt` and `owner` are for the records store only: no metric, log
    line or trace may contain them. `id` is unique everywhere; `key` is the id that the caller sent,
    which is unique among the requests of this caller. `trace` is the trace in which the request
    came, if any. `retries` are the reasons why it was tried again, each with the seconds since the
    request began.
    """

    id: str = ""
    instruction_type: str = NO_INSTRUCTION
    queued: bool = False
    calls: tuple[PipelineCall, ...] = ()
    trace: TraceContext | None = None
    seed: int | None = None
    background_entropy: float | None = None
    busy_background: bool = False
    truncated: bool = False
    degraded: tuple[str, ...] = ()
    prompt: str | None = field(default=None, repr=False)
    owner: str = field(default="", repr=False)
    calls_running: int = 0
    priority: str = NORMAL
    key: str = ""
    retries: tuple[tuple[str, float], ...] = ()
    device_seconds: float | None = None


_facts_of = attrgetter(*(each.name for each in fields(Facts)))


@dataclass(slots=True)
class Exchange:
    """A running request, with the same attributes as Facts, to be set as they become known.

    `name` is the id in the response: the caller's own, or else the server's.
    """

    timeline: Timeline
    id: str = ""
    instruction_type: str = NO_INSTRUCTION
    queued: bool = False
    calls: tuple[PipelineCall, ...] = ()
    trace: TraceContext | None = None
    seed: int | None = None
    background_entropy: float | None = None
    busy_background: bool = False
    truncated: bool = False
    degraded: tuple[str, ...] = ()
    prompt: str | None = field(default=None, repr=False)
    owner: str = field(default="", repr=False)
    error: str = NO_ERROR
    is_model_request: bool = False
    calls_running: int = 0
    priority: str = NORMAL
    key: str = ""
    retries: tuple[tuple[str, float], ...] = ()
    device_seconds: float | None = None
    name: str = ""
    is_over: bool = False
    _noted_type: str | None = None

    def begin_call(self) -> bool:
        """Charge the time so far to `receive`. Return False if the request is already over."""
        with _LOCK:
            if self.is_over:
                return False
            self.timeline.mark("receive")
            self.calls_running += 1
            return True

    def end_call(self, call: PipelineCall, *, over: bool = False) -> bool:
        """Add a call that began here. Return False if the request is over, or has too many."""
        with _LOCK:
            self.calls_running -= 1
            if over or self.is_over or len(self.calls) >= MAX_CALLS:
                return False
            self.timeline.split(
                call.phases, rest="denoise" if "denoise" in call.phases else "predict"
            )
            self._add(call)
            self.spend(call.device_seconds)
            return True

    def spend(self, seconds: float | None) -> None:
        """Add device time of this request, if it is known."""
        if seconds is not None:
            self.device_seconds = (self.device_seconds or 0.0) + seconds

    def drop_call(self) -> None:
        """Forget a call that began here and did nothing."""
        with _LOCK:
            self.calls_running -= 1

    def add(self, call: PipelineCall) -> None:
        """Add a model's call. The last call decides whether the request failed."""
        with _LOCK:
            self._add(call)

    def note(self, instruction_type: str) -> None:
        """Set the instruction type; the calls of the request do not change it any more."""
        self._noted_type = self.instruction_type = instruction_type

    def _add(self, call: PipelineCall) -> None:
        self.calls += (call,)
        self.is_model_request = True
        self.instruction_type = self._noted_type or call.instruction_type
        self.error = call.error

    def facts(self) -> Facts:
        """Return a frozen copy of the facts."""
        return Facts(*_facts_of(self))


@dataclass(frozen=True, slots=True)
class Record:
    """One finished request. Metrics, log line, trace, and stored row are written from it.

    `parts` are its stages in their order, and `stages` their sums. `ended` is the time of its last
    byte on the clock of its timeline, 0 if unknown. `kept` is the reason why its
    exemplars and its trace are kept, if they are; `trace_id` and `span_id` are then its trace, if
    there is one.
    """

    facts: Facts
    endpoint: str
    status_code: int
    error: str
    seconds: float
    stages: Mapping[str, float]
    parts: tuple[Part, ...] = ()
    ended: float = 0.0
    method: str = ""
    kept: str = ""
    trace_id: str = ""
    span_id: str = ""

    @property
    def calls(self) -> tuple[PipelineCall, ...]:
        """Return the model calls of the request."""
        return self.facts.calls

    @property
    def succeeded(self) -> bool:
        """Return True if the caller received the requested result."""
        return self.error == NO_ERROR and self.status_code < 400


Sink = Callable[[Record], None]

MAX_CALLS = 256  # of one request: a camera's stream makes calls for days

# Held for microseconds, by the calls and the end of model requests. Reentrant, since the garbage
# collector may end the call of an abandoned generator at any moment.
_LOCK = threading.RLock()


def _renew_lock() -> None:
    """Replace the lock in a forked process: another thread may have held it."""
    global _LOCK
    _LOCK = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def new_id() -> str:
    """Return a random id of 128 bits, in hexadecimal digits."""
    return os.urandom(16).hex()  # uuid4 takes three times as long


def finish(
    exchange: Exchange,
    endpoint: str,
    status_code: int,
    error: str,
    *,
    method: str = "",
    ended: float | None = None,
) -> Record:
    """Return the Record of an Exchange; `error` is used if the Exchange has no error.

    `ended` is the time of the last sent byte on the timeline's clock; by default now.
    """
    timeline = exchange.timeline
    with _LOCK:
        exchange.is_over = True
        timeline.mark("respond", at=ended)
    if not exchange.id:
        exchange.id = new_id()
    if exchange.error != NO_ERROR:
        error = exchange.error
    parts = tuple(timeline.parts)
    return Record(
        exchange.facts(),
        endpoint,
        status_code,
        error,
        timeline.total_seconds,
        timeline.seconds,
        parts,
        timeline.started + timeline.total_seconds,
        method,
    )


def record_of_call(call: PipelineCall) -> Record:
    """Return the Record of a pipeline call outside any request, for example in a script."""
    inside, kind, spent = sum(call.phases.values()), call.instruction_type, call.device_seconds
    stages = {**call.phases, "respond": max(0.0, call.seconds - inside)}
    return Record(
        facts=Facts(
            id=new_id(),
            instruction_type=kind,
            calls=(call,),
            device_seconds=spent,
            trace=current_trace(),
        ),
        endpoint="none",
        status_code=200 if call.error == NO_ERROR else 500,
        error=call.error,
        seconds=call.seconds,
        stages=stages,
        parts=tuple(stages.items()),
    )

"""What is known of a request: an Exchange while it runs, a Record once it is over.

The web probe opens the Exchange and puts it where the pipeline's probe finds it: in a context
variable, which threads started by the web framework inherit. So nobody re-reads a body.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol
from uuid import uuid4

from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.reasons import NO_ERROR
from safelight.telemetry.timeline import Timeline


@dataclass(frozen=True, slots=True)
class PipelineCall:
    """One call of a diffusion pipeline. Times are seconds on the device that did the work.

    A `warm_up` is a call that compiled: its time says nothing of those that follow.

    Where one call served a batch, each of its requests has it, with its own image; one of them
    `leads`, and enters the times.
    """

    pipeline: str
    instruction_type: str = NO_INSTRUCTION
    precision: str = "other"
    seconds: float = 0.0
    phases: Mapping[str, float] = field(default_factory=dict)
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
    leads: bool = True
    warm_up: bool = False


@dataclass(slots=True)
class Exchange:
    """One request under way: what the probes and the service learn of it.

    `background_entropy` is that of the picture sent in, in bits; `busy_background`, whether it is
    above the service's limit.
    """

    timeline: Timeline
    id: str = ""
    is_model_request: bool = False
    instruction_type: str = NO_INSTRUCTION
    error: str = NO_ERROR
    queued: bool = False
    seed: int | None = None
    background_entropy: float | None = None
    busy_background: bool = False
    trace_id: str | None = None
    calls: list[PipelineCall] = field(default_factory=list)
    prompt: str | None = field(default=None, repr=False)
    owner: str = field(default="", repr=False)
    truncated: bool = False
    degraded: tuple[str, ...] = ()

    def add(self, call: PipelineCall) -> None:
        """Enter a pipeline's call; the last one decides whether the request failed."""
        self.calls.append(call)
        self.is_model_request = True
        self.instruction_type = call.instruction_type
        self.error = call.error


@dataclass(frozen=True, slots=True)
class Record:
    """One finished request: the one fact that metrics, log, trace and store are written from.

    `prompt` and `owner` are for the store alone: no metric, log or trace may carry them.
    """

    id: str
    endpoint: str
    status_code: int
    error: str
    instruction_type: str
    seconds: float
    stages: Mapping[str, float]
    queued: bool
    calls: tuple[PipelineCall, ...]
    trace_id: str | None = None
    seed: int | None = None
    background_entropy: float | None = None
    prompt: str | None = field(default=None, repr=False)
    owner: str = field(default="", repr=False)
    truncated: bool = False
    degraded: tuple[str, ...] = ()
    busy_background: bool = False

    @property
    def succeeded(self) -> bool:
        """Tell whether the caller got what was asked."""
        return self.error == NO_ERROR and self.status_code < 400


Sink = Callable[[Record], None]


class Passage(Protocol):
    """A request on its way through a web probe; most never need an Exchange, so it is made late."""

    @property
    def exchange(self) -> Exchange:
        """Return the request's Exchange, begun when the request arrived."""


CURRENT_PASSAGE: ContextVar[Passage | None] = ContextVar("safelight_passage", default=None)


def current_exchange() -> Exchange | None:
    """Return the request that this thread or task works for, if any."""
    passage = CURRENT_PASSAGE.get()
    return None if passage is None else passage.exchange


def finish(
    exchange: Exchange, endpoint: str, status_code: int, error: str, *, ended: float | None = None
) -> Record:
    """Return the Record of an exchange; `error` counts if it has none of its own.

    `ended` is when the last byte was sent, on the timeline's clock; by default that is now.
    """
    exchange.timeline.mark("respond", at=ended)
    return Record(
        id=exchange.id or uuid4().hex,
        endpoint=endpoint,
        status_code=status_code,
        error=exchange.error if exchange.error != NO_ERROR else error,
        instruction_type=exchange.instruction_type,
        seconds=exchange.timeline.total_seconds,
        stages=dict(exchange.timeline.seconds),
        queued=exchange.queued,
        calls=tuple(exchange.calls),
        trace_id=exchange.trace_id,
        seed=exchange.seed,
        background_entropy=exchange.background_entropy,
        prompt=exchange.prompt,
        owner=exchange.owner,
        truncated=exchange.truncated,
        degraded=exchange.degraded,
        busy_background=exchange.busy_background,
    )


def direct_call(call: PipelineCall) -> Record:
    """Return the Record of a pipeline that was called outside any request, as a script does."""
    failed = call.error != NO_ERROR
    inside = sum(call.phases.values())
    return Record(
        id=uuid4().hex,
        endpoint="none",
        status_code=500 if failed else 200,
        error=call.error,
        instruction_type=call.instruction_type,
        seconds=call.seconds,
        stages={**call.phases, "respond": max(0.0, call.seconds - inside)},
        queued=False,
        calls=(call,),
    )

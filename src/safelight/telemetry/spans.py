"""The spans of a finished request: what they are, and not yet how they are sent.

A span for the request, one for each of its stages in their order, one for each call of the model
around the stages of that call, and one for each group of denoising steps. A batch of several
requests has a span of its own, which links to theirs.

Names of attributes: https://opentelemetry.io/docs/specs/semconv/ (HTTP and GenAI). What these do
not define is `safelight.*`. No attribute has a prompt, an address or a file name.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from safelight.reasons import NO_ERROR
from safelight.telemetry.record import PipelineCall, Record
from safelight.telemetry.timeline import Part

Value = str | bool | int | float | Sequence[str]

_MODEL = frozenset({"encode_prompt", "encode_image", "denoise", "decode_latents", "predict"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STEP_GROUPS = 8
_MAX_STAGES = 200  # spans of one request: a camera's stream calls a model for days
_IDS = 2**64 - 1
_LARGEST = 2**63 - 1
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """A trace and a span in it."""

    trace_id: int
    span_id: int


@dataclass(slots=True)
class Span:
    """A span. Times are Unix times in nanoseconds.

    `error` is the reason why it failed, or empty; `is_failure` is False if the caller is to blame.
    """

    name: str
    place: Place
    parent: Place | None
    start: int
    end: int
    attributes: dict[str, Value] = field(default_factory=dict)
    links: list[Place] = field(default_factory=list)
    events: list[tuple[str, int, dict[str, Value]]] = field(default_factory=list)
    error: str = ""
    is_failure: bool = False
    is_server: bool = False


def spans_of(record: Record, ended: int, model: str = "") -> list[Span]:
    """Return the spans of a request that is kept; each follows its parent.

    `ended` is the Unix time in nanoseconds at which the request ended. `model` names the model of
    calls that have no name.
    """
    if model:
        calls = tuple(replace(call, model=call.model or model) for call in record.calls)
        record = replace(record, facts=replace(record.facts, calls=calls))
    return list(_Request(record, ended).spans())


def batch_place(batch_id: str) -> Place:
    """Return the place of the span of a batch."""
    return Place(int(batch_id, 16), int(batch_id[16:], 16))


def batch_span(call: PipelineCall, spans: Sequence[Span]) -> Span:
    """Return the span of a batch, which has the time of the call among the spans of a request."""
    own = next(each for each in spans if batch_place(call.batch_id) in each.links)
    attributes: dict[str, Value] = {**_of_model(call), "safelight.batch.size": call.batch}
    return Span("batch", batch_place(call.batch_id), None, own.start, own.end, attributes)


class _Request:
    """Builds the spans of one request."""

    def __init__(self, record: Record, ended: int) -> None:
        self._record = record
        self._start = ended - round(record.seconds * _NANO)
        self._own = int(record.span_id, 16)
        self._number = 0
        trace = record.facts.trace
        self._parent = None if trace is None else self._at(int(trace.span_id, 16))

    def _at(self, span_id: int) -> Place:
        return Place(int(self._record.trace_id, 16), span_id)

    def _next(self) -> Place:
        """Return a new place: the ids of a request's spans follow its own."""
        self._number += 1
        return self._at((self._own + self._number) & _IDS or 1)

    def spans(self) -> Iterator[Span]:
        """Yield the request's span, and those inside it."""
        request = self._of_request()
        yield request
        runs = [
            (in_model, list(stages))
            for in_model, stages in groupby(
                _merged(self._record.parts), lambda part: part[0] in _MODEL
            )
        ]
        attempts = self._attempts(sum(in_model for in_model, _ in runs))
        at = 0.0
        for in_model, stages in runs:
            if in_model:
                yield from self._call(stages, at, request.place, next(attempts))
            else:
                yield from self._stages(stages, at, request.place, None)
            at += sum(seconds for _, seconds in stages)

    def _attempts(self, number: int) -> Iterator["PipelineCall | str"]:
        """Yield what is known of each run of the model: its call, or the error that ended it.

        A run whose worker was lost has no call. It comes before the runs that have one.
        """
        calls, reasons = self._record.calls, [reason for reason, _ in self._record.facts.retries]
        for place in range(number - len(calls)):
            yield reasons[place] if place < len(reasons) else ""
        yield from calls[:number]

    def _of_request(self) -> Span:
        record, facts = self._record, self._record.facts
        attributes: dict[str, Value] = {
            "safelight.request.id": facts.id,
            "safelight.instruction_type": facts.instruction_type,
            "safelight.priority": facts.priority,
            "safelight.kept": record.kept,
        }
        if record.method:
            method = record.method if record.method in _METHODS else "_OTHER"
            attributes |= {
                "http.request.method": method,
                "http.route": record.endpoint,
                "http.response.status_code": record.status_code,
            }
            name = f"{method if method in _METHODS else 'HTTP'} {record.endpoint}"
        else:
            name = "call"
        if facts.key:
            attributes["safelight.caller_request_id"] = facts.key
        if facts.degraded:
            attributes["safelight.degraded"] = list(facts.degraded)
        if facts.background_entropy is not None:
            attributes["safelight.background_entropy"] = facts.background_entropy
        span = self._span(name, self._at(self._own), self._parent, (0.0, record.seconds))
        span.attributes |= attributes
        span.is_server = bool(record.method) and not (facts.trace and facts.trace.is_local)
        if not record.succeeded:
            # For a server, a caller's mistake (4xx) is no failure, say the conventions.
            span.error, span.is_failure = record.error, not 400 <= record.status_code < 499
        for reason, after in facts.retries:
            event: dict[str, Value] = {"error.type": reason}
            span.events.append(("retry", self._time(after), event))
        return span

    def _call(
        self, stages: list[Part], at: float, parent: Place, attempt: PipelineCall | str
    ) -> Iterator[Span]:
        """Yield the span of a run of the model, and those of its stages."""
        call = None if isinstance(attempt, str) else attempt
        seconds = sum(each for _, each in stages)
        operation = "predict" if stages[0][0] == "predict" else "generate_content"
        named = call or next(iter(self._record.calls), None)
        model = named.model or named.pipeline if named else "of an unknown model"
        name = f"{operation} {model}"
        span = self._span(name, self._next(), parent, (at, seconds))
        span.attributes |= {"gen_ai.operation.name": operation, "gen_ai.provider.name": "safelight"}
        error = attempt if isinstance(attempt, str) else attempt.error
        if error not in ("", NO_ERROR):
            span.error, span.is_failure = error, True
        if call is not None:
            span.attributes |= _of_call(call)
            if call.batch_id:
                span.links.append(batch_place(call.batch_id))
        if self._record.facts.seed is not None:
            span.attributes["gen_ai.request.seed"] = _bounded(self._record.facts.seed)
        yield span
        yield from self._stages(stages, at, span.place, call)

    def _stages(
        self, stages: Iterable[Part], at: float, parent: Place, call: PipelineCall | None
    ) -> Iterator[Span]:
        for stage, seconds in stages:
            span = self._span(stage, self._next(), parent, (at, seconds))
            yield span
            if stage == "denoise" and call is not None:
                yield from self._steps(call.step_seconds, at, seconds, span.place)
            at += seconds

    def _steps(
        self, steps: Sequence[float], at: float, most: float, parent: Place
    ) -> Iterator[Span]:
        """Yield a span for each group of steps; they end within the stage."""
        total = sum(steps)
        scale = min(1.0, most / total) if total else 0.0
        size = -(-len(steps) // _STEP_GROUPS) or 1
        for first in range(0, len(steps), size):
            group = steps[first : first + size]
            last = first + len(group)
            name = f"step {last}" if size == 1 else f"steps {first + 1} to {last}"
            span = self._span(name, self._next(), parent, (at, sum(group) * scale))
            span.attributes |= {
                "safelight.step.first": first + 1,
                "safelight.step.last": last,
                "safelight.step.max_seconds": max(group),
            }
            yield span
            at += sum(group) * scale

    def _span(
        self, name: str, place: Place, parent: Place | None, when: tuple[float, float]
    ) -> Span:
        """Return a span. `when`: seconds since the request began, and the seconds that it takes."""
        after, seconds = when
        return Span(name, place, parent, self._time(after), self._time(after + seconds))

    def _time(self, after: float) -> int:
        return self._start + round(after * _NANO)


def _merged(parts: Iterable[Part]) -> list[Part]:
    """Return parts without empty ones, and neighbours of the same stage as one."""
    merged: list[Part] = []
    for stage, seconds in parts:
        if merged and merged[-1][0] == stage:
            merged[-1] = stage, merged[-1][1] + seconds
        elif seconds > 0:
            merged.append((stage, seconds))
    if len(merged) <= _MAX_STAGES:
        return merged
    rest = sum(seconds for _, seconds in merged[_MAX_STAGES - 1 :])
    return [*merged[: _MAX_STAGES - 1], ("respond", rest)]


def _of_model(call: PipelineCall) -> dict[str, Value]:
    return {
        "gen_ai.request.model": call.model or call.pipeline,
        "safelight.pipeline": call.pipeline,
        "safelight.precision": call.precision,
    }


def _of_call(call: PipelineCall) -> dict[str, Value]:
    """Return the attributes of a call: how the model read the instruction (requirement P17)."""
    attributes = _of_model(call) | {"safelight.batch.size": call.batch}
    if call.images:
        attributes["gen_ai.output.type"] = "image"
        attributes["safelight.image.sizes"] = [f"{width}x{height}" for width, height in call.images]
    if len(call.images) > 1:
        attributes["gen_ai.request.choice.count"] = len(call.images)
    if call.overridden:
        attributes["safelight.overridden"] = list(call.overridden)
    if call.warm_up:
        attributes["safelight.warm_up"] = True
    known = {
        "safelight.steps_asked": call.steps_asked,
        "safelight.steps": len(call.step_seconds) or None,
        "safelight.guidance_asked": call.guidance_asked,
        "safelight.guidance_in_force": call.guidance_in_force,
        "safelight.image_guidance_asked": call.image_guidance_asked,
        "safelight.image_guidance_in_force": call.image_guidance_in_force,
    }
    return attributes | {name: _bounded(each) for name, each in known.items() if each is not None}


def _bounded(value: float) -> float:
    """Return a number that a span can hold: a watched service may have been asked for any."""
    return max(-_LARGEST, min(value, _LARGEST)) if isinstance(value, int) else value

"""Turn a request into jobs, and outcomes into a response: shared by all model routes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import cast

from fastapi import Request
from fastapi.responses import Response

from safelight.errors import (
    Cancelled,
    Forbidden,
    InvalidParameter,
    NotReady,
    Stopping,
    Timeout,
    Unauthorized,
    UnsupportedTask,
)
from safelight.http_server.uploads import Upload, Uploads, arrived_body, has_arrived, read_body
from safelight.metrics.catalog import IN_FLIGHT, OUTPUT_INVALID, PROMPTS_TRUNCATED, REJECTED
from safelight.metrics.registry import Meter
from safelight.quality.instructions import Taxonomy
from safelight.serving.http.access import Access
from safelight.serving.http.advice import min_kept_ratio, note_background, note_corruption
from safelight.serving.http.body import Body, Fields, check, measure_image
from safelight.serving.http.disconnect import DisconnectWatch
from safelight.serving.http.making import prompt_of, seed_of, sibling
from safelight.serving.http.naming import header, name_exchange
from safelight.serving.http.repeats import Call, Repeats, Run, digest_of
from safelight.serving.http.requests import Requests, stop
from safelight.serving.http.sizes import Sides, fit
from safelight.serving.job import (
    PRIORITIES,
    GenerateParameters,
    Handler,
    Job,
    Outcome,
    Parameters,
    PredictParameters,
    Priority,
    Served,
)
from safelight.serving.policies.rates import Buckets
from safelight.serving.timers import Timers
from safelight.settings import Settings
from safelight.telemetry.record import Exchange
from safelight.telemetry.scope import current_exchange
from safelight.telemetry.timeline import Timeline

_SIDE = 1024  # pixels; if neither the settings nor the model set a limit

Parse = Callable[[Request, bytes], Awaitable[Body]]
Respond = Callable[[Sequence[Job], Sequence[Outcome]], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """How one route parses its body, which parameters it takes, and how it responds."""

    kind: type[Parameters]
    parse: Parse
    respond: Callable[[Request, Fields], Respond]
    split: Callable[[Fields], tuple[dict[str, object], int]]
    task: str
    path: str
    box: Callable[[Fields], tuple[int, int] | None] = lambda _fields: None
    """The size that an edited image must fit into, if the caller requests one."""


class Front:
    """Handles the model requests of one service."""

    def __init__(
        self,
        settings: Settings,
        handle: Handler,
        *,
        served: Callable[[], Served],
        taxonomy: Taxonomy,
        meter: Meter,
    ) -> None:
        self.settings = settings
        self.requests = Requests()
        self.repeats = Repeats()
        self._timers = Timers()
        self.access = Access(settings, meter)
        self._buckets = Buckets(settings.rate_limit_per_minute, meter)
        self.uploads = Uploads(
            settings.uploads_limit_bytes, meter, settings.upload_bytes_per_second
        )
        self._handle = handle
        self.served = served
        self.taxonomy = taxonomy
        self.meter = meter
        self._in_flight = meter.child(IN_FLIGHT)
        meter.start_at_zero(PROMPTS_TRUNCATED, OUTPUT_INVALID)

    def owner(self, request: Request) -> str:
        """Return the caller's name or address. Raises Unauthorized, Forbidden."""
        return self.access.owner(request)

    async def serve(self, request: Request, route: Route) -> Response:
        """Read a model request, run it, and return the response.

        A request that its caller sends again with the same X-Request-Id is not run again.
        """
        started = asyncio.get_running_loop().time()
        exchange = self._begin(request)
        self._in_flight.inc()
        try:
            owner = exchange.owner = self.admit(request, self._buckets)
            call = Call(request, exchange, started, self.timeout(request))
            exchange.priority = _priority(request)
            with self.uploads.of(owner) as upload:
                with exchange.timeline.stage("receive"):
                    body = await self.receive(call, upload)
                work = partial(self._answer, call, route, body)
                if exchange.name == exchange.id:  # the caller sent no key
                    return await work(None)
                digest = await digest_of(request, body)
                return await self.repeats.answer((owner, exchange.name), digest, call, work)
        finally:
            self._in_flight.inc(-1)

    async def _answer(self, call: Call, route: Route, body: bytes, run: Run | None) -> Response:
        """Make the jobs of a request and return their response; `run` is shared by its repeats."""
        exchange = call.exchange
        with exchange.timeline.stage("validate"):
            image, fields = await route.parse(call.request, body)
            own, number = route.split(fields)
            self._buckets.charge(exchange.owner, number - 1)  # each image is a request
            parameters = self.parameters(route.kind, route.task, own)
            # Before the image is measured, so that a bad image counts for its instruction type.
            self._note_prompt(exchange, parameters)
            size = await self.size_of(parameters, image, route.box(fields))
        job = Job(
            exchange.id,
            image,
            size,
            parameters,
            seed_of(parameters),
            call.started + call.timeout_seconds,
            exchange,
            call.timeout_seconds,
            cast("Priority", exchange.priority),
            exchange.owner,
            min_kept_ratio=min_kept_ratio(
                parameters, exchange.instruction_type, self.taxonomy, self.settings
            ),
        )
        exchange.seed = job.seed
        jobs = [job, *(sibling(job, place) for place in range(1, number))]
        outcomes = await self._run(call.request, jobs, run)
        self._note_outcomes(exchange, outcomes)
        note_corruption(exchange, outcomes)
        return route.respond(call.request, fields)(jobs, outcomes)

    def _begin(self, request: Request) -> Exchange:
        """Return the request's exchange; a new one if no probe made one."""
        exchange = current_exchange() or Exchange(Timeline(perf_counter()))
        name_exchange(exchange, request)
        exchange.is_model_request = True
        return exchange

    def admit(self, request: Request, buckets: Buckets) -> str:
        """Return the caller, who takes a token. Raises Stopping, what `owner` does, RateLimited."""
        if self.requests.stopping:
            self.meter.add(REJECTED, "stopping")
            raise Stopping
        try:
            owner = self.owner(request)
        except (Unauthorized, Forbidden):
            self.meter.add(REJECTED, "unauthorized")
            raise
        buckets.take(owner)
        return owner

    def timeout(self, request: Request) -> float:
        """Return the seconds after which a request fails. Raises InvalidParameter."""
        text = header(request, b"x-request-timeout")
        if text is None:
            return self.settings.request_timeout_seconds
        limit = self.settings.request_timeout_limit_seconds
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= limit:
            raise InvalidParameter(
                f"X-Request-Timeout is {text[:20]!r}; send seconds, above 0 and up to {limit:g}."
            )
        return seconds

    async def receive(self, call: Call, upload: Upload) -> bytes:
        """Return the body. Raises BodyTooLarge, Overloaded, Cancelled, Timeout."""
        if has_arrived(call.request):
            return await arrived_body(call.request, self.settings.body_limit_bytes)
        try:
            async with asyncio.timeout_at(call.started + call.timeout_seconds):
                return await read_body(call.request, self.settings.body_limit_bytes, upload)
        except TimeoutError:
            raise Timeout(call.timeout_seconds) from None

    def parameters(self, kind: type[Parameters], task: str, fields: Fields) -> Parameters:
        """Return the parameters of a task of the loaded model. Raises NotReady, BadInput."""
        served = self.served()
        if not served.task:
            self.meter.add(REJECTED, "not_ready")
            raise NotReady
        if served.task != task:
            raise UnsupportedTask(task, served.task, PATHS[served.task])
        names = kind.model_fields
        defaults = {n: v for n, v in self._defaults(served).items() if n in names}
        sides = Sides(self.side_limit(served), served.multiple)
        return check(kind, {**defaults, **fields}, self.settings, sides)

    def _defaults(self, served: Served) -> dict[str, float]:
        """Return the model's default parameters, within the limits of the settings."""
        side = self.side_limit(served) // served.multiple * served.multiple
        limits = {"steps": self.settings.step_limit, "width": side, "height": side}
        return {name: min(v, limits.get(name, v)) for name, v in served.defaults.items()}

    def side_limit(self, served: Served) -> int:
        """Return the longest side that a caller may request."""
        return self.settings.image_side_pixels or max(_SIDE, served.side)

    def _note_prompt(self, exchange: Exchange, parameters: Parameters) -> None:
        """Record the prompt and its instruction type."""
        exchange.prompt = prompt_of(parameters)
        exchange.instruction_type = self.taxonomy.classify(exchange.prompt or "")

    def _note_outcomes(self, exchange: Exchange, outcomes: Sequence[Outcome]) -> None:
        """Record whether the prompt was truncated, and what the degradation ladder changed."""
        truncated = sum(outcome.truncated for outcome in outcomes)
        exchange.truncated, exchange.degraded = truncated > 0, outcomes[0].degraded
        if truncated:
            self.meter.add(PROMPTS_TRUNCATED, amount=truncated)

    async def size_of(
        self, parameters: Parameters, image: bytes, box: tuple[int, int] | None = None
    ) -> tuple[int, int]:
        """Return the size at which the model works. Raises BadInput."""
        if isinstance(parameters, GenerateParameters):
            return parameters.width, parameters.height
        if isinstance(parameters, PredictParameters):
            side = self.side_limit(self.served())
            return side, side  # the worker measures the image; a classifier reads every size
        served = self.served()
        longest = self.settings.image_side_pixels or served.side or _SIDE
        sides = Sides(longest, served.multiple)
        size = await measure_image(image, sides, self.settings)
        return fit(size, box, sides) if box else size

    async def _run(self, request: Request, jobs: Sequence[Job], run: Run | None) -> list[Outcome]:
        """Run the jobs; stop them if no caller waits any more."""
        watch = None
        if run is not None:
            run.jobs = jobs  # the callers' connections are watched already
        else:
            watch = DisconnectWatch(request, self._timers, lambda: stop(jobs, Cancelled()))
        with self.requests.open(jobs[0].id, jobs, jobs[0].exchange.key):
            try:
                if len(jobs) == 1:
                    return [await self._handle(jobs[0])]
                outcomes = await asyncio.gather(*(self._handle(job) for job in jobs))
            except BaseException:
                stop(jobs, Cancelled())  # one of several failed: the others are useless
                raise
            finally:
                if watch is not None:
                    watch.end()
                note_background(jobs, self.settings.background_entropy_limit_bits)
                for job in jobs:
                    job.progress.state = "done"
                    job.progress.notify()
        first = jobs[0].exchange
        first.timeline.mark("queue")  # the first job waited for the others
        for job in jobs[1:]:
            first.calls += job.exchange.calls
            first.spend(job.exchange.device_seconds)
        return outcomes


PATHS = {"edit": "/api/edit", "generate": "/generate", "predict": "/predict"}


def _priority(request: Request) -> Priority:
    name = header(request, b"x-priority")
    if name is None:
        return "normal"
    for priority in PRIORITIES:
        if priority == name.lower():
            return priority
    raise InvalidParameter(f"X-Priority must be one of {', '.join(PRIORITIES)}.")

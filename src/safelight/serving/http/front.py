"""From a request to its Jobs and from Outcomes to an answer: what all routes to the model share."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any
from uuid import uuid4

from fastapi import Request
from fastapi.responses import Response

from safelight.errors import (
    Cancelled,
    InvalidParameter,
    NotReady,
    Stopping,
    Timeout,
    Unauthorized,
    UnsupportedTask,
)
from safelight.metrics.catalog import IN_FLIGHT, OUTPUT_INVALID, PROMPTS_TRUNCATED, REJECTED
from safelight.metrics.registry import Meter
from safelight.quality.instructions import Taxonomy
from safelight.serving.http.advice import least_kept, note_background, note_made
from safelight.serving.http.body import Fields, check, measure_image, read_body
from safelight.serving.http.disconnect import DisconnectWatch
from safelight.serving.http.keys import Keys
from safelight.serving.http.requests import Requests, stop
from safelight.serving.job import (
    PRIORITIES,
    EditParameters,
    GenerateParameters,
    Handler,
    Job,
    Outcome,
    Parameters,
    PredictParameters,
    Served,
)
from safelight.settings import Settings
from safelight.telemetry.record import Exchange, current_exchange
from safelight.telemetry.timeline import Timeline

_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")
_SIDE = 1024  # pixels, where neither the operator nor the model says

Parse = Callable[[Request, bytes], Awaitable[Fields]]
Answer = Callable[[Sequence[Job], Sequence[Outcome]], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """How one route reads its body, which parameters it takes, and how it answers."""

    kind: type[Parameters]
    parse: Parse
    answer: Callable[[Request, Mapping[str, Any]], Answer]
    split: Callable[[Mapping[str, Any]], tuple[dict[str, Any], int]]
    task: str
    path: str
    box: Callable[[Mapping[str, Any]], tuple[int, int] | None] = lambda _fields: None
    """What a result must fit into, where that is asked for."""


class Front:
    """Takes requests in for one service."""

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
        self.keys = Keys(settings.api_keys)
        self._handle = handle
        self.served = served
        self._taxonomy = taxonomy
        self._meter = meter
        self._in_flight = meter.child(IN_FLIGHT)
        meter.start_at_zero(PROMPTS_TRUNCATED, OUTPUT_INVALID)

    def owner(self, request: Request) -> str:
        """Return who calls. Raises Unauthorized."""
        address = request.client.host if request.client else ""
        return self.keys.owner(request.headers.get("authorization"), address)

    async def serve(self, request: Request, route: Route) -> Response:
        """Read a request to the model, have it done, and answer."""
        started = asyncio.get_running_loop().time()
        exchange = self._begin(request)
        self._in_flight.inc()
        try:
            owner = exchange.owner = self._admit(request)
            timeout, priority = self._timeout(request), _priority(request)
            with exchange.timeline.stage("receive"):
                body = await self._receive(request, started, timeout)
            with exchange.timeline.stage("validate"):
                image, fields = await route.parse(request, body)
                own, number = route.split(fields)
                parameters = self._check(route, own)
                # Before the image is looked at: a bad one counts as a failure of its type.
                self._note_sentence(exchange, parameters)
                size = self._size(parameters, image, route.box(fields))
            job = Job(
                exchange.id,
                image,
                size,
                parameters,
                _seed(parameters),
                started + timeout,
                exchange,
                timeout,
                priority,
                owner,
                keeps=least_kept(
                    parameters, exchange.instruction_type, self._taxonomy, self.settings
                ),
            )
            exchange.seed = job.seed
            jobs = [job, *(_sibling(job, place) for place in range(1, number))]
            outcomes = await self._run(request, jobs)
            self._note_outcomes(exchange, outcomes)
            note_made(exchange, outcomes)
            return route.answer(request, fields)(jobs, outcomes)
        finally:
            self._in_flight.inc(-1)

    def _begin(self, request: Request) -> Exchange:
        """Return the request's exchange; without a probe in front, one of our own.

        Its id may be the caller's, who can then follow or cancel it, if it is a UUID: free text
        would find its way into the logs.
        """
        exchange = current_exchange() or Exchange(Timeline(perf_counter()))
        wanted = request.headers.get("x-request-id", "").lower()
        exchange.id = wanted if wanted and _UUID.fullmatch(wanted) else uuid4().hex
        exchange.is_model_request = True
        return exchange

    def _admit(self, request: Request) -> str:
        if self.requests.stopping:
            self._meter.add(REJECTED, "stopping")
            raise Stopping
        try:
            return self.owner(request)
        except Unauthorized:
            self._meter.add(REJECTED, "unauthorized")
            raise

    def _timeout(self, request: Request) -> float:
        asked = request.headers.get("x-request-timeout")
        if asked is None:
            return self.settings.request_timeout_seconds
        most = self.settings.request_timeout_limit_seconds
        try:
            seconds = float(asked)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= most:
            raise InvalidParameter(
                f"X-Request-Timeout is {asked[:20]!r}; send seconds, above 0 and up to {most:g}."
            )
        return seconds

    async def _receive(self, request: Request, started: float, seconds: float) -> bytes:
        try:
            async with asyncio.timeout_at(started + seconds):
                return await read_body(request, self.settings.body_limit_bytes)
        except TimeoutError:
            raise Timeout(seconds) from None

    def _check(self, route: Route, fields: Mapping[str, Any]) -> Parameters:
        served = self.served()
        if not served.task:
            self._meter.add(REJECTED, "not_ready")
            raise NotReady
        if served.task != route.task:
            raise UnsupportedTask(route.task, served.task, PATHS[served.task])
        own = {n: v for n, v in self._defaults(served).items() if n in route.kind.model_fields}
        sides = self._most(served), served.multiple
        return check(route.kind, {**own, **fields}, self.settings, sides)

    def _defaults(self, served: Served) -> dict[str, float]:
        """Return the model's own parameters, as far as the operator allows them."""
        side = self._most(served) // served.multiple * served.multiple
        most = {"steps": self.settings.step_limit, "width": side, "height": side}
        return {name: min(v, most.get(name, v)) for name, v in served.defaults.items()}

    def _most(self, served: Served) -> int:
        """Return the longest side that may be asked for."""
        return self.settings.image_side_pixels or max(_SIDE, served.side)

    def _note_sentence(self, exchange: Exchange, parameters: Parameters) -> None:
        """Enter what the model is to read."""
        exchange.prompt = _asked(parameters)
        exchange.instruction_type = self._taxonomy.classify(exchange.prompt or "")

    def _note_outcomes(self, exchange: Exchange, outcomes: Sequence[Outcome]) -> None:
        """Enter what was made of it: how much of the sentence was read, what the ladder took."""
        cut = sum(made.truncated for made in outcomes)
        exchange.truncated, exchange.degraded = cut > 0, outcomes[0].degraded
        if cut:
            self._meter.add(PROMPTS_TRUNCATED, amount=cut)

    def _size(
        self, parameters: Parameters, image: bytes, box: tuple[int, int] | None
    ) -> tuple[int, int]:
        if isinstance(parameters, GenerateParameters):
            return parameters.width, parameters.height
        if isinstance(parameters, PredictParameters):
            most = self._most(self.served())
            return most, most  # the worker measures: the size decides nothing here
        side = self.settings.image_side_pixels or self.served().side or _SIDE
        size = measure_image(image, side, self.settings)
        return _fit(size, box, (side, side)) if box else size

    async def _run(self, request: Request, jobs: Sequence[Job]) -> list[Outcome]:
        """Have the jobs done; they are stopped if their caller leaves."""
        watch = DisconnectWatch(request, jobs)
        with self.requests.open(jobs[0].id, jobs):
            try:
                if len(jobs) == 1:
                    return [await self._handle(jobs[0])]
                outcomes = await asyncio.gather(*(self._handle(job) for job in jobs))
            except BaseException:
                stop(jobs, Cancelled())  # of several, one failed: the others are for nobody
                raise
            finally:
                watch.end()
                note_background(jobs, self.settings.background_entropy_limit_bits)
                for job in jobs:
                    job.progress.state = "done"
                    job.progress.tell()
        first = jobs[0].exchange
        first.timeline.mark("queue")  # the first of several waited for the others
        for job in jobs[1:]:
            first.calls += job.exchange.calls
        return outcomes


PATHS = {"edit": "/api/edit", "generate": "/generate", "predict": "/predict"}


def _fit(size: tuple[int, int], *boxes: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape that fits into all boxes."""
    width, height = size
    scale = min(side / own for box in boxes for side, own in zip(box, size, strict=True))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _asked(parameters: Parameters) -> str | None:
    """Return the sentence that the model is to read, if any."""
    if isinstance(parameters, PredictParameters):
        return None
    return parameters.instruction if isinstance(parameters, EditParameters) else parameters.prompt


def _seed(parameters: Parameters) -> int:
    asked = None if isinstance(parameters, PredictParameters) else parameters.seed
    return secrets.randbelow(2**32) if asked is None else asked


def _priority(request: Request) -> Any:
    asked = request.headers.get("x-priority", "normal").lower()
    if asked not in PRIORITIES:
        raise InvalidParameter(f"X-Priority must be one of {', '.join(PRIORITIES)}.")
    return asked


def _sibling(job: Job, place: int) -> Job:
    """Return another job of the same request, with a seed and an account of its own."""
    exchange = Exchange(Timeline(), instruction_type=job.exchange.instruction_type)
    return replace(
        job,
        id=f"{job.id}-{place}",
        place=place,
        seed=(job.seed + place) % 2**32,
        exchange=exchange,
        progress=type(job.progress)(),
        control=type(job.control)(),
    )

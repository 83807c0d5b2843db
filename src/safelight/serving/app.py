"""Assemble the service and run it. `assemble` puts the policies around the engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp

from safelight.http_server.connections import Connections
from safelight.http_server.server import listen, server_of
from safelight.metrics.registry import Meter
from safelight.models.backend import shown_name
from safelight.models.extras import require_extras
from safelight.origins import Origins
from safelight.probes.asgi import AsgiProbe
from safelight.probes.guard import Guard
from safelight.probes.nvml import NvmlProbe
from safelight.probes.pushing import push_metrics
from safelight.quality.images import trust_measured_images
from safelight.quality.instructions import load_taxonomy
from safelight.records.config import store_config
from safelight.records.ratings import Ratings
from safelight.records.remote import RecorderProcess
from safelight.records.store import Store
from safelight.serving.canary.canary import Canary
from safelight.serving.engine.batching import Batching
from safelight.serving.engine.pool import Pool
from safelight.serving.engine.second_model import SecondModel
from safelight.serving.engine.sleeper import Sleeper
from safelight.serving.gc import freeze_startup_objects, return_large_blocks
from safelight.serving.http.access import check_exposure
from safelight.serving.http.api import MODEL_ENDPOINTS, build_api
from safelight.serving.http.draining import Drain
from safelight.serving.http.feedback import Feedback
from safelight.serving.http.front import Front
from safelight.serving.http.middleware import ModelRoutes, with_cors, with_peers
from safelight.serving.http.proxies import Proxies
from safelight.serving.job import Handler
from safelight.serving.parts import governor_of, meter_of, operator_routes, sampler_of
from safelight.serving.policies.admission import Bounds, Load, admission
from safelight.serving.policies.breaker import breaker
from safelight.serving.policies.deadline import deadline
from safelight.serving.policies.degradation import Governor, degradation
from safelight.serving.policies.fairness import Queue, fairness
from safelight.serving.policies.rates import Buckets
from safelight.serving.policies.retry import retry
from safelight.serving.policies.separation import separation
from safelight.serving.policies.waking import waking
from safelight.settings import Settings
from safelight.telemetry.logs import configure_logging, log_sink
from safelight.telemetry.meter import assessment_sink, metrics_sink
from safelight.telemetry.record import Record, Sink
from safelight.telemetry.refusals import Refusals
from safelight.telemetry.traces import Traces
from safelight.tls import Certificate, renewing

_GOVERN_SECONDS, _ABORT_SECONDS = 1.0, 1.0  # so long before the grace time ends, all requests fail
log = structlog.get_logger("safelight")


class Engine(Load, Queue, Protocol):
    """What the policies ask the engine for."""


def assemble(
    run_model: Handler, engine: Engine, governor: Governor, settings: Settings, meter: Meter
) -> Handler:
    """Return the handler of a job. The last policy wraps the others: a job meets it first."""
    handle = retry(run_model)
    handle = breaker(
        handle,
        failures=settings.breaker_failures,
        rest_seconds=settings.breaker_rest_seconds,
        meter=meter,
    )
    handle = deadline(separation(handle, meter))
    bounds = Bounds(settings.queue_limit, settings.max_concurrent_requests)
    handle = admission(handle, engine, bounds, meter, queue_share=governor.queue_share)
    return fairness(degradation(handle, governor, meter), engine)


class Service:
    """The whole service in one process, except the model, which has its own."""

    _certificate: Certificate | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.meter = meter_of(settings)
        plan = store_config(settings)
        self.store = Store(plan, self.meter, RecorderProcess(plan)) if plan else None
        self.traces = Traces(settings, self.meter, model=shown_name(settings.model))
        storing = (self.store.assess,) if self.store is not None else ()
        assessors = (assessment_sink(self.meter), *storing)
        self.pool = Pool(
            settings,
            self.meter,
            assessors=(*assessors, lambda each: self.second.assess_first(each)),
        )
        self.governor = governor_of(settings, self.meter, self.pool)
        self.engine = Batching(
            self.pool, self.meter, limit=lambda: self.governor.batch_limit(settings.batch_limit)
        )
        self.second = SecondModel(
            settings, self.engine, self.pool, self.meter, lambda: self._is_idle, assessors
        )
        self.second.copies.keep = self.store.compare if self.store is not None else None
        self.sleeper = self._sleeper()
        self.sleeper.keeps_awake = self.second.keeps_awake
        self.failure: BaseException | None = None
        self._nvml = NvmlProbe(self.meter)
        self._sampler = sampler_of(settings, self.meter, self._nvml)
        self.front, self.draining = self._front(), Drain()
        self.canary = Canary(self.engine, self.pool, settings, self.meter)
        self.ratings = Ratings(self.meter, kept_seconds=settings.rating_retention_seconds)
        routes = self.front.access.around_pages(ModelRoutes(self._api(), MODEL_ENDPOINTS))
        probed = AsgiProbe(
            with_cors(with_peers(routes, settings), settings.cors_origins),
            meter=self.meter,
            sink=self._sink(),
            model_endpoints=MODEL_ENDPOINTS,
        )
        self.app = _guarded(self.front.access.around_metrics(probed), settings)

    def _api(self) -> FastAPI:
        buckets = Buckets(self.settings.rate_limit_per_minute, self.meter)
        return build_api(
            self.front,
            Feedback(self.ratings, self.store, buckets, self.traces, (self.second.copies.forget,)),
            ready=self._is_ready,
            standing=lambda: {**self.canary.standing(), **self.sleeper.standing()},
            operating=operator_routes(
                self.front, self.canary, self.sleeper, self.second, self.governor, self.draining
            ),
            lifespan=lambda _api: self._lifespan(),
        )

    def _sleeper(self) -> Sleeper:
        return Sleeper(
            self.pool,
            self.meter,
            start=self._start_pool,
            hold=self.engine.hold,
            after_seconds=self.settings.sleep_after_seconds,
        )

    def _front(self) -> Front:
        settings, meter = self.settings, self.meter
        handle = assemble(self.second.handler, self.engine, self.governor, settings, meter)
        return Front(
            settings,
            waking(handle, self.sleeper, meter, limit=settings.queue_limit),
            served=lambda: self.pool.served,
            taxonomy=load_taxonomy(settings.taxonomy),
            meter=meter,
        )

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; then finish the running requests.

        Raises MissingExtra, BadSetting, PortTaken, or the reason why no worker could load the
        model.
        """
        trust_measured_images()
        settings = self.settings
        require_extras(settings)
        check_exposure(settings)
        self._certificate = Certificate.of(settings)
        self._server = server_of(
            self.app,
            listen("the API", settings.host, settings.port),
            Connections(settings, self.meter),
            self._certificate,
            self.drain,
        )
        scheme = "http" if self._certificate is None else "https"
        log.info(
            "listening",
            **{
                "url.full": f"{scheme}://{settings.host}:{settings.port}",
                "safelight.model.model": settings.model,
            },
        )
        freeze_startup_objects()
        return_large_blocks()
        self._server.run()
        if self.failure is not None:
            raise self.failure

    def drain(self) -> None:
        """Accept no more requests; fail those that are not finished within the grace time."""
        loop, grace = asyncio.get_running_loop(), self.settings.grace_seconds
        self.front.requests.drain()
        loop.call_later(max(0.0, grace - _ABORT_SECONDS), self.front.requests.end)

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        self._sampler.start()
        if self.store is not None:
            self.store.start()
        self._start_pool()
        self.second.start()
        own = (("governor", self._govern()), ("canary", self.canary.run()))
        tasks = [asyncio.create_task(work, name=f"safelight-{name}") for name, work in own]
        stop_pushing = push_metrics(self.meter, self.settings)
        try:
            async with renewing(self._certificate):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await self.sleeper.stop()
            await self.second.stop()
            await self.pool.stop()
            stops = [self.traces.stop, *([self.store.stop] if self.store is not None else [])]
            await asyncio.gather(*map(asyncio.to_thread, stops))
            self._sampler.stop()
            self._nvml.close()
            await asyncio.to_thread(stop_pushing)

    @property
    def _is_idle(self) -> bool:
        checks = any(worker.probe for worker in self.pool.workers)
        return not (checks or self.engine.in_progress or len(self.front.requests))

    async def _govern(self) -> None:
        """Update the degradation ladder from the signals, once a second."""
        guard = Guard("governor", self.meter.probe_failed)
        while True:
            await asyncio.sleep(_GOVERN_SECONDS)
            with guard:
                self.governor.update(self._readings())
                self.sleeper.tick()

    def _start_pool(self) -> "asyncio.Task[None]":
        keeper = self.pool.start(self.engine.receive)
        keeper.add_done_callback(self._on_pool_end)
        return keeper

    def _is_ready(self) -> bool:
        """Return whether a worker can serve. Raises NotReady if the canary took it out.

        So does an operator who drains it.
        """
        self.draining.admit()
        self.canary.admit()
        return self.pool.ready or self.sleeper.takes_requests

    def _readings(self) -> dict[str, float]:
        self.engine.update_metrics()
        busy = self.engine.in_progress > 0
        return {
            "latency": self.engine.batch_seconds if busy else 0.0,
            "vram": self.pool.vram_ratio,
            "backlog": self.engine.work_seconds / self.settings.request_timeout_seconds,
        }

    def _on_pool_end(self, keeper: "asyncio.Task[None]") -> None:
        """Stop the service if no worker can ever serve; `run` raises the reason."""
        if self.sleeper.state != "awake":
            return  # a model that could not be woken sleeps on
        if not keeper.cancelled() and keeper.exception() is not None:
            self.failure = keeper.exception()
            self._server.should_exit = True

    def _sink(self) -> Sink:
        guard = Guard("record", self.meter.probe_failed)
        storing = (self.store.write,) if self.store is not None else ()
        counting = metrics_sink(self.meter, model=shown_name(self.settings.model), together=True)
        logging, refusals = log_sink(), Refusals()

        def write(record: Record) -> None:
            is_admitted = refusals.admits(record)
            if is_admitted:
                with guard:
                    record = self.traces.decided(record)
            sinks = [counting, self.ratings.add_record, self.second.copies.answered]
            if is_admitted:
                sinks.append(logging)
            if is_admitted or record.facts.queued:  # what the model did is always kept
                sinks += storing
            guard.call_each(sinks, record)

        return write


def _guarded(probed: ASGIApp, settings: Settings) -> Origins:
    """Return what callers reach: pages of other origins are refused, and proxies are believed."""
    return Origins.of(Proxies(probed, settings.forwarded_allow_ips, settings.root_path), settings)


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or Ctrl-C. Raises Unusable."""
    configure_logging(settings.log_format, settings)
    Service(settings).run()

"""The parts of a service that only its settings decide, and the routes of its operators."""

from collections.abc import Callable, Sequence
from functools import partial

from fastapi import FastAPI

from safelight.metrics.catalog import LOG_LINES_LOST, REQUEST_TIMEOUT
from safelight.metrics.registry import Meter
from safelight.probes.host import HostProbe
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.serving.canary.canary import Canary
from safelight.serving.canary.routes import add_canary
from safelight.serving.engine.pool import Pool
from safelight.serving.engine.second_model import SecondModel
from safelight.serving.engine.sleeper import Sleeper
from safelight.serving.http.degrading import add_degradation
from safelight.serving.http.draining import Drain, add_draining
from safelight.serving.http.front import Front
from safelight.serving.http.second_model import add_second_model
from safelight.serving.http.sleeping import add_sleeping
from safelight.serving.policies.degradation import Governor, signals
from safelight.settings import Settings
from safelight.telemetry.logs import lines_lost
from safelight.telemetry.meter import service_meter


def meter_of(settings: Settings) -> Meter:
    """Return the meter of a service, with what its settings say."""
    meter = service_meter(settings.namespace, settings.gpu_hour_price)
    meter.before_expose(lambda: meter.set_total(LOG_LINES_LOST, value=float(lines_lost())))
    meter.set(REQUEST_TIMEOUT, value=settings.request_timeout_seconds)
    return meter


def sampler_of(settings: Settings, meter: Meter, nvml: NvmlProbe) -> Sampler:
    """Return the sampler that reads the GPUs and the host."""
    sampler = Sampler(meter)
    sampler.every(settings.gpu_interval_seconds, "nvml", nvml.read)
    sampler.every(settings.host_interval_seconds, "host", HostProbe(meter).read)
    return sampler


def governor_of(settings: Settings, meter: Meter, pool: Pool) -> Governor:
    """Return the degradation ladder with its signals."""
    watched = signals(
        settings.vram_limit_ratio, settings.latency_limit_seconds, settings.backlog_limit_ratio
    )
    governor = Governor(
        watched,
        meter,
        dwell_seconds=settings.degradation_dwell_seconds,
        max_level=settings.degradation_limit,
        pinned=settings.degradation_level,
    )
    governor.multiple = lambda: pool.served.multiple
    return governor


def operator_routes(
    front: Front,
    canary: Canary,
    sleeper: Sleeper,
    second: SecondModel,
    governor: Governor,
    drain: Drain,
) -> Sequence[Callable[[FastAPI], None]]:
    """Return what adds the routes of operators to an application."""
    return (
        partial(add_canary, canary=canary, owner=front.owner),
        partial(add_sleeping, front=front, sleeper=sleeper),
        partial(add_second_model, front=front, second=second),
        partial(add_degradation, front=front, governor=governor),
        partial(add_draining, front=front, drain=drain, model=lambda: sleeper.state),
    )

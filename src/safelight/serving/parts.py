"""The parts of a service that only its settings decide."""

from safelight.metrics.catalog import LOG_LINES_LOST, REQUEST_TIMEOUT
from safelight.metrics.registry import Meter
from safelight.probes.host import HostProbe
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.serving.engine.pool import Pool
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

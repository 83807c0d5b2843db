"""`watch`: puts the probes around somebody else's service in one call, and takes them off in one."""

from collections.abc import Callable, Collection
from platform import python_version
from typing import Any

from safelight import settings as knobs
from safelight.errors import NO_ERROR, BadInput
from safelight.metrics.catalog import BUILD_INFO, IN_FLIGHT
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.probes.host import HostProbe
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.probes.torch import TorchProbe
from safelight.quality.instructions import load_taxonomy
from safelight.telemetry.meter import metering
from safelight.telemetry.record import PipelineCall, Record, Sink, current_exchange, direct_call
from safelight.version import VERSION

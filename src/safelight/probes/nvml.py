"""Read NVIDIA GPUs through NVML; without a driver or GPU there are no metrics.

A value that a GPU does not support has no metric. If a GPU disappears, its series are removed,
because a constant value would look like a healthy GPU.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from safelight.libraries import Nvml
from safelight.metrics.catalog import (
    CATALOG,
    GPU_CLOCK,
    GPU_ECC_ERRORS,
    GPU_ENERGY,
    GPU_INFO,
    GPU_MEMORY_BUSY,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_POWER_LIMIT,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
)
from safelight.metrics.metric import Family
from safelight.metrics.registry import Meter

# Bits of NVML's clocks event reasons (nvml.h, nvmlClocksEventReason*) by label value.
_THROTTLE_BITS = {
    "power_cap": 0x4,
    "hardware_slowdown": 0x8,
    "software_thermal": 0x20,
    "hardware_thermal": 0x40,
    "power_brake": 0x80,
}


@dataclass(frozen=True, slots=True)
class _Gpu:
    label: str
    handle: Nvml
    is_mig: bool = False


class NvmlProbe:
    """Reads every GPU into a meter. `nvml` is the module pynvml, or a fake of it."""

    def __init__(self, meter: Meter, *, nvml: Nvml = None) -> None:
        self._meter = meter
        self._nvml = nvml
        self._started = False
        self._pid = os.getpid()
        self._shown: set[str] = set()

    def read(self) -> bool:
        """Read every GPU once. Return True if there is one."""
        if self._pid != os.getpid():  # NVML must be initialised again after a fork
            self._pid, self._started = os.getpid(), False
        if not self._started and not self._start():
            return False
        try:
            present = {gpu.label for gpu in self._gpus() if self._read_gpu(gpu)}
        except self._nvml.NVMLError:  # the driver is gone; the next reading tries to load it again
            self._meter.probe_failed("nvml")
            self._started, present = False, set()
        for gone in self._shown - present:
            self._forget(gone)
        self._shown = present
        return bool(present)

    def close(self) -> None:
        """Shut NVML down; a second call does nothing."""
        if self._started:
            self._nvml.nvmlShutdown()
            self._started = False

    def _start(self) -> bool:
        """Initialise NVML. Return False on a machine without a driver or GPU."""
        if self._nvml is None:
            import pynvml

            self._nvml = pynvml
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError:
            return False
        self._started = True
        return True

    def _gpus(self) -> Iterator[_Gpu]:
        for index in range(self._nvml.nvmlDeviceGetCount()):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            except self._nvml.NVMLError:
                self._meter.probe_failed("nvml")
                continue
            yield _Gpu(str(index), handle)
            yield from self._instances(index, handle)

    def _instances(self, index: int, handle: Nvml) -> Iterator[_Gpu]:
        """Yield the MIG instances of a GPU, if it is partitioned."""
        if not (self._query(self._nvml.nvmlDeviceGetMigMode, handle) or [0])[0]:
            return
        for slot in range(self._query(self._nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
            instance = self._query(self._nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, slot)
            if instance is not None:
                yield _Gpu(f"{index}/{slot}", instance, is_mig=True)

    def _read_gpu(self, gpu: _Gpu) -> bool:
        """Read one GPU. Return False if it has disappeared."""
        memory = self._query(self._nvml.nvmlDeviceGetMemoryInfo, gpu.handle)
        if memory is not None:
            self._meter.set(GPU_MEMORY_USED, gpu.label, value=memory.used)
            self._meter.set(GPU_MEMORY_TOTAL, gpu.label, value=memory.total)
        elif self._query(self._nvml.nvmlDeviceGetUUID, gpu.handle) is None:
            self._meter.probe_failed("nvml")
            return False  # else it shares the host's memory (GB10, Jetson), which NVML cannot tell
        if gpu.label not in self._shown:
            self._describe(gpu)
        if not gpu.is_mig:  # NVML has the other values only for the whole GPU
            self._read_load(gpu)
            self._read_power(gpu)
            self._read_health(gpu)
        return True

    def _describe(self, gpu: _Gpu) -> None:
        texts = (
            self._query(self._nvml.nvmlDeviceGetUUID, gpu.handle),
            self._query(self._nvml.nvmlDeviceGetName, gpu.handle),
            self._query(self._nvml.nvmlSystemGetDriverVersion),
        )
        self._meter.set(GPU_INFO, gpu.label, *(str(text or "unknown") for text in texts), value=1)

    def _read_load(self, gpu: _Gpu) -> None:
        rates = self._query(self._nvml.nvmlDeviceGetUtilizationRates, gpu.handle)
        if rates is not None:  # percent of the time since the last sample
            self._meter.set(GPU_UTILIZATION, gpu.label, value=rates.gpu / 100)
            self._meter.set(GPU_MEMORY_BUSY, gpu.label, value=rates.memory / 100)
        for clock, number in (
            ("sm", self._nvml.NVML_CLOCK_SM),
            ("memory", self._nvml.NVML_CLOCK_MEM),
        ):
            megahertz = self._query(self._nvml.nvmlDeviceGetClockInfo, gpu.handle, number)
            if megahertz is not None:
                self._meter.set(GPU_CLOCK, gpu.label, clock, value=megahertz * 1e6)

    def _read_power(self, gpu: _Gpu) -> None:
        sources = (
            (GPU_POWER, self._nvml.nvmlDeviceGetPowerUsage),
            (GPU_POWER_LIMIT, self._nvml.nvmlDeviceGetEnforcedPowerLimit),
        )
        for metric, query in sources:
            milliwatts = self._query(query, gpu.handle)
            if milliwatts is not None:
                self._meter.set(metric, gpu.label, value=milliwatts / 1000)
        millijoules = self._query(self._nvml.nvmlDeviceGetTotalEnergyConsumption, gpu.handle)
        if millijoules is not None:
            self._meter.set_total(GPU_ENERGY, gpu.label, value=millijoules / 1000)

    def _read_health(self, gpu: _Gpu) -> None:
        nvml = self._nvml
        celsius = self._query(nvml.nvmlDeviceGetTemperature, gpu.handle, nvml.NVML_TEMPERATURE_GPU)
        if celsius is not None:
            self._meter.set(GPU_TEMPERATURE, gpu.label, value=celsius)
        bits = self._query(nvml.nvmlDeviceGetCurrentClocksEventReasons, gpu.handle)
        for reason, bit in _THROTTLE_BITS.items() if bits is not None else ():
            self._meter.set(GPU_THROTTLED, gpu.label, reason, value=float(bool(bits & bit)))
        kinds = (
            ("corrected", nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ("uncorrected", nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        )
        for kind, number in kinds:
            errors = self._query(
                nvml.nvmlDeviceGetTotalEccErrors, gpu.handle, number, nvml.NVML_VOLATILE_ECC
            )
            if errors is not None:
                self._meter.set_total(GPU_ECC_ERRORS, gpu.label, kind, value=errors)

    def _query(self, query: Callable[..., Nvml], *arguments: Nvml) -> Nvml:
        """Return NVML's value, or None if there is none (not supported, GPU lost)."""
        try:
            return query(*arguments)
        except self._nvml.NVMLError:
            return None

    def _forget(self, label: str) -> None:
        for metric in CATALOG:
            if metric.family is Family.GPU:
                self._meter.forget(metric, label)

"""Reads NVIDIA cards through NVML; silently absent on a machine without them.

What a card does not support is left out of the metrics, and a card that vanishes takes its series
with it: a frozen value would look like a healthy card.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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

# Bits of NVML's clocks event reasons (nvml.h, nvmlClocksEventReason*), under our label values.
_THROTTLE_BITS = {
    "power_cap": 0x4,
    "hardware_slowdown": 0x8,
    "software_thermal": 0x20,
    "hardware_thermal": 0x40,
    "power_brake": 0x80,
}


@dataclass(frozen=True, slots=True)
class _Card:
    label: str
    handle: Any
    is_mig: bool = False


class NvmlProbe:
    """Reads every card into a meter, whenever asked. `nvml` is the module pynvml, or its like."""

    def __init__(self, meter: Meter, *, nvml: Any = None) -> None:
        self._meter = meter
        self._nvml = nvml
        self._started = False
        self._shown: set[str] = set()

    def read(self) -> bool:
        """Read every card once; tell whether there was one."""
        if not self._started and not self._start():
            return False
        try:
            present = {card.label for card in self._cards() if self._read_card(card)}
        except self._nvml.NVMLError:  # the driver is gone; look for it again at the next reading
            self._meter.probe_failed("nvml")
            self._started, present = False, set()
        for gone in self._shown - present:
            self._forget(gone)
        self._shown = present
        return bool(present)

    def close(self) -> None:
        """Let go of the library; a second call does nothing."""
        if self._started:
            self._nvml.nvmlShutdown()
            self._started = False

    def _start(self) -> bool:
        """Load the library; a machine without a driver or card simply has none."""
        if self._nvml is None:
            import pynvml

            self._nvml = pynvml
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError:
            return False
        self._started = True
        return True

    def _cards(self) -> Iterator[_Card]:
        for index in range(self._nvml.nvmlDeviceGetCount()):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            except self._nvml.NVMLError:
                self._meter.probe_failed("nvml")
                continue
            yield _Card(str(index), handle)
            yield from self._instances(index, handle)

    def _instances(self, index: int, handle: Any) -> Iterator[_Card]:
        """Yield the MIG instances of a card, where it is divided."""
        if not (self._ask(self._nvml.nvmlDeviceGetMigMode, handle) or [0])[0]:
            return
        for slot in range(self._ask(self._nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
            instance = self._ask(self._nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, slot)
            if instance is not None:
                yield _Card(f"{index}/{slot}", instance, is_mig=True)

    def _read_card(self, card: _Card) -> bool:
        """Read one card; tell whether it is still there."""
        memory = self._ask(self._nvml.nvmlDeviceGetMemoryInfo, card.handle)
        if memory is None:
            self._meter.probe_failed("nvml")
            return False
        self._meter.set(GPU_MEMORY_USED, card.label, value=memory.used)
        self._meter.set(GPU_MEMORY_TOTAL, card.label, value=memory.total)
        if card.label not in self._shown:
            self._describe(card)
        if not card.is_mig:  # NVML answers the rest for the whole card only
            self._read_load(card)
            self._read_power(card)
            self._read_health(card)
        return True

    def _describe(self, card: _Card) -> None:
        texts = (
            self._ask(self._nvml.nvmlDeviceGetUUID, card.handle),
            self._ask(self._nvml.nvmlDeviceGetName, card.handle),
            self._ask(self._nvml.nvmlSystemGetDriverVersion),
        )
        self._meter.set(GPU_INFO, card.label, *(str(text or "unknown") for text in texts), value=1)

    def _read_load(self, card: _Card) -> None:
        rates = self._ask(self._nvml.nvmlDeviceGetUtilizationRates, card.handle)
        if rates is not None:  # percent of the time since the last sample
            self._meter.set(GPU_UTILIZATION, card.label, value=rates.gpu / 100)
            self._meter.set(GPU_MEMORY_BUSY, card.label, value=rates.memory / 100)
        for clock, number in (
            ("sm", self._nvml.NVML_CLOCK_SM),
            ("memory", self._nvml.NVML_CLOCK_MEM),
        ):
            megahertz = self._ask(self._nvml.nvmlDeviceGetClockInfo, card.handle, number)
            if megahertz is not None:
                self._meter.set(GPU_CLOCK, card.label, clock, value=megahertz * 1e6)

    def _read_power(self, card: _Card) -> None:
        sources = (
            (GPU_POWER, self._nvml.nvmlDeviceGetPowerUsage),
            (GPU_POWER_LIMIT, self._nvml.nvmlDeviceGetEnforcedPowerLimit),
        )
        for metric, ask in sources:
            milliwatts = self._ask(ask, card.handle)
            if milliwatts is not None:
                self._meter.set(metric, card.label, value=milliwatts / 1000)
        millijoules = self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption, card.handle)
        if millijoules is not None:
            self._meter.set_total(GPU_ENERGY, card.label, value=millijoules / 1000)

    def _read_health(self, card: _Card) -> None:
        nvml = self._nvml
        celsius = self._ask(nvml.nvmlDeviceGetTemperature, card.handle, nvml.NVML_TEMPERATURE_GPU)
        if celsius is not None:
            self._meter.set(GPU_TEMPERATURE, card.label, value=celsius)
        bits = self._ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, card.handle)
        for reason, bit in _THROTTLE_BITS.items() if bits is not None else ():
            self._meter.set(GPU_THROTTLED, card.label, reason, value=float(bool(bits & bit)))
        kinds = (
            ("corrected", nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ("uncorrected", nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        )
        for kind, number in kinds:
            errors = self._ask(
                nvml.nvmlDeviceGetTotalEccErrors, card.handle, number, nvml.NVML_VOLATILE_ECC
            )
            if errors is not None:
                self._meter.set_total(GPU_ECC_ERRORS, card.label, kind, value=errors)

    def _ask(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """Return NVML's answer, or None where it has none (not supported, card lost)."""
        try:
            return ask(*arguments)
        except self._nvml.NVMLError:
            return None

    def _forget(self, label: str) -> None:
        for metric in CATALOG:
            if metric.family is Family.GPU:
                self._meter.forget(metric, label)

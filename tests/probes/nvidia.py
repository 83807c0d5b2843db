"""A fake of pynvml with the same functions and the same error."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

GB = 1 << 30


class NVMLError(Exception):
    """The error that every NVML function raises."""


@dataclass
class FakeGpu:
    """One GPU, or one MIG instance of a GPU."""

    uuid: str = "GPU-1"
    name: str = "NVIDIA H100"
    used: int = 12 * GB
    busy_percent: int = 40
    celsius: int = 61
    milliwatts: int = 350_000
    millijoules: int = 5_000
    event_reasons: int = 0
    ecc: dict[int, int] = field(default_factory=lambda: {0: 3, 1: 0})
    instances: list["FakeGpu | None"] = field(default_factory=list)
    lost: bool = False
    unsupported: frozenset[str] = frozenset()


class FakeNvml:
    """The library on a machine with these GPUs."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0
    NVML_MEMORY_ERROR_TYPE_CORRECTED = 0
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0

    def __init__(self, *gpus: FakeGpu, driver: bool = True) -> None:
        self.gpus = list(gpus)
        self.driver = driver
        self.sessions = 0
        self._answers: dict[str, Callable[..., Any]] = {
            "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(used=gpu.used, total=80 * GB),
            "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(
                gpu=gpu.busy_percent, memory=10
            ),
            "nvmlDeviceGetClockInfo": lambda gpu, clock: {1: 1980, 2: 2619}[clock],
            "nvmlDeviceGetPowerUsage": lambda gpu: gpu.milliwatts,
            "nvmlDeviceGetEnforcedPowerLimit": lambda gpu: 700_000,
            "nvmlDeviceGetTotalEnergyConsumption": lambda gpu: gpu.millijoules,
            "nvmlDeviceGetTemperature": lambda gpu, sensor: gpu.celsius,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: gpu.event_reasons,
            "nvmlDeviceGetTotalEccErrors": lambda gpu, kind, counter: gpu.ecc[kind],
            "nvmlDeviceGetUUID": lambda gpu: gpu.uuid,
            "nvmlDeviceGetName": lambda gpu: gpu.name,
            "nvmlDeviceGetMigMode": lambda gpu: [int(bool(gpu.instances))] * 2,
            "nvmlDeviceGetMaxMigDeviceCount": lambda gpu: 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": self._instance,
        }

    def __getattr__(self, function: str) -> Callable[..., Any]:
        function_value = self._answers[function]

        def query(gpu: FakeGpu, *arguments: Any) -> Any:
            self._check()
            if gpu.lost or function in gpu.unsupported:
                raise NVMLError(function)
            return function_value(gpu, *arguments)

        return query

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        if not self.driver:
            raise NVMLError("driver not loaded")
        self.sessions += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self._check()
        self.sessions -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        self._check()
        return "580.65.06"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._check()
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        self._check()
        if self.gpus[index].lost:
            raise NVMLError("GPU is lost")
        return self.gpus[index]

    def _instance(self, gpu: FakeGpu, slot: int) -> FakeGpu:
        instance = gpu.instances[slot] if slot < len(gpu.instances) else None
        if instance is None:
            raise NVMLError("not found")
        return instance

    def _check(self) -> None:
        if not (self.driver and self.sessions):
            raise NVMLError("uninitialized")

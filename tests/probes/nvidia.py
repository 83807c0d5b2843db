"""A stand-in for NVML at its own boundary, the module pynvml: same functions, same error."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

GB = 1 << 30


class NVMLError(Exception):
    """What every function of NVML raises."""


@dataclass
class FakeCard:
    """One card, or one MIG instance of a card."""

    uuid: str = "GPU-1"
    name: str = "NVIDIA H100"
    used: int = 12 * GB
    busy_percent: int = 40
    celsius: int = 61
    milliwatts: int = 350_000
    millijoules: int = 5_000
    event_reasons: int = 0
    ecc: dict[int, int] = field(default_factory=lambda: {0: 3, 1: 0})
    instances: list["FakeCard | None"] = field(default_factory=list)
    lost: bool = False
    unsupported: frozenset[str] = frozenset()


class FakeNvml:
    """The library on a machine with these cards."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0
    NVML_MEMORY_ERROR_TYPE_CORRECTED = 0
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0

    def __init__(self, *cards: FakeCard, driver: bool = True) -> None:
        self.cards = list(cards)
        self.driver = driver
        self.sessions = 0
        self._answers: dict[str, Callable[..., Any]] = {
            "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(used=card.used, total=80 * GB),
            "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(
                gpu=card.busy_percent, memory=10
            ),
            "nvmlDeviceGetClockInfo": lambda card, clock: {1: 1980, 2: 2619}[clock],
            "nvmlDeviceGetPowerUsage": lambda card: card.milliwatts,
            "nvmlDeviceGetEnforcedPowerLimit": lambda card: 700_000,
            "nvmlDeviceGetTotalEnergyConsumption": lambda card: card.millijoules,
            "nvmlDeviceGetTemperature": lambda card, sensor: card.celsius,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda card: card.event_reasons,
            "nvmlDeviceGetTotalEccErrors": lambda card, kind, counter: card.ecc[kind],
            "nvmlDeviceGetUUID": lambda card: card.uuid,
            "nvmlDeviceGetName": lambda card: card.name,
            "nvmlDeviceGetMigMode": lambda card: [int(bool(card.instances))] * 2,
            "nvmlDeviceGetMaxMigDeviceCount": lambda card: 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": self._instance,
        }

    def __getattr__(self, function: str) -> Callable[..., Any]:
        answer = self._answers[function]

        def ask(card: FakeCard, *arguments: Any) -> Any:
            self._check()
            if card.lost or function in card.unsupported:
                raise NVMLError(function)
            return answer(card, *arguments)

        return ask

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
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:  # noqa: N802
        self._check()
        if self.cards[index].lost:
            raise NVMLError("GPU is lost")
        return self.cards[index]

    def _instance(self, card: FakeCard, slot: int) -> FakeCard:
        instance = card.instances[slot] if slot < len(card.instances) else None
        if instance is None:
            raise NVMLError("not found")
        return instance

    def _check(self) -> None:
        if not (self.driver and self.sessions):
            raise NVMLError("uninitialized")

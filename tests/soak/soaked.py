"""A service under traffic: what it used at which time, and how many requests it counts."""

from dataclasses import dataclass, field

from safelight.metrics.catalog import IN_FLIGHT, REQUESTS
from safelight.metrics.metric import Metric
from tests.serving.conftest import RealService, until
from tests.soak.traffic import Traffic
from tests.soak.watch import Usage, usage, workers

REST_SECONDS = 20.0
NAMESPACE = "soak"
Curve = list[tuple[float, float]]


@dataclass
class Soaked:
    """A service under traffic."""

    model: str
    service: RealService
    traffic: Traffic
    before: Usage = field(default_factory=dict)
    after: Usage = field(default_factory=dict)
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)
    ended: float = 0.0
    in_flight: float = 0.0
    restarts: int = 0
    _workers: set[int] = field(default_factory=set)

    def begin(self) -> None:
        """Note what the service uses, and its workers."""
        self._value(REQUESTS)  # opens the connection that stays open
        self._workers, self.before = workers(self.service.pid), usage(self.service.pid)

    def measure(self, at: float) -> None:
        """Add a point to each curve."""
        for key, value in usage(self.service.pid).items():
            self.curves.setdefault(key, []).append((at, value))

    def rest(self) -> None:
        """Wait until the service is calm, and note what it counts and uses then."""
        until(lambda: self._value(REQUESTS) >= self.traffic.arrived, REST_SECONDS)
        until(lambda: self._descriptors() <= self.before["api", "descriptors"], REST_SECONDS)
        self.ended, self.in_flight = self._value(REQUESTS), self._value(IN_FLIGHT)
        self.after = usage(self.service.pid)
        self.restarts = len(self._workers - workers(self.service.pid))

    def as_json(self) -> dict[str, Curve]:
        """Return the curves by process and resource."""
        return {" ".join(key): curve for key, curve in self.curves.items()}

    def _value(self, metric: Metric) -> float:
        return self.service.value(metric.full_name(NAMESPACE))

    def _descriptors(self) -> float:
        return usage(self.service.pid)["api", "descriptors"]

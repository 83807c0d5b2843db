"""Options of the web probes that an application gives to `watch`."""

from dataclasses import dataclass

from safelight.libraries import WebApp
from safelight.probes.declare import Failed

METRICS_PATH = "/metrics"


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How requests are judged and where metrics are served.

    `failed` judges each response. With `joins_pages`, the application's own metrics and those of
    prometheus_client's default registry are part of the page. `watched` is the application object
    whose routes name the handlers.
    """

    failed: Failed | None = None
    metrics_path: str = METRICS_PATH
    joins_pages: bool = False
    watched: WebApp = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics_path", self.metrics_path.rstrip("/"))

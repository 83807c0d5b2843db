"""Send the metrics to a receiver of OTLP for as long as a service runs, from a thread."""

from collections.abc import Callable

from safelight.metrics.metric import Family, Kind, Metric
from safelight.metrics.processes.membership import at_exit
from safelight.metrics.registry import Meter
from safelight.metrics.series import Row
from safelight.probes.guard import Guard
from safelight.probes.sampler import Sampler
from safelight.settings import Settings

_PROBE = "otlp"
_JOIN_SECONDS = 0.8  # for the thread; with the last sending, an end takes less than 3 seconds
_NO_WORK = (Family.GPU, Family.HOST, Family.SAFELIGHT)


def push_metrics(meter: Meter, settings: Settings) -> Callable[[], None]:
    """Begin, if the settings ask for it. Return the function that ends it with a last sending."""
    if not settings.otlp_metrics_seconds:
        return lambda: None
    return Pushing(meter, settings).stop


class Pushing:
    """The thread of the sendings. The last one is at `stop`, or when the process ends."""

    def __init__(self, meter: Meter, settings: Settings) -> None:
        from safelight.telemetry.otlp_metrics import MetricsSender  # only here: it is an extra

        self._meter = meter
        self._guard = Guard(_PROBE, meter.probe_failed)
        self._sampler = Sampler(meter)  # its own: a slow receiver must not delay the others
        self._sender = MetricsSender(meter, settings, around_network=self._sampler.apart)
        self._sampler.every(settings.otlp_metrics_seconds, _PROBE, self._tick)
        self._stopped = False
        self._counted: list[Row] | None = None  # at the last try
        meter.membership.before_leave(self.finish)
        at_exit(self.finish)
        self._sampler.start()

    def _tick(self) -> bool:
        with self._guard:
            self._send(self._sender.tick)
        return False  # how long ago the last success was is no news: it can be an hour

    def finish(self) -> None:
        """Send what was counted since the last sending.

        Once, also if it fails: an end has several steps that call this. It is done again only if
        requests were counted since.
        """
        if self._stopped:
            return
        with self._guard:
            _, rows = self._meter.read()
            counted = [row for row in rows if _is_work(row[0])]
            if counted != self._counted:
                self._counted = counted
                self._send(self._sender.finish)

    def stop(self) -> None:
        """End the thread, and send for the last time; a second call does nothing."""
        self._sampler.stop(_JOIN_SECONDS)
        self.finish()
        self._stopped = True

    def _send(self, send: Callable[[], None]) -> None:
        from safelight.telemetry.otlp_metrics import NotTaken

        try:
            send()
        except NotTaken:  # the sender has logged why
            self._meter.probe_failed(_PROBE)


def _is_work(metric: Metric) -> bool:
    """Return whether the metric counts what the service did, not how it is watched."""
    return metric.kind is not Kind.GAUGE and metric.family not in _NO_WORK

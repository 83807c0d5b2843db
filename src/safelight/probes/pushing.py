"""Send the metrics to a receiver of OTLP for as long as a service runs, from a thread."""

from collections.abc import Callable

from safelight.metrics.processes.membership import at_exit
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.probes.sampler import Sampler
from safelight.settings import Settings

_PROBE = "otlp"


def push_metrics(meter: Meter, settings: Settings) -> Callable[[], None]:
    """Begin, if the settings ask for it. Return the function that ends it with a last sending."""
    if not settings.otlp_metrics_seconds:
        return lambda: None
    return Pushing(meter, settings).stop


class Pushing:
    """The thread of the sendings. The last one is at `stop`, or when the process ends."""

    def __init__(self, meter: Meter, settings: Settings) -> None:
        from safelight.telemetry.otlp_metrics import MetricsSender  # only here: it is an extra

        self._count = meter.probe_failed
        self._guard = Guard(_PROBE, self._count)
        self._sender = MetricsSender(meter, settings)
        self._sampler = Sampler(meter)  # its own: a slow receiver must not delay the others
        self._sampler.every(settings.otlp_metrics_seconds, _PROBE, self._tick)
        self._stopped = False
        meter.membership.before_leave(self.finish)
        at_exit(self.finish)
        self._sampler.start()

    def _tick(self) -> bool:
        self._send(self._sender.tick)
        return False  # how long ago the last success was is no news: it can be an hour

    def finish(self) -> None:
        """Send what was counted since the last sending, unless it was stopped."""
        if not self._stopped:
            self._send(self._sender.finish)

    def stop(self) -> None:
        """End the thread, and send for the last time; a second call does nothing."""
        self._sampler.stop()
        self.finish()
        self._stopped = True

    def _send(self, send: Callable[[], None]) -> None:
        from safelight.telemetry.otlp_metrics import NotTaken

        with self._guard:
            try:
                send()
            except NotTaken:  # the sender has logged why
                self._count(_PROBE)

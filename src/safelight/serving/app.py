"""Puts the service together and runs it. `assemble`, read inside out, is the way of a request."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from platform import python_version

import structlog
import uvicorn

from safelight.errors import cannot_listen
from safelight.metrics.catalog import BUILD_INFO
from safelight.metrics.registry import Meter
from safelight.probes.asgi import AsgiProbe
from safelight.probes.guard import Guard
from safelight.probes.host import HostProbe
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.quality.instructions import load_taxonomy
from safelight.quality.pictures import trust_measured_images
from safelight.serving.admission import admission
from safelight.serving.api import EDIT, build_api
from safelight.serving.deadline import deadline
from safelight.serving.job import Handler
from safelight.serving.pool import Pool
from safelight.settings import Settings
from safelight.telemetry.logs import configure, logging_sink
from safelight.telemetry.meter import metering
from safelight.telemetry.record import Record, Sink

log = structlog.get_logger("safelight")


def assemble(pool: Pool, settings: Settings, meter: Meter) -> Handler:
    """Return the way of a job: admission, then its deadline, then the worker."""
    handle = deadline(pool.run, limit_seconds=settings.request_timeout_seconds)
    return admission(handle, limit=settings.queue_limit, meter=meter, waiting=lambda: pool.waiting)


class Service:
    """The whole service in one process, but for the model, which has a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.meter = Meter(settings.namespace)
        self.meter.set(BUILD_INFO, version("safelight"), python_version(), value=1)
        self.pool = Pool(settings, self.meter)
        self.failure: BaseException | None = None
        self._nvml = NvmlProbe(self.meter)
        self._sampler = Sampler(self.meter)
        self._sampler.every(settings.gpu_interval_seconds, "nvml", self._nvml.read)
        self._sampler.every(settings.host_interval_seconds, "host", HostProbe(self.meter).read)
        api = build_api(
            settings,
            assemble(self.pool, settings, self.meter),
            ready=lambda: self.pool.ready,
            taxonomy=load_taxonomy(settings.taxonomy),
            meter=self.meter,
            lifespan=lambda _api: self._lifespan(),
        )
        self.app = AsgiProbe(api, meter=self.meter, sink=self._sink(), model_endpoints=(EDIT,))

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; running requests are finished first.

        Raises PortTaken, or why no worker could load the model.
        """
        trust_measured_images()
        settings = self.settings
        listener = _listen(settings.host, settings.port)
        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(settings.grace_seconds) or None,
        )
        self._server = _Server(config)
        log.info(
            "listening",
            **{
                "url.full": f"http://{settings.host}:{settings.port}",
                "safelight.model": settings.model,
            },
        )
        self._server.run(sockets=[listener])
        if self.failure is not None:
            raise self.failure

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        self._sampler.start()
        self.pool.start().add_done_callback(self._on_pool_end)
        try:
            yield
        finally:
            await self.pool.stop()
            self._sampler.stop()
            self._nvml.close()

    def _on_pool_end(self, keeper: "asyncio.Task[None]") -> None:
        """Stop the service where no worker can ever serve; say why once the port is closed."""
        if not keeper.cancelled() and keeper.exception() is not None:
            self.failure = keeper.exception()
            self._server.should_exit = True

    def _sink(self) -> Sink:
        guard = Guard("record", self.meter.probe_failed)
        sinks = (metering(self.meter), logging_sink())

        def write(record: Record) -> None:
            for sink in sinks:
                with guard:
                    sink(record)

        return write


def serve(settings: Settings) -> None:
    """Run the service until it is told to stop. Raises Unusable, saying what to do."""
    configure(settings.log_format)
    Service(settings).run()


class _Server(uvicorn.Server):
    """uvicorn's server, ending with exit code 0 when asked to stop, instead of by the signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host), backlog=2048)
    except OSError as error:
        raise cannot_listen("the API", host, port, error) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET

"""The worker process: load the model, then run jobs until the API process is gone."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

from safelight.errors import Unusable
from safelight.models.adherence import judge_for
from safelight.models.load import load_backend
from safelight.probes.guard import Guard
from safelight.probes.torch import read_vram
from safelight.quality.images import trust_measured_images
from safelight.quality.validity import Limits
from safelight.serving.gc import freeze_startup_objects
from safelight.serving.wire import schema
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.worker.appraisal import Sampling
from safelight.serving.worker.budget import check_budget
from safelight.serving.worker.memory import Memory
from safelight.serving.worker.worker import Worker
from safelight.settings import load
from safelight.telemetry.logs import configure_logging, route_library_loggers


def run(
    channel: Channel, on_gone: Callable[[], None], on_loaded: Callable[[], None] = lambda: None
) -> None:
    """Load the model that the first message names, and run jobs until the channel closes.

    Only the calling thread touches the model. Another thread calls `on_gone` when the API process
    is gone. `on_loaded` is called before the first job.
    """
    with suppress(OSError):  # the API process ended while a message was being sent
        _run(channel, on_gone, on_loaded)
    Memory().free()  # of a thread: its process lives on


def _run(channel: Channel, on_gone: Callable[[], None], on_loaded: Callable[[], None]) -> None:
    message = channel.receive()
    if message is None:
        return
    order = message.content
    if not isinstance(order, schema.Load):
        raise TypeError(f"The first message is {type(order).__name__}. This is a bug.")
    closed = threading.Event()
    _in_background("report", lambda: _report(channel, order.report_seconds, closed, on_gone))
    try:
        worker = _load(channel, order, on_loaded)
        if worker is None:
            return
        _in_background("reader", lambda: _listen(worker, on_gone))
        try:
            worker.work()
        finally:
            worker.close()
    finally:
        closed.set()
        channel.close()


def _listen(worker: Worker, on_gone: Callable[[], None]) -> None:
    try:
        worker.listen()
    except Exception as bug:  # noqa: BLE001 - a worker that receives nothing must end
        sys.excepthook(type(bug), bug, bug.__traceback__)
    on_gone()


def _in_background(name: str, target: Callable[[], None]) -> None:
    threading.Thread(target=target, name=f"safelight-{name}", daemon=True).start()


def _load(channel: Channel, order: schema.Load, on_loaded: Callable[[], None]) -> Worker | None:
    started = perf_counter()
    try:
        backend = load_backend(order.model, check_budget)
        route_library_loggers()
    except Unusable as error:
        channel.send(Message(schema.Unusable(str(error), error.exit_code)))
        return None
    limits = Limits(
        order.limits.black_level,
        order.limits.flat_deviation,
        order.limits.noise_correlation,
        rounding_pixels=backend.info.multiple - 1,
    )
    plan = order.sampling
    judge = judge_for(backend.info.model, plan.clip_model)
    sampling = Sampling(plan.ratio, plan.thumbnails, judge)
    worker = Worker(channel, backend, order.limit_pixels, limits, sampling)
    if order.own_process:  # a new thread would have the same memory
        worker.memory.watch()
    on_loaded()
    seconds = perf_counter() - started
    channel.send(Message(schema.Ready(backend.info, backend.task, seconds)))
    return worker


def _report(
    channel: Channel, interval_seconds: float, closed: threading.Event, on_gone: Callable[[], None]
) -> None:
    """Report the device memory at an interval; also the sign that this process is alive."""
    failures: list[str] = []  # not sent: a failure is logged, and missing readings raise an alert
    guard = Guard("torch", failures.append)
    while not closed.wait(interval_seconds):
        with guard:
            readings = read_vram()
            try:
                channel.send(Message(schema.MemoryReport(readings)))
            except OSError:
                on_gone()
                return


def main() -> None:
    """Run `python -m safelight.serving.worker.child FD`; FD is this end of the socket pair."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the API process handles them and ends this one
        signal.signal(number, signal.SIG_IGN)
    settings = load()
    configure_logging(settings.log_format, settings)
    trust_measured_images()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    run(channel, _end, freeze_startup_objects)
    _end()


def _end() -> None:
    """End at once, even in the middle of a step: no process waits for a result."""
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

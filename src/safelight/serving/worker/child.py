"""The worker process: loads the model, then works until its parent is gone."""

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
from safelight.models.backend import ModelOrder
from safelight.models.load import load_backend
from safelight.probes.guard import Guard
from safelight.probes.torch import read_vram
from safelight.quality.images import trust_measured_images
from safelight.quality.validity import Limits
from safelight.serving.gc import spare_what_stands
from safelight.serving.wire.protocol import Channel, Kind, Message
from safelight.serving.worker.appraisal import Sampling
from safelight.serving.worker.worker import Worker
from safelight.settings import load
from safelight.telemetry.logs import configure_logging, route_library_loggers


def run(
    channel: Channel, on_gone: Callable[[], None], on_loaded: Callable[[], None] = lambda: None
) -> None:
    """Load what the first message orders and work until the channel closes.

    Only the thread that calls this touches the model. `on_gone` is called, by another thread, once
    the parent is gone; `on_loaded` before the first job.
    """
    with suppress(OSError):  # the parent is gone, in the middle of what we told it
        _run(channel, on_gone, on_loaded)


def _run(channel: Channel, on_gone: Callable[[], None], on_loaded: Callable[[], None]) -> None:
    order = channel.receive()
    if order is None:
        return
    closed = threading.Event()
    interval = order.fields["report_seconds"]
    _in_background("report", lambda: _report(channel, interval, closed, on_gone))
    try:
        worker = _load(channel, order, on_loaded)
        if worker is None:
            return

        def listen() -> None:
            try:
                worker.listen()
            except Exception as bug:  # noqa: BLE001 - a worker that hears nothing must end
                sys.excepthook(type(bug), bug, bug.__traceback__)
            on_gone()

        _in_background("reader", listen)
        try:
            worker.work()
        finally:
            worker.close()
    finally:
        closed.set()
        channel.close()


def _in_background(name: str, target: Callable[[], None]) -> None:
    threading.Thread(target=target, name=f"safelight-{name}", daemon=True).start()


def _load(channel: Channel, order: Message, on_loaded: Callable[[], None]) -> Worker | None:
    started = perf_counter()
    try:
        backend = load_backend(ModelOrder(**order.fields["model"]))
        route_library_loggers()
    except Unusable as error:
        channel.send(Message(Kind.UNUSABLE, {"detail": str(error), "exit_code": error.exit_code}))
        return None
    limits = Limits(**order.fields["limits"], rounding_pixels=backend.info.multiple - 1)
    sampling = _sampling(backend.info.model, **order.fields["sampling"])
    worker = Worker(channel, backend, order.fields["limit_pixels"], limits, sampling)
    on_loaded()
    told = {
        "model": backend.info.as_dict(),
        "task": backend.task,
        "load_seconds": perf_counter() - started,
    }
    channel.send(Message(Kind.READY, told))
    return worker


def _sampling(model: str, ratio: float, thumbnails: bool, clip_model: str) -> Sampling:  # noqa: FBT001 - as the order has it
    return Sampling(ratio, thumbnails, judge_for(model, clip_model))


def _report(
    channel: Channel, interval_seconds: float, closed: threading.Event, on_gone: Callable[[], None]
) -> None:
    """Tell of the memory every now and then: also the sign that this process is not frozen."""
    unheard: list[str] = []  # a failure is logged; that the readings stay away is the alert
    guard = Guard("torch", unheard.append)
    while not closed.wait(interval_seconds):
        with guard:
            readings = [vram.as_dict() for vram in read_vram()]
            try:
                channel.send(Message(Kind.VRAM, {"readings": readings}))
            except OSError:
                on_gone()
                return


def main() -> None:
    """Run `python -m safelight.serving.worker.child FD`; FD is this end of the socket pair."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent's to handle: it ends us in order
        signal.signal(number, signal.SIG_IGN)
    configure_logging(load().log_format)
    trust_measured_images()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    run(channel, _end, spare_what_stands)
    _end()


def _end() -> None:
    """End at once, in the middle of a step too: there is nobody left to answer."""
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

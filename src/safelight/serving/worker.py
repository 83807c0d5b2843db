"""The worker process: owns the device, makes one edit after the other, and reports to its parent.

Only the main thread touches the pipeline. A reader thread takes messages meanwhile, so that a
cancelled job is heard of between two steps; when the parent is gone, so is the worker.
"""

import os
import queue
import signal
import socket
import sys
import threading
from dataclasses import asdict
from io import BytesIO
from time import perf_counter

from PIL import Image

from safelight.errors import Cancelled, ModelError, OutOfMemory, SafelightError, Unusable
from safelight.models.backend import Backend, Edit, ModelOrder
from safelight.models.load import load_backend
from safelight.probes.diffusers import DiffusersProbe
from safelight.probes.guard import Guard
from safelight.probes.torch import read_vram
from safelight.quality.pictures import decode, trust_measured_images
from safelight.reasons import reason_of_exception
from safelight.serving.protocol import Channel, Kind, Message
from safelight.telemetry.record import PipelineCall
from safelight.telemetry.timeline import Timeline

_PNG_COMPRESSION = 1  # three times as fast as the default, for a fifth more bytes


class _Call:
    """Listens to the pipeline's probe: keeps the last call for the job that made it."""

    def __init__(self) -> None:
        self.last: PipelineCall | None = None
        self.failures: list[str] = []

    def begin(self) -> None:
        self.last = None

    def end(self, call: PipelineCall) -> None:
        self.last = call

    def late(self, call: PipelineCall) -> None:
        """Do nothing: our images are fetched from the device, so no call is ever late."""

    def failed(self, probe: str) -> None:
        self.failures.append(probe)


class Worker:
    """Makes the edits that arrive on a channel, until it closes."""

    def __init__(self, channel: Channel, backend: Backend) -> None:
        self._channel = channel
        self._backend = backend
        self._call = _Call()
        self._probe = DiffusersProbe(backend.pipeline, self._call)
        self._cancelled: set[str] = set()
        self._jobs: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def listen(self) -> None:
        """Take messages until the parent is gone, then end the process at once."""
        while (message := self._channel.receive()) is not None:
            if message.kind is Kind.CANCEL:
                self.cancel(message.fields["id"])
            else:
                self._jobs.put(message)
        os._exit(0)  # in the middle of a step, too: there is nobody left to answer

    def cancel(self, job_id: str) -> None:
        """Have a job stop at its next step."""
        self._cancelled.add(job_id)

    def close(self) -> None:
        """Give the pipeline back as it was, and close the channel."""
        self._probe.unwatch()
        self._channel.close()

    def work(self) -> None:
        """Make one edit after the other, for ever."""
        while True:
            self.make(self._jobs.get())

    def make(self, message: Message) -> None:
        """Make one edit, and send its image or its failure."""
        timeline = Timeline()
        self._call.last = None
        job_id = message.fields["id"]
        try:
            image = self._edit(message, timeline)
            payload = _encode(image)
            timeline.mark("encode")
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            failure = _as_failure(error)
            self._answer(Kind.FAILED, job_id, timeline, reason=failure.reason, detail=str(failure))
        else:
            self._answer(Kind.DONE, job_id, timeline, payload, size=image.size)
        self._cancelled.discard(job_id)

    def _edit(self, message: Message, timeline: Timeline) -> Image.Image:
        fields = message.fields
        image = decode(message.payload, tuple(fields["size"]))
        timeline.mark("decode")

        def on_step(_step: int) -> None:
            if fields["id"] in self._cancelled:
                raise Cancelled

        try:
            return self._backend.edit(Edit(image=image, **fields["edit"]), on_step)
        finally:
            phases = self._call.last.phases if self._call.last else {}
            timeline.share(phases, rest="denoise")

    def _answer(
        self, kind: Kind, job_id: str, timeline: Timeline, payload: bytes = b"", **fields: object
    ) -> None:
        call = asdict(self._call.last) if self._call.last else None
        failures, self._call.failures = self._call.failures, []
        told = {"id": job_id, "stages": dict(timeline.seconds), "call": call, **fields}
        told["probe_failures"] = failures
        self._channel.send(Message(kind, told, payload))


def _encode(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=_PNG_COMPRESSION)
    return buffer.getvalue()


def _as_failure(error: Exception) -> SafelightError:
    if isinstance(error, SafelightError):
        return error
    if reason_of_exception(error) == OutOfMemory.reason:
        return OutOfMemory()
    sys.excepthook(type(error), error, error.__traceback__)  # for the log; the caller gets the kind
    return ModelError(type(error).__name__)


def _report_vram(channel: Channel, interval_seconds: float) -> None:
    pause = threading.Event()
    unheard: list[str] = []  # a failure is logged; that the readings stay away is the alert
    guard = Guard("torch", unheard.append)
    while not pause.wait(interval_seconds):
        with guard:
            readings = [vram.as_dict() for vram in read_vram()]
            channel.send(Message(Kind.VRAM, {"readings": readings}))


def main() -> None:
    """Run as `python -m safelight.serving.worker FD`, where FD is our end of the socket pair."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent's to handle: it ends us in order
        signal.signal(number, signal.SIG_IGN)
    trust_measured_images()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    order = channel.receive()
    if order is None:
        return
    started = perf_counter()
    try:
        backend = load_backend(ModelOrder(**order.fields["model"]))
    except Unusable as error:
        channel.send(Message(Kind.UNUSABLE, {"detail": str(error), "exit_code": error.exit_code}))
        return
    worker = Worker(channel, backend)
    told = {"model": backend.info.as_dict(), "load_seconds": perf_counter() - started}
    channel.send(Message(Kind.READY, told))
    threading.Thread(target=worker.listen, name="safelight-reader", daemon=True).start()
    interval = order.fields["gpu_interval_seconds"]
    threading.Thread(
        target=_report_vram, args=(channel, interval), name="safelight-vram", daemon=True
    ).start()
    worker.work()


if __name__ == "__main__":
    main()

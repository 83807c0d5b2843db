"""The API process's handle on one worker: start it, send it jobs, watch it, replace it when lost.

A worker is lost when its process ends, when it makes no progress for too long, or when it reports
that its device is poisoned or that it leaks memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from safelight.errors import Unusable
from safelight.serving.engine.events import (
    BatchFinished,
    JobsFinished,
    JobsStarted,
    MemoryRead,
    OutputAssessed,
    ProbesFailed,
    WorkerGaveUp,
    WorkerLost,
    WorkerReady,
    WorkerSink,
)
from safelight.serving.engine.launch import Place, launch
from safelight.serving.engine.probed import Probed
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.wire import schema
from safelight.serving.wire.process import WorkerConnection
from safelight.serving.wire.protocol import Message
from safelight.settings import Settings
from safelight.telemetry.assessment import Assessment

_FIRST_PAUSE_SECONDS = 0.5
_PAUSE_LIMIT_SECONDS = 30.0
COMPILING_FACTOR = 10  # times the hang limit: a model that compiles reports no steps
_STABLE_SECONDS = 30.0  # a worker that lived this long did not fail at start-up
log = structlog.get_logger("safelight")


class WorkerHandle(Probed):
    """One worker at a time. Belongs to one event loop."""

    def __init__(
        self,
        place: Place,
        settings: Settings,
        sink: WorkerSink,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__()
        self.place = place
        self._settings = settings
        self._sink = sink
        self._sleep = sleep
        self._connection: WorkerConnection | None = None
        self._ended: asyncio.Future[None] | None = None
        self._loss_reason = "died"
        self._was_ready = self._has_served = False
        self._last_message_at = self._last_progress_at = 0.0
        self.ready = False
        self.staged = 0  # jobs that were sent and that the model has not begun
        self.started_at = 0.0

    @property
    def pid(self) -> int | None:
        """Return the worker's process id; None if it runs in a thread, or not now."""
        return self._connection.pid if self._connection else None

    # ── Sending ──────────────────────────────────────────────────────────────────────────────────

    def send(self, entries: Sequence[QueueEntry], message: Message) -> None:
        """Send jobs to the worker."""
        assert self._connection is not None
        self._overtake()
        if not self.outstanding:
            self._last_progress_at = _now()
        for entry in entries:
            entry.holder, entry.started, entry.finished_at = self, False, None
            entry.waits = True
            self.outstanding[entry.job.id] = entry
        self.staged += len(entries)
        self._connection.send(message)

    def send_probe(self, entry: QueueEntry, message: Message) -> None:
        """Send a run of the canary to an idle worker; the next request overtakes it."""
        assert self._connection is not None
        assert self.is_idle
        self._last_progress_at = _now()
        entry.holder, self.probe = self, entry
        self._connection.send(message)
        self.follow(entry)

    def replace(self, reason: str) -> None:
        """End the worker, so that another takes its place and loads the model again."""
        if self.ready:
            self._end(reason)

    def cancel(self, entry: QueueEntry) -> None:
        """Tell the worker to drop a job or stop it at its next step; a result still comes.

        A job that waits gives its place back at once.
        """
        self._begin(entry)
        self._send(schema.Cancel(entry.job.id))

    def follow(self, entry: QueueEntry) -> None:
        """Tell the worker to report every step of a job."""
        self._send(schema.Follow(entry.job.id, self._settings.preview_every_steps))

    def _send_message(self, message: Message) -> None:
        if self._connection is not None:
            self._connection.send(message)

    # ── Receiving ────────────────────────────────────────────────────────────────────────────────

    def _receive(self, message: Message | None) -> None:
        """Handle a message; None means that the connection is closed."""
        if message is None:
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)
            return
        self._last_message_at = _now()
        content = message.content
        if isinstance(content, schema.Started | schema.Step | schema.Results):
            self._last_progress_at = self._last_message_at
        match content:
            case schema.Results():
                self._results(content, message.payloads)
            case schema.Started():
                self._started(content)
            case schema.Step():
                self._step(content, message.payloads)
            case _:
                self._other(message)

    def _other(self, message: Message) -> None:
        """Handle the rarer messages."""
        match message.content:
            case schema.MemoryReport(readings):
                self._sink(MemoryRead(self.place.index, readings))
            case schema.Assessed() | schema.AssessmentFailed():
                self._sink(OutputAssessed(_assessment(message)))
            case schema.Pong():
                self._answered()
            case schema.Ready() as ready:
                self.ready = self._was_ready = True
                self.info = ready.model
                self._sink(WorkerReady(self.place.index, ready))
            case schema.Unusable() as refusal:
                self._refused(refusal)
            case schema.Poisoned(reason):
                self._end(reason)
            case schema.Compared() as compared:
                self._comparing.receive(compared, *message.payloads)

    def _results(self, content: schema.Results, payloads: Sequence[bytes]) -> None:
        failed = schema.FailedResult
        self._has_served |= any(not isinstance(result, failed) for result in content.results)
        if content.probe_failures or content.dropped_assessments:
            self._sink(ProbesFailed(content.probe_failures, content.dropped_assessments))
        if content.batch is not None:
            self._sink(BatchFinished(self._entries(content.batch.ids), content.batch))
        results = [
            (entry, result, payload)
            for result, payload in zip(content.results, payloads, strict=True)
            if (entry := self._release(result.id)) is not None
        ]
        self._sink(JobsFinished(results))

    def _started(self, content: schema.Started) -> None:
        entries = self._entries(content.ids)
        for entry in entries:
            self._begin(entry)
            entry.started = True
        self.started_at = self._last_message_at
        self._sink(JobsStarted(entries))

    def _step(self, content: schema.Step, payloads: Sequence[bytes]) -> None:
        for job_id, preview in zip(content.ids, payloads, strict=True):
            for entry in self._entries([job_id]):
                progress = entry.job.progress
                progress.step, progress.preview = content.step, preview
                progress.notify()

    def _release(self, job_id: str) -> QueueEntry | None:
        """Remove and return a job that has a result."""
        entry = self._pop(job_id)
        if entry is not None:
            self._begin(entry)
        return entry

    def _begin(self, entry: QueueEntry) -> None:
        """Count a job that does not wait any more, once."""
        self.staged -= entry.waits
        entry.waits = False

    def _refused(self, content: schema.Unusable) -> None:
        """End the handle if the model cannot be loaded and never was."""
        if self._was_ready:
            log.error("model not loaded", **{"error.message": content.detail})
        if self._was_ready or self._ended is None or self._ended.done():
            return
        error = Unusable(content.detail)
        error.exit_code = content.exit_code
        self._ended.set_exception(error)

    # ── Keeping the worker alive ─────────────────────────────────────────────────────────────────

    async def keep(self) -> None:
        """Start a worker again each time it is lost, with longer pauses after each failure.

        Raises Unusable if the model cannot be loaded.
        """
        failures, self._was_ready = 0, False
        while True:
            started_at, self._loss_reason, was_ready = _now(), "died", False
            connection = None
            try:
                connection = await self._start()
                await self._watch(connection)
            finally:
                was_ready = self.ready
                died_loading = not was_ready and self._loss_reason == "died"
                self._lost("load_failed" if died_loading else self._loss_reason)
                if connection is not None:
                    await connection.stop()
            # A worker that leaks serves first: only its age shows whether it is worth a restart.
            has_served = self._has_served and self._loss_reason != "memory"
            is_stable = has_served or _now() - started_at > _STABLE_SECONDS
            failures = 1 if was_ready and is_stable else failures + 1
            if not was_ready and failures > self._settings.restart_limit:
                self._sink(WorkerGaveUp(self.place.index, failures))
            at_once = was_ready and failures <= 1
            await self._pause(0.0 if at_once else _FIRST_PAUSE_SECONDS * 2 ** min(failures, 9))

    async def _start(self) -> WorkerConnection:
        self._ended = asyncio.get_running_loop().create_future()
        self._has_served = False
        self._last_message_at = self._last_progress_at = _now()
        self._connection = await launch(self._settings, self.place, self._receive)
        return self._connection

    async def _watch(self, connection: WorkerConnection) -> None:
        """Wait for the worker's end; kill it if it makes no progress for too long."""
        assert self._ended is not None
        while not self._ended.done():
            await asyncio.wait([self._ended], timeout=self._settings.hang_seconds / 4)
            if not self._ended.done() and self._hangs():
                self._end("hung")
                connection.kill()
        await self._ended

    def _hangs(self) -> bool:
        limit, now = self._settings.hang_seconds, _now()
        if self._settings.compile:
            limit *= COMPILING_FACTOR
        if not self.is_idle and now - self._last_progress_at > limit:
            return True
        return now - self._last_message_at > limit + 2 * self._settings.gpu_interval_seconds

    def _end(self, reason: str) -> None:
        """Treat the worker as lost."""
        self._loss_reason = reason
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _lost(self, reason: str) -> None:
        entries, self.staged = self._take_all(), 0
        self._comparing.lost()
        self._connection, self.ready = None, False
        self._sink(WorkerLost(self.place.index, entries, reason, self.started_at))

    async def _pause(self, seconds: float) -> None:
        pause = min(seconds, _PAUSE_LIMIT_SECONDS)
        fields = {"safelight.worker": self.place.index, "safelight.pause_seconds": pause}
        log.warning("worker replaced", **fields)
        await self._sleep(pause)


def _assessment(message: Message) -> Assessment | None:
    """Return an assessment with its thumbnails; None if it failed."""
    if not isinstance(message.content, schema.Assessed):
        return None
    before, after = message.payloads
    return replace(message.content.assessment, before=before, after=after)


def _now() -> float:
    return asyncio.get_running_loop().time()

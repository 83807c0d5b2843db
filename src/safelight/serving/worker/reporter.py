"""Check and encode outputs, and send the results.

The cost of a batch is sent at once. Each image is sent when it is ready.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from safelight.errors import InvalidOutput, SafelightError, StructureCorruption
from safelight.models.backend import Edit, Labels, MadeImage, Output
from safelight.probes.guard import Guard
from safelight.quality.structure import kept
from safelight.quality.validity import Limits, invalidity
from safelight.reasons import NO_ERROR
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.wire.schema import BatchReport, ImageResult, LabelsResult, Result, Results
from safelight.serving.worker.appraisal import Appraisal
from safelight.serving.worker.choice import Batch, Prepared
from safelight.serving.worker.images import encoded
from safelight.serving.worker.results import as_failure, calls_of, failed_result
from safelight.serving.worker.stage import Stage
from safelight.serving.worker.steps import Steps
from safelight.telemetry.record import PipelineCall
from safelight.telemetry.scope import RequestScope

_THREADS = 2


class Call:
    """Receives the pipeline probe's events; keeps the last call and the probe's failures."""

    def __init__(self) -> None:
        self.owner: object = self
        self.last: PipelineCall | None = None
        self.failures: list[str] = []

    def begin(self) -> tuple[RequestScope, ...]:
        """Forget the last call. In a worker no call belongs to a request."""
        self.last = None
        return ()

    def end(self, call: PipelineCall, requests: tuple[RequestScope, ...]) -> None:  # noqa: ARG002
        """Keep a call."""
        self.last = call

    def late(self, call: PipelineCall) -> None:
        """Do nothing: the worker fetches its images from the device, so no call is ever late."""

    def failed(self, probe: str) -> None:
        """Keep the name of a probe that failed, for the API process to count."""
        self.failures.append(probe)


class Reporter:
    """Checks, encodes and sends; several threads encode."""

    def __init__(
        self,
        channel: Channel,
        stage: Stage,
        steps: Steps,
        call: Call,
        limits: Limits,
        appraisal: Appraisal,
    ) -> None:
        self._channel = channel
        self._stage = stage
        self._steps = steps
        self._call = call
        self._limits = limits
        self._appraisal = appraisal
        self._guard = Guard("assessment", call.failed)
        self._encoders = ThreadPoolExecutor(_THREADS, "safelight-encode")

    def close(self, *, wait: bool) -> None:
        """Accept no more outputs. With `wait`, send those that are being encoded."""
        self._encoders.shutdown(wait=wait, cancel_futures=not wait)
        self._appraisal.close()

    def report(self, batch: Batch, outputs: Sequence[Output], report: BatchReport) -> None:
        """Send a batch's cost, and the result of each job when it is ready."""
        jobs, calls = batch.jobs, calls_of(batch.jobs, self._call.last)
        if isinstance(outputs[0], Labels):
            results = [
                LabelsResult(
                    job.id,
                    job.timeline.started,
                    job.timeline.parts,
                    call,
                    job.entropy_bits,
                    list(labels.scores),
                )
                for job, call, labels in zip(jobs, calls, outputs, strict=True)
                if isinstance(labels, Labels)
            ]
            self.send(results, [b""] * len(results), report)
            return
        self.send([], [], report)  # at once: the device is free
        for job, call, image in zip(jobs, calls, outputs, strict=True):
            self._encoders.submit(self._finish, job, call, image)

    def _finish(self, job: Prepared, call: PipelineCall | None, image: Output) -> None:
        """Check and encode one image, and send it."""
        job.timeline.mark("queue")
        try:
            assert isinstance(image, MadeImage)
            fault = invalidity(image.pixels, job.size, self._limits, finite=image.finite)
            corrupted = fault is None and self._corrupted(job, image)
            job.timeline.mark("check")
            if fault is not None:
                self.send([failed_result(job, InvalidOutput(fault), call, fault)], [b""])
                self._appraisal.offer(job, image.pixels, InvalidOutput.reason)
                return
            png = encoded(image.pixels, job.size)
            job.timeline.mark("encode")
            result = ImageResult(
                job.id,
                job.timeline.started,
                job.timeline.parts,
                call,
                job.entropy_bits,
                job.size,
                image.truncated,
                corrupted,
            )
            self.send([result], [png])
            error = StructureCorruption.reason if corrupted else NO_ERROR
            self._appraisal.offer(job, image.pixels, error)
        except OSError:
            return  # the API process is gone
        except Exception as error:  # noqa: BLE001 - every failure must reach the API process
            self.fail([job], as_failure(error), None, [call])

    def _corrupted(self, job: Prepared, image: MadeImage) -> bool:
        """Return whether an edit kept less of its input image than it must."""
        if job.min_kept_ratio <= 0 or not isinstance(job.work, Edit):
            return False
        with self._guard:
            return kept(job.work.image, image.pixels) < job.min_kept_ratio
        return False

    def fail(
        self,
        jobs: Sequence[Prepared],
        failure: SafelightError,
        report: BatchReport | None = None,
        calls: Sequence[PipelineCall | None] | None = None,
    ) -> None:
        """Send the failure of jobs."""
        results = [
            failed_result(job, failure, call)
            for job, call in zip(jobs, calls or [None] * len(jobs), strict=True)
        ]
        self.send(results, [b""] * len(results), report)

    def fail_batch(self, batch: Batch, failure: SafelightError, report: BatchReport) -> None:
        """Send the failure of a batch, with the steps that it did."""
        self.fail(batch.jobs, failure, report, calls_of(batch.jobs, self._call.last))

    def send(
        self,
        results: Sequence[Result],
        payloads: Sequence[bytes],
        report: BatchReport | None = None,
    ) -> None:
        """Send results with their payloads, and what a batch cost."""
        for result in results:
            self._stage.forget(result.id)
            self._steps.forget(result.id)
        failures, self._call.failures = self._call.failures, []
        content = Results(list(results), report, failures, self._appraisal.dropped())
        self._channel.send(Message(content, payloads))


def report_of(
    batch: Batch, seconds: float, *, complete: bool, fits: int | None = None, again: bool = False
) -> BatchReport:
    """Return what a batch cost."""
    ids = [job.id for job in batch.jobs]
    return BatchReport(ids, seconds, batch.stop_reason, complete, fits, again)

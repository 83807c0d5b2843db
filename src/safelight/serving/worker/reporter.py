"""Sends the parent what came of jobs: what a batch cost at once, each picture when it is ready."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from safelight.errors import InvalidOutput, SafelightError, StructureCorruption
from safelight.models.backend import Edit, Labels, Made, Picture
from safelight.probes.guard import Guard
from safelight.quality.structure import kept
from safelight.quality.validity import Limits, invalidity
from safelight.reasons import NO_ERROR
from safelight.serving.wire.protocol import Channel, Kind, Message
from safelight.serving.worker.appraisal import Appraisal
from safelight.serving.worker.choice import Batch, Prepared
from safelight.serving.worker.images import encoded
from safelight.serving.worker.results import as_failure, calls_of, failure_fields, result
from safelight.serving.worker.stage import Stage
from safelight.serving.worker.steps import Steps
from safelight.telemetry.record import PipelineCall

_THREADS = 2


class Call:
    """Listens to the pipeline's probe: keeps the last call for the batch that made it."""

    def __init__(self) -> None:
        self.last: PipelineCall | None = None
        self.failures: list[str] = []

    def begin(self) -> None:
        """Forget the last call."""
        self.last = None

    def end(self, call: PipelineCall) -> None:
        """Keep a call."""
        self.last = call

    def late(self, call: PipelineCall) -> None:
        """Do nothing: our images are fetched from the device, so no call is ever late."""

    def failed(self, probe: str) -> None:
        """Keep a failure of the probe's own, to be counted by the parent."""
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
        """Take no more; wait for what is being encoded, or not."""
        self._encoders.shutdown(wait=wait, cancel_futures=not wait)
        self._appraisal.close()

    def report(
        self,
        batch: Batch,
        made: list[Made],
        failure: SafelightError | None,
        seconds: float,
        *,
        typical: bool,
    ) -> None:
        """Send what became of a batch; one whose time is `typical` teaches what batches cost."""
        jobs = batch.jobs
        ran = self.ran(batch, seconds, whole=failure is None and typical)
        calls = calls_of(jobs, self._call.last)
        if failure is not None:
            self.fail(jobs, failure, ran, calls)
        elif isinstance(made[0], Labels):
            results = [
                {**result(job, call), "labels": labels.scores}
                for job, call, labels in zip(jobs, calls, made, strict=True)
                if isinstance(labels, Labels)
            ]
            self.send(results, [b""] * len(results), ran)
        else:
            self.send([], [], ran)  # at once: the device is free
            for job, call, picture in zip(jobs, calls, made, strict=True):
                self._encoders.submit(self._finish, job, call, picture)

    def _finish(self, job: Prepared, call: dict[str, Any] | None, picture: Made) -> None:
        """Check and encode one picture, and send it."""
        job.timeline.mark("queue")
        try:
            assert isinstance(picture, Picture)
            wrong = invalidity(picture.pixels, job.size, self._limits, finite=picture.finite)
            corrupted = wrong is None and self._corrupted(job, picture)
            job.timeline.mark("check")
            if wrong is not None:
                failed = {**failure_fields(InvalidOutput(wrong)), "invalidity": wrong}
                self.send([{**result(job, call), **failed}], [b""])
                self._appraisal.offer(job, picture.pixels, InvalidOutput.reason)
                return
            image = encoded(picture.pixels, job.size)
            job.timeline.mark("encode")
            told = {"size": job.size, "truncated": picture.truncated, "corrupted": corrupted}
            self.send([{**result(job, call), **told}], [image])
            error = StructureCorruption.reason if corrupted else NO_ERROR
            self._appraisal.offer(job, picture.pixels, error)
        except OSError:
            return  # the parent is gone, and with it whoever waited
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            self.fail([job], as_failure(error), None, [call])

    def _corrupted(self, job: Prepared, picture: Picture) -> bool:
        """Tell whether an edit kept less of its picture than it must."""
        if job.about.keeps <= 0 or not isinstance(job.work, Edit):
            return False
        with self._guard:
            return kept(job.work.image, picture.pixels) < job.about.keeps
        return False

    def fail(
        self,
        jobs: list[Prepared],
        failure: SafelightError,
        ran: dict[str, Any] | None = None,
        calls: list[dict[str, Any] | None] | None = None,
    ) -> None:
        told = failure_fields(failure)
        results = [
            {**result(job, call), **told}
            for job, call in zip(jobs, calls or [None] * len(jobs), strict=True)
        ]
        self.send(results, [b""] * len(results), ran)

    def send(
        self,
        results: list[dict[str, Any]],
        payloads: list[bytes],
        ran: dict[str, Any] | None = None,
    ) -> None:
        for told in results:
            self._stage.forget(told["id"])
            self._steps.forget(told["id"])
        failures, self._call.failures = self._call.failures, []
        fields = {
            "results": results,
            "ran": ran,
            "probe_failures": failures,
            "dropped": self._appraisal.dropped(),
        }
        self._channel.send(Message(Kind.RESULTS, fields, payloads))

    def ran(self, batch: Batch, seconds: float, *, whole: bool) -> dict[str, Any]:
        ids = [job.id for job in batch.jobs]
        return {"ids": ids, "seconds": seconds, "stop_reason": batch.stop_reason, "whole": whole}

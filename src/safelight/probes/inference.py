"""Measure any model call: `with inference("universal_v3", batch=4)`."""

import sys
from time import perf_counter

from safelight.libraries import Cuda, TimeMark
from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.probes.assign import CallCounter, Requests, counter_of_current
from safelight.probes.declare import checked_reason
from safelight.probes.timers import CudaTimer
from safelight.reasons import NO_ERROR, reason_of_exception
from safelight.telemetry.record import PipelineCall


class Inference:
    """One call of a model, from `with` (or `async with`) to the end of its block.

    Without a watch in this process it does nothing. An exception that leaves the block is a
    failure with its reason; a model's own errors are `model_error`.
    """

    def __init__(
        self,
        name: str,
        *,
        batch: int = 1,
        precision: str = "other",
        counter: CallCounter | None = None,
    ) -> None:
        self.name = str(name)
        self.batch = max(1, int(batch))
        self.error = NO_ERROR
        self._precision = precision
        self._counter = counter
        self._begun: tuple[CallCounter, Requests] | None = None
        self._timer: CudaTimer | None = None
        self._running = False
        self._seconds = 0.0
        self._started = 0.0
        self._started_at: TimeMark = None

    @property
    def begun(self) -> bool:
        """Return True between the call's begin and its end, if anything is watched."""
        return self._begun is not None

    def fail(self, reason: str = "model_error") -> None:
        """Declare that the call failed. Raises ValueError if the reason is unknown."""
        self.error = checked_reason(reason)

    def discard(self) -> None:
        """Forget the call: it only prepared a result that is computed later."""
        if self._begun is not None:
            counter, requests = self._begun
            self._begun = None
            counter.discard(requests)

    def pause(self) -> None:
        """Stop the clock while somebody else works, such as the reader of a result's parts."""
        if self._begun is not None:
            with self._begun[0].guard:
                self._stop(self._begun[0], "useful")

    def resume(self) -> None:
        """Let the clock go on."""
        if self._begun is not None:
            with self._begun[0].guard:
                self._running = True
                self._started_at = None if self._timer is None else self._timer.mark()
                self._started = perf_counter()

    def __enter__(self) -> "Inference":
        """Begin the call."""
        counter = self._counter or counter_of_current()
        if counter is not None:
            with counter.guard:
                cuda = cuda_in_use()
                self._timer = None if cuda is None else CudaTimer(cuda, None)
                self._seconds = 0.0
                self._begun = (counter, counter.begin())
                self.resume()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """End the call."""
        if self._begun is not None:
            counter, requests = self._begun
            self._begun = None
            with counter.guard:
                self._end(counter, requests, error)

    async def __aenter__(self) -> "Inference":
        """Begin the call."""
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End the call."""
        self.__exit__(kind, error, trace)

    def _end(self, counter: CallCounter, requests: Requests, error: BaseException | None) -> None:
        # A reader who stops early is no failure of the model.
        raised = None if isinstance(error, GeneratorExit) else error
        if raised is not None and self.error == NO_ERROR:
            self.error = reason_of_exception(raised, default="model_error")
        self._stop(counter, "useful" if self.error == NO_ERROR else "failed")
        call = PipelineCall(
            pipeline=self.name,
            model=self.name,
            instruction_type=NO_INSTRUCTION,
            precision=self._precision,
            seconds=self._seconds,
            phases={"predict": self._seconds},
            error=self.error,
            batch=max(1, self.batch),
        )
        counter.assign(call, requests)
        counter.count_batch(call, timed=self._timer is not None)

    def _stop(self, counter: CallCounter, use: str) -> None:
        if not self._running:
            return
        self._running = False
        self._seconds += perf_counter() - self._started
        if self._timer is not None:
            counter.time_device(use, self._timer, self._started_at, self._timer.mark())


def inference(name: str, *, batch: int = 1) -> Inference:
    """Measure one call of a model: `with safelight.inference("universal_v3", batch=4) as call:`.

    `name` becomes the label `model_name`; `batch` is the number of inputs.
    """
    return Inference(name, batch=batch)


def cuda_in_use() -> Cuda:
    """Return torch.cuda if this process uses it, else None."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None

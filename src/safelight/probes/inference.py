"""Measure any model call: `with inference("universal_v3", batch=4)`, or `@measured(…)`."""

import functools
import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

from safelight.libraries import Cuda, TimeMark
from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.probes.assign import CallCounter, Requests, counter_of_current
from safelight.probes.declare import checked_reason
from safelight.probes.timers import CudaTimer
from safelight.reasons import NO_ERROR, reason_of_exception
from safelight.telemetry.record import PipelineCall

P = ParamSpec("P")
R = TypeVar("R")

_INSIDE: ContextVar[frozenset[str]] = ContextVar("safelight_inside", default=frozenset())


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
        self._started = 0.0
        self._started_at: TimeMark = None

    def fail(self, reason: str = "model_error") -> None:
        """Declare that the call failed. Raises ValueError if the reason is unknown."""
        self.error = checked_reason(reason)

    def __enter__(self) -> "Inference":
        """Begin the call."""
        counter = self._counter or counter_of_current()
        if counter is not None:
            with counter.guard:
                cuda = cuda_in_use()
                self._timer = None if cuda is None else CudaTimer(cuda, None)
                self._started_at = None if self._timer is None else self._timer.mark()
                self._started = perf_counter()
                self._begun = (counter, counter.begin())
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
        seconds = perf_counter() - self._started
        if error is not None and self.error == NO_ERROR:
            self.error = reason_of_exception(error, default="model_error")
        call = PipelineCall(
            pipeline=self.name,
            model=self.name,
            instruction_type=NO_INSTRUCTION,
            precision=self._precision,
            seconds=seconds,
            phases={"predict": seconds},
            error=self.error,
            batch=self.batch,
        )
        counter.end(call, requests)
        counter.count_batch(call)
        if self._timer is not None:
            counter.time_device(call, self._timer, self._started_at, self._timer.mark())


def inference(name: str, *, batch: int = 1) -> Inference:
    """Measure one call of a model: `with safelight.inference("universal_v3", batch=4) as call:`.

    `name` becomes the label `model_name`; `batch` is the number of inputs.
    """
    return Inference(name, batch=batch)


def measured(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Measure every call of the decorated function, sync or async, as a call of the model."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def asynchronous(*args: P.args, **kwargs: P.kwargs) -> Any:
                with Inference(name):
                    return await function(*args, **kwargs)

            return asynchronous  # type: ignore[return-value]

        @functools.wraps(function)
        def synchronous(*args: P.args, **kwargs: P.kwargs) -> R:
            with Inference(name):
                return function(*args, **kwargs)

        return synchronous

    return decorate


def around(
    call: Inference, function: Callable[..., object], *args: object, **kwargs: object
) -> object:
    """Run a function as one call of the model; calls inside it are part of it."""
    inside = _INSIDE.get()
    if call.name in inside:
        return function(*args, **kwargs)
    token = _INSIDE.set(inside | {call.name})
    try:
        with call:
            return function(*args, **kwargs)
    finally:
        _INSIDE.reset(token)


def cuda_in_use() -> Cuda:
    """Return torch.cuda if this process uses it, else None."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None

"""Watch one diffusers pipeline: its calls, phases and every denoising step.

The probe replaces the pipeline's class by a subclass of the same name. The subclass reports the
start and end of a call, the end of prompt encoding, and each update of the progress bar: almost
every pipeline updates the bar once per step. For a class that does not, the scheduler's steps are
counted instead. The probe needs no hook on a module and no callback.
"""

import inspect
import os
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from safelight.errors import AlreadyWatched
from safelight.libraries import Cuda, Pipeline, TimeMark
from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.probes.assign import Requests, current_owner
from safelight.probes.calls import CallInProgress, is_int8
from safelight.probes.disguise import probe_of
from safelight.probes.guard import Guard
from safelight.probes.guidance import rule_of
from safelight.probes.reports import ENCODING, Call, Reports
from safelight.probes.timers import CudaTimer, HostTimer, Timer
from safelight.telemetry.record import PipelineCall


class Listener(Protocol):
    """Receives a pipeline's calls, in the thread that makes them. `owner` identifies its watch."""

    owner: object

    def begin(self) -> Requests:
        """Handle the start of a call. Return the requests that it belongs to."""

    def end(self, call: PipelineCall, requests: Requests) -> None:
        """Handle the end of a call, successful or not."""

    def late(self, call: PipelineCall) -> None:
        """Handle the times of an ended call that the device finished later."""

    def failed(self, probe: str) -> None:
        """Handle a failure of the probe itself."""


def no_instruction(text: str) -> str:  # noqa: ARG001 - the default classifier
    """Return the type of every text if there is no taxonomy."""
    return NO_INSTRUCTION


@dataclass(frozen=True, eq=False)
class Watcher:
    """One watch of a pipeline: who receives its calls, and what the pipeline is called there."""

    listener: Listener
    classify: Callable[[str], str] = no_instruction
    model: str = ""


class DiffusersProbe:
    """Watches a pipeline from its creation until `unwatch`.

    Several watches of one pipeline share the probe. A call goes to the watch whose application
    serves the current request, else to the first. The probe does not keep the pipeline alive.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        listener: Listener,
        *,
        classify: Callable[[str], str] = no_instruction,
        model: str = "",
        cuda: Cuda = None,
    ) -> None:
        if probe_of(pipeline) is not None:
            raise AlreadyWatched("pipeline")
        self._pipeline = weakref.ref(pipeline)
        self.first = Watcher(listener, classify, model)
        self._watchers = [self.first]
        self._cuda = cuda
        self._guard = Guard("diffusers", listener.failed)
        self._current: ContextVar[Call | None] = ContextVar("safelight_call", default=None)
        self._late: deque[tuple[Call, Watcher]] = deque(maxlen=256)
        self._pid = os.getpid()
        self._int8 = is_int8(pipeline)
        rule_of(type(pipeline))  # here, because to read a source takes milliseconds
        self._bar_has_steps = False
        self._reports = Reports(self._current, self._guard)
        self._signature = inspect.signature(type(pipeline).__call__)
        self._reports.watch(pipeline, self.around, self)
        for part in _inner_pipelines(pipeline):
            self._reports.watch(part, None, self)

    def add(self, watcher: Watcher) -> None:
        """Also report to another watch."""
        self._watchers.append(watcher)

    def reports_to(self, owner: object) -> bool:
        """Return True if a watch of this owner has the pipeline."""
        return any(watcher.listener.owner is owner for watcher in self._watchers)

    def remove(self, watcher: Watcher) -> None:
        """Stop reporting to a watch; after the last, restore the pipeline's class."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
        if not self._watchers:
            self._reports.restore()

    def unwatch(self) -> None:
        """Stop all watches of the pipeline; a second call does nothing."""
        for watcher in list(self._watchers):
            self.remove(watcher)

    def drain(self) -> bool:
        """Report late calls that the device has finished by now. Return True (a reading)."""
        if self._pid != os.getpid():  # a forked process has no CUDA events of its parent
            self._pid = os.getpid()
            self._late.clear()
        # Called by the sampler and by the pipeline's callers: each takes an entry before it looks.
        for _ in range(len(self._late)):
            try:
                call, watcher = self._late.popleft()
            except IndexError:
                break
            if not call.finished:
                self._late.appendleft((call, watcher))
                break
            watcher.listener.late(call.result(finished=True))
        return True

    def around(
        self,
        pipeline: Pipeline,
        original: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Run one call of the pipeline and report it."""
        begun: tuple[Call, Watcher, Requests] | None = None
        with self._guard:
            begun = self._begin(pipeline, args, kwargs)
        if begun is None:
            return original(pipeline, *args, **kwargs)
        token, encoding = self._current.set(begun[0]), ENCODING.set(begun[0])
        output: object = None
        error: BaseException | None = None
        try:
            output = original(pipeline, *args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        else:
            return output
        finally:
            self._current.reset(token)
            ENCODING.reset(encoding)
            with self._guard:
                self._end(*begun, output, error)

    def _begin(
        self, pipeline: Pipeline, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[Call, Watcher, Requests]:
        watcher = self._watcher()
        arguments = self._arguments(pipeline, args, kwargs)
        prompt = arguments.get("prompt")
        prompt = arguments.get("instruction") if prompt is None else prompt
        text = prompt[0] if isinstance(prompt, list | tuple) and prompt else prompt
        kind = watcher.classify(text) if text and isinstance(text, str) else NO_INSTRUCTION
        timer = self._timer(pipeline)
        call = CallInProgress(
            pipeline, arguments, kind, timer, int8=self._int8, model=watcher.model
        )
        scheduler = getattr(pipeline, "scheduler", None)
        if scheduler is not None and not self._bar_has_steps:
            self._reports.watch_scheduler(scheduler, self)
        self._reports.watch_encoders(pipeline, self)
        return call, watcher, watcher.listener.begin()

    def _watcher(self) -> Watcher:
        owner = current_owner() if len(self._watchers) > 1 else None
        own = (each for each in self._watchers if each.listener.owner is owner)
        return next(own, self._watchers[0])

    def _arguments(
        self, pipeline: Pipeline, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> dict[str, object]:
        try:
            bound = self._signature.bind(pipeline, *args, **kwargs)
        except TypeError:  # the pipeline will raise the same error to its caller
            return dict(kwargs)
        bound.apply_defaults()
        return {**kwargs, **bound.arguments}

    def _end(
        self,
        call: Call,
        watcher: Watcher,
        requests: Requests,
        output: object,
        error: BaseException | None,
    ) -> None:
        with self._guard:
            call.mark_end(output, error)
        if error is None and call.bar_has_steps and not self._bar_has_steps:
            self._bar_has_steps = True
            self._reports.leave_scheduler(getattr(self._pipeline(), "scheduler", None))
        finished = False
        with self._guard:
            finished = call.finished  # read once: it may change at any time
        watcher.listener.end(call.result(finished=finished), requests)
        if call.ended and not finished:
            self._late.append((call, watcher))
        self.drain()

    def _timer(self, pipeline: Pipeline) -> Timer[TimeMark]:
        device = getattr(pipeline, "_execution_device", None)
        if getattr(device, "type", "cpu") != "cuda":
            return HostTimer()
        return CudaTimer(self._cuda or _torch_cuda(), device)


def is_diffusion(pipeline: Pipeline) -> bool:
    """Return True for a pipeline of diffusers, also a modular one, or one built like it."""
    kind = type(pipeline)
    names = {each.__name__ for each in kind.__mro__}
    alike = hasattr(kind, "progress_bar") and hasattr(kind, "__call__")  # noqa: B004
    return alike or bool(names & {"DiffusionPipeline", "ModularPipeline"})


def _inner_pipelines(pipeline: Pipeline) -> list[Pipeline]:
    """Return the pipelines that a combined pipeline calls."""
    parts = vars(pipeline).values()
    return [part for part in parts if is_diffusion(part) and probe_of(part) is None]


def _torch_cuda() -> object:
    import torch

    return torch.cuda

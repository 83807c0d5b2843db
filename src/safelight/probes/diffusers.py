"""Watch one diffusers pipeline: its calls, phases and every denoising step.

The probe replaces the pipeline's class by a subclass of the same name. The subclass reports the
start and end of a call, the end of prompt encoding, and each update of the progress bar: almost
every pipeline updates the bar once per step. For a class that does not, the scheduler's steps are
counted instead. The probe needs no hook on a module and no callback.
"""

import functools
import inspect
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from safelight.errors import AlreadyWatched
from safelight.libraries import Cuda, Pipeline, TimeMark
from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.probes.assign import Requests, current_owner
from safelight.probes.calls import CallInProgress, is_int8
from safelight.probes.disguise import disguise, probe_of, reveal
from safelight.probes.guard import Guard
from safelight.probes.loops import Loop
from safelight.probes.timers import CudaTimer, HostTimer, Timer
from safelight.telemetry.record import PipelineCall

_PROMPT_ENCODERS = ("encode_prompt", "_encode_prompt")
Call = CallInProgress[TimeMark]


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
        self._draining = threading.Lock()
        self._int8 = is_int8(pipeline)
        self._bar_has_steps = False
        self._disguised: list[tuple[weakref.ref[Any], type]] = []
        self._signature = inspect.signature(type(pipeline).__call__)
        self._replace_class(pipeline, {"__call__": self._call_of(type(pipeline))})
        for part in _inner_pipelines(pipeline):
            self._replace_class(part, {})

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
            while self._disguised:
                reference, original = self._disguised.pop()
                reveal(reference(), self, original)

    def unwatch(self) -> None:
        """Stop all watches of the pipeline; a second call does nothing."""
        for watcher in list(self._watchers):
            self.remove(watcher)

    def drain(self) -> bool:
        """Report late calls that the device has finished by now. Return True (a reading)."""
        with self._draining:  # called by the sampler and by the pipeline's callers
            finished = []
            while self._late and self._late[0][0].finished:
                finished.append(self._late.popleft())
        for call, watcher in finished:
            watcher.listener.late(call.result(finished=True))
        return True

    def fork(self) -> None:
        """Forget what belongs to the parent process, in a forked one."""
        self._draining = threading.Lock()
        self._late.clear()

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
        token = self._current.set(begun[0])
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
            with self._guard:
                self._end(*begun, output, error)

    def encoded(self) -> None:
        """Mark the end of prompt encoding."""
        call = self._current.get()
        if call is not None:
            with self._guard:
                call.mark_encoded()

    def bar(self, bar: Pipeline, pipeline: Pipeline) -> object:
        """Return the loop's progress bar in a wrapper that reports its updates."""
        call = self._current.get()
        if call is None:
            return bar
        with self._guard:
            return _Bar(bar, call.mark_loop(pipeline), self._guard)
        return bar

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
        self._watch_scheduler(pipeline)
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
        self._bar_has_steps |= error is None and call.loops.has_steps
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

    def _call_of(self, original: type) -> Callable[..., object]:
        @functools.wraps(original.__call__)
        def call(pipeline: Pipeline, *args: object, **kwargs: object) -> object:
            return self.around(pipeline, original.__call__, args, kwargs)

        return call

    def _replace_class(self, pipeline: Pipeline, members: Mapping[str, object]) -> None:
        if probe_of(pipeline) is not None:
            return
        original = type(pipeline)
        reports = {name: self._reporting(original, name) for name in _reported(original)}
        disguise(pipeline, self, {**reports, **members})
        self._disguised.append((weakref.ref(pipeline), original))

    def _reporting(self, original: type, name: str) -> Callable[..., object]:
        method = getattr(original, name)

        @functools.wraps(method)
        def reporting(pipeline: Pipeline, *args: object, **kwargs: object) -> object:
            result = method(pipeline, *args, **kwargs)
            if name == "progress_bar":
                return self.bar(result, pipeline)
            self.encoded()
            return result

        return reporting

    def _watch_scheduler(self, pipeline: Pipeline) -> None:
        """Count the scheduler's steps until a call has shown that the progress bar has them."""
        scheduler = getattr(pipeline, "scheduler", None)
        if scheduler is None or not hasattr(type(scheduler), "step"):
            return
        if self._bar_has_steps:
            if probe_of(scheduler) is self:
                reveal(scheduler, self, type(scheduler).__mro__[1])
        elif probe_of(scheduler) is None:
            original = type(scheduler)
            names = [n for n in ("step", "scale_model_input") if hasattr(original, n)]
            disguise(scheduler, self, {name: self._scheduling(original, name) for name in names})
            self._disguised.append((weakref.ref(scheduler), original))

    def _scheduling(self, original: type, name: str) -> Callable[..., object]:
        method = getattr(original, name)

        @functools.wraps(method)
        def scheduling(scheduler: Pipeline, *args: object, **kwargs: object) -> object:
            call = self._current.get()
            if call is None:
                return method(scheduler, *args, **kwargs)
            if name == "scale_model_input":
                with self._guard:
                    call.mark_scaled()
                return method(scheduler, *args, **kwargs)
            result = method(scheduler, *args, **kwargs)
            with self._guard:
                call.mark_scheduled(self._pipeline())
            return result

        return scheduling


class _Bar:
    """Wraps a progress bar and reports its updates."""

    def __init__(self, bar: Pipeline, loop: Loop[TimeMark], guard: Guard) -> None:
        self._bar = bar
        self._loop = loop
        self._guard = guard

    def __enter__(self) -> "_Bar":
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> object:
        with self._guard:
            self._loop.finish()
        return self._bar.__exit__(*error)

    def __iter__(self) -> Iterator[object]:
        for item in self._bar:
            yield item
            with self._guard:
                self._loop.step()
        with self._guard:
            self._loop.finish()

    def __len__(self) -> int:
        return len(self._bar)

    def update(self, n: float = 1) -> object:
        with self._guard:
            self._loop.step()
        return self._bar.update(n)

    def __getattr__(self, name: str) -> object:
        return getattr(self._bar, name)


def is_diffusion(pipeline: Pipeline) -> bool:
    """Return True for a pipeline of diffusers, also a modular one."""
    names = {each.__name__ for each in type(pipeline).__mro__}
    return bool(names & {"DiffusionPipeline", "ModularPipeline"})


def _reported(original: type) -> list[str]:
    return [name for name in ("progress_bar", *_PROMPT_ENCODERS) if hasattr(original, name)]


def _inner_pipelines(pipeline: Pipeline) -> list[Pipeline]:
    """Return the pipelines that a combined pipeline calls."""
    return [part for part in vars(pipeline).values() if is_diffusion(part)]


def _torch_cuda() -> object:
    import torch

    return torch.cuda

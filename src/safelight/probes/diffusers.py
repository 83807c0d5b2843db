"""Watch one diffusers pipeline: its calls, phases and every denoising step.

The probe replaces the pipeline's class by a subclass of the same name. The subclass reports the
start and end of a call, the end of prompt encoding, and each update of the progress bar: every
pipeline updates the bar once per step. The probe needs no hook on a module and no callback.
"""

import functools
import inspect
import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

from safelight.errors import AlreadyWatched
from safelight.libraries import Cuda, Pipeline, TimeMark
from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.probes.calls import CallInProgress, is_int8
from safelight.probes.guard import Guard
from safelight.probes.timers import CudaTimer, HostTimer, Timer
from safelight.telemetry.record import PipelineCall

_PROMPT_ENCODERS = ("encode_prompt", "_encode_prompt")


class Listener(Protocol):
    """Receives a pipeline's calls, in the thread that makes them."""

    def begin(self) -> None:
        """Handle the start of a call."""

    def end(self, call: PipelineCall) -> None:
        """Handle the end of a call, successful or not."""

    def late(self, call: PipelineCall) -> None:
        """Handle the times of an ended call that the device finished later."""

    def failed(self, probe: str) -> None:
        """Handle a failure of the probe itself."""


class _Pipeline(Protocol):
    """The methods of a diffusers pipeline that the probe replaces."""

    def __call__(self, *args: object, **kwargs: object) -> object: ...

    def progress_bar(self, *args: object, **kwargs: object) -> object: ...


class DiffusersProbe:
    """Watches a pipeline from its creation until `unwatch`."""

    def __init__(
        self,
        pipeline: Pipeline,
        listener: Listener,
        *,
        classify: Callable[[str], str] = lambda text: NO_INSTRUCTION,  # noqa: ARG005
        cuda: Cuda = None,
    ) -> None:
        if getattr(type(pipeline), "_safelight_probe", None) is not None:
            raise AlreadyWatched("pipeline")
        self._pipeline = pipeline
        self._listener = listener
        self._classify = classify
        self._cuda = cuda
        self._guard = Guard("diffusers", listener.failed)
        self._current: ContextVar[CallInProgress[TimeMark] | None] = ContextVar(
            "safelight_call", default=None
        )
        self._late: deque[CallInProgress[TimeMark]] = deque(maxlen=256)
        self._draining = threading.Lock()
        self._int8 = is_int8(pipeline)
        self._original = type(pipeline)
        self._signature = inspect.signature(self._original.__call__)
        self._watched = _subclass(self._original, self)
        # Not setattr: the pipeline's own __setattr__ writes into its configuration.
        object.__setattr__(pipeline, "__class__", self._watched)

    def unwatch(self) -> None:
        """Restore the pipeline's class; a second call does nothing."""
        if type(self._pipeline) is self._watched:
            object.__setattr__(self._pipeline, "__class__", self._original)

    def drain(self) -> bool:
        """Report late calls that the device has finished by now. Return True (a reading)."""
        with self._draining:  # called by the sampler and by the pipeline's callers
            finished = []
            while self._late and self._late[0].finished:
                finished.append(self._late.popleft())
        for call in finished:
            self._listener.late(call.result(finished=True))
        return True

    def around(
        self, original: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Run one call of the pipeline and report it."""
        call: CallInProgress[TimeMark] | None = None
        with self._guard:
            call = self._begin(args, kwargs)
        if call is None:
            return original(*args, **kwargs)
        token = self._current.set(call)
        output: object = None
        error: BaseException | None = None
        try:
            output = original(*args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        else:
            return output
        finally:
            self._current.reset(token)
            with self._guard:
                self._end(call, output, error)

    def encoded(self) -> None:
        """Mark the end of prompt encoding."""
        call = self._current.get()
        if call is not None:
            with self._guard:
                call.mark_encoded()

    def bar(self, bar: Pipeline) -> object:
        """Return the loop's progress bar in a wrapper that reports its updates."""
        call = self._current.get()
        if call is None:
            return bar
        with self._guard:
            call.mark_loop(self._pipeline)
        return _Bar(bar, call.mark_step, call.mark_loop_end, self._guard)

    def _begin(
        self, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> CallInProgress[TimeMark]:
        arguments = self._arguments(args, kwargs)
        prompt = arguments.get("prompt") or arguments.get("instruction") or ""
        text = prompt[0] if isinstance(prompt, list | tuple) and prompt else prompt
        instruction_type = self._classify(text) if isinstance(text, str) else NO_INSTRUCTION
        call = CallInProgress(
            self._pipeline, arguments, instruction_type, self._timer(), int8=self._int8
        )
        self._listener.begin()
        return call

    def _arguments(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        try:
            bound = self._signature.bind(self._pipeline, *args, **kwargs)
        except TypeError:  # the pipeline will raise the same error to its caller
            return dict(kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def _end(
        self, call: CallInProgress[TimeMark], output: object, error: BaseException | None
    ) -> None:
        with self._guard:
            call.mark_end(output, error)
        finished = False
        with self._guard:
            finished = call.finished  # read once: it may change at any time
        self._listener.end(call.result(finished=finished))
        if call.ended and not finished:
            self._late.append(call)
        self.drain()

    def _timer(self) -> Timer[TimeMark]:
        device = getattr(self._pipeline, "_execution_device", None)
        if getattr(device, "type", "cpu") != "cuda":
            return HostTimer()
        return CudaTimer(self._cuda or _torch_cuda(), device)


class _Bar:
    """Wraps a progress bar and reports its updates."""

    def __init__(
        self, bar: Pipeline, on_step: Callable[[], None], on_end: Callable[[], None], guard: Guard
    ) -> None:
        self._bar = bar
        self._on_step = on_step
        self._on_end = on_end
        self._guard = guard

    def __enter__(self) -> "_Bar":
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> object:
        with self._guard:
            self._on_end()
        return self._bar.__exit__(*error)

    def __iter__(self) -> object:
        for item in self._bar:
            yield item
            with self._guard:
                self._on_step()
        with self._guard:
            self._on_end()

    def __len__(self) -> int:
        return len(self._bar)

    def update(self, n: float = 1) -> object:
        with self._guard:
            self._on_step()
        return self._bar.update(n)

    def __getattr__(self, name: str) -> object:
        return getattr(self._bar, name)


def _subclass(original: type[_Pipeline], probe: DiffusersProbe) -> type:
    """Return a subclass of the pipeline's class, with the same name, that reports to `probe`."""

    @functools.wraps(original.__call__)
    def call(self: Pipeline, *args: object, **kwargs: object) -> object:
        return probe.around(functools.partial(original.__call__, self), args, kwargs)

    @functools.wraps(original.progress_bar)
    def progress_bar(self: Pipeline, *args: object, **kwargs: object) -> object:
        return probe.bar(original.progress_bar(self, *args, **kwargs))

    members: dict[str, object] = {
        "__call__": call,
        "progress_bar": progress_bar,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
        "_safelight_probe": probe,
    }
    for name in _PROMPT_ENCODERS:
        if hasattr(original, name):
            members[name] = _encoder(getattr(original, name), probe)
    return type(original.__name__, (original,), members)


def _encoder(encode: Callable[..., object], probe: DiffusersProbe) -> Callable[..., object]:
    @functools.wraps(encode)
    def encoded(self: Pipeline, *args: object, **kwargs: object) -> object:
        result = encode(self, *args, **kwargs)
        probe.encoded()
        return result

    return encoded


def _torch_cuda() -> object:
    import torch

    return torch.cuda

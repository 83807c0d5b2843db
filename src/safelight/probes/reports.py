"""The methods of a pipeline and of its scheduler that report to the call in progress."""

import functools
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar

from safelight.libraries import Pipeline, TimeMark
from safelight.probes.calls import CallInProgress
from safelight.probes.disguise import disguise, probe_of, reveal, shallow_copy
from safelight.probes.guard import Guard
from safelight.probes.loops import Loop

Call = CallInProgress[TimeMark]
Around = Callable[..., object]

# The call in progress of any watched pipeline: pipelines share their text encoders.
ENCODING: ContextVar[Call | None] = ContextVar("safelight_encoding", default=None)

_PROMPT_ENCODERS = ("encode_prompt", "_encode_prompt")
_TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
_SCHEDULER_METHODS = ("scale_model_input", "step")


class Reports:
    """Replaces the classes of a pipeline's parts by subclasses that report, until `restore`."""

    def __init__(self, current: ContextVar[Call | None], guard: Guard) -> None:
        self._current = current
        self._guard = guard
        # By id. Not a list: calls and copies in several threads would lose each other's entries.
        self._replaced: dict[int, tuple[weakref.ref[object], type, object]] = {}

    def watch(self, pipeline: Pipeline, around: Around | None, probe: object) -> None:
        """Report a pipeline's loops and encoders; `around` runs its calls, if they are watched."""
        original = type(pipeline)
        members: dict[str, object] = {
            name: self._reporting(getattr(original, name), name)
            for name in ("progress_bar", *_PROMPT_ENCODERS)
            if hasattr(original, name)
        }
        if around is not None:
            members["__call__"] = _calling(original, around)
            members["__copy__"] = self._copying(original, probe)
        self._replace(pipeline, members, probe)

    def watch_scheduler(self, scheduler: object, probe: object) -> None:
        """Report the scheduler's steps, for pipelines whose progress bar does not show them."""
        original = type(scheduler)
        if probe_of(scheduler) is None and hasattr(original, "step"):
            names = [name for name in _SCHEDULER_METHODS if hasattr(original, name)]
            members = {name: self._scheduling(getattr(original, name), name) for name in names}
            self._replace(scheduler, members, probe)

    def watch_encoders(self, pipeline: object, probe: object) -> None:
        """Report the runs of each text encoder. It may be exchanged at any time, or shared.

        The subclass is around the module, so that nothing of it is in what torch compiles.
        """
        for name in _TEXT_ENCODERS:
            encoder = getattr(pipeline, name, None)
            if hasattr(encoder, "forward") and probe_of(encoder) is None:
                with self._guard:
                    members = {"__call__": _encoding(type(encoder).__call__, name, self._guard)}
                    self._replace(encoder, members, probe)

    def restore(self) -> None:
        """Restore the class of all parts."""
        while self._replaced:
            reference, original, probe = self._replaced.popitem()[1]
            reveal(reference(), probe, original)

    def leave_scheduler(self, scheduler: object) -> None:
        """Restore the scheduler's class: the progress bar has the steps."""
        if id(scheduler) in self._replaced:
            _, original, probe = self._replaced[id(scheduler)]
            reveal(scheduler, probe, original)

    def _replace(self, part: object, members: Mapping[str, object], probe: object) -> None:
        self._remember(part, disguise(part, probe, members), probe)

    def _remember(self, part: object, original: type, probe: object) -> None:
        key = id(part)
        reference = weakref.ref(part, lambda _: self._replaced.pop(key, None))
        self._replaced[key] = (reference, original, probe)

    def _copying(self, original: type, probe: object) -> Callable[[object], object]:
        """Return a `__copy__` whose copies are watched too: many services make one per request."""

        def copied(pipeline: object) -> object:
            twin = shallow_copy(pipeline, original)
            with self._guard:
                if probe_of(pipeline) is probe and type(twin) is original:
                    object.__setattr__(twin, "__class__", type(pipeline))
                    self._remember(twin, original, probe)
            return twin

        return copied

    def _reporting(self, method: Callable[..., Pipeline], name: str) -> Callable[..., object]:
        @functools.wraps(method)
        def reporting(pipeline: Pipeline, *args: object, **kwargs: object) -> object:
            result = method(pipeline, *args, **kwargs)
            call = self._current.get()
            if call is not None:
                with self._guard:
                    if name == "progress_bar":
                        return _Bar(result, call.mark_loop(pipeline), self._guard)
                    call.mark_encoded()
            return result

        return reporting

    def _scheduling(self, method: Callable[..., object], name: str) -> Callable[..., object]:
        @functools.wraps(method)
        def scheduling(scheduler: object, *args: object, **kwargs: object) -> object:
            call = self._current.get()
            if call is not None and name == "scale_model_input":
                with self._guard:
                    call.mark_scaled()
            result = method(scheduler, *args, **kwargs)
            if call is not None and name == "step":
                with self._guard:
                    call.mark_scheduled()
            return result

        return scheduling


def _encoding(method: Callable[..., object], name: str, guard: Guard) -> Callable[..., object]:
    @functools.wraps(method)
    def encoding(encoder: object, *args: object, **kwargs: object) -> object:
        call = ENCODING.get()
        if call is None:
            return method(encoder, *args, **kwargs)
        with guard:
            call.begin_encoding()
        result = method(encoder, *args, **kwargs)
        with guard:
            call.end_encoding(name)
        return result

    return encoding


def _calling(original: type, around: Around) -> Callable[..., object]:
    @functools.wraps(original.__call__)
    def call(pipeline: Pipeline, *args: object, **kwargs: object) -> object:
        return around(pipeline, original.__call__, args, kwargs)

    return call


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

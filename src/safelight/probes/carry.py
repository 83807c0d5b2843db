"""Carry the current request into executors and threads that the request starts.

asyncio's tasks and `asyncio.to_thread` inherit it; executors and threads do not. While anything
is watched, `ThreadPoolExecutor.submit` and `Thread.start` are wrapped, whoever else wraps them.
"""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Token

from safelight.telemetry.scope import CURRENT_REQUEST, RequestScope

Submit = Callable[..., Future[object]]
Start = Callable[[threading.Thread], None]

_lock = threading.Lock()
_users = 0
_undo: list[Callable[[], None]] = []


class Handle:
    """A request that another thread goes on with: `with handle:` makes its calls belong to it."""

    def __init__(self, request: RequestScope | None) -> None:
        self._request = request
        self._tokens: list[Token[RequestScope | None]] = []

    def __enter__(self) -> "Handle":
        """Make the request the current one of this thread."""
        self._tokens.append(CURRENT_REQUEST.set(self._request))
        return self

    def __exit__(self, *error: object) -> None:
        """Restore the thread's former request."""
        try:
            CURRENT_REQUEST.reset(self._tokens.pop())
        except ValueError:  # a stream may leave its block in another context than it entered it
            if CURRENT_REQUEST.get() is self._request:
                CURRENT_REQUEST.set(None)


def handle() -> Handle:
    """Return a handle of the current request, to pass through a queue to another thread.

    Outside a request, the handle does nothing.
    """
    return Handle(CURRENT_REQUEST.get())


def carry() -> Callable[[], None]:
    """Begin to carry requests. Return the function that ends it; the last one restores Python's."""
    _change_users(+1)
    done = threading.Event()

    def stop() -> None:
        if not done.is_set():
            done.set()
            _change_users(-1)

    return stop


def _change_users(by: int) -> None:
    global _users
    with _lock:
        _users += by
        if _users == 1 and by == 1:
            _undo.append(_wrap(ThreadPoolExecutor, "submit", _carrying_submit))
            _undo.append(_wrap(threading.Thread, "start", _carrying_start))
        while _users == 0 and _undo:
            _undo.pop()()


def _wrap(owner: type, name: str, wrapper: Callable[..., object]) -> Callable[[], None]:
    """Wrap a method. Return the function that unwraps it, unless it has been wrapped again."""
    original = getattr(owner, name)
    wrapped = wrapper(original)
    setattr(owner, name, wrapped)

    def undo() -> None:
        if getattr(owner, name) is wrapped:
            setattr(owner, name, original)

    return undo


def _carrying_submit(original: Submit) -> Submit:
    @functools.wraps(original)
    def submit(
        self: ThreadPoolExecutor, fn: Callable[..., object], /, *args: object, **kwargs: object
    ) -> Future[object]:
        request = CURRENT_REQUEST.get()
        if request is None or _users == 0:
            return original(self, fn, *args, **kwargs)
        # A new thread of the pool serves other requests later: it must not inherit this one.
        with Handle(None):
            return original(self, _carried, request, fn, *args, **kwargs)

    return submit


def _carrying_start(original: Start) -> Start:
    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        request = CURRENT_REQUEST.get()
        pooled = type(self).__module__.partition(".")[0] == "anyio"  # carries the context by itself
        if request is None or _users == 0 or pooled:
            original(self)
            return
        run = self.run

        def carried() -> None:
            vars(self).pop("run", None)
            _carried(request, run)

        vars(self)["run"] = carried
        original(self)

    return start


def _carried(
    request: RequestScope, fn: Callable[..., object], *args: object, **kwargs: object
) -> object:
    with Handle(request):
        return fn(*args, **kwargs)

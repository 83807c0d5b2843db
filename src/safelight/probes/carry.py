"""Carry the current request into executors and threads that the request starts.

asyncio's tasks and `asyncio.to_thread` inherit it; executors and threads do not. While anything
is watched, `ThreadPoolExecutor.submit` and `Thread.start` are replaced.
"""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Token

from safelight.telemetry.record import CURRENT_REQUEST, RequestScope

_lock = threading.Lock()
_users = 0
_submit: Callable[..., Future[object]] = ThreadPoolExecutor.submit
_start = threading.Thread.start


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
        CURRENT_REQUEST.reset(self._tokens.pop())


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
            _replace(_submit, _submit_carrying, ThreadPoolExecutor, "submit")
            _replace(_start, _start_carrying, threading.Thread, "start")
        elif _users == 0:
            _replace(_submit_carrying, _submit, ThreadPoolExecutor, "submit")
            _replace(_start_carrying, _start, threading.Thread, "start")


def _replace(old: object, new: object, owner: type, name: str) -> None:
    """Replace a method, unless somebody else has replaced it since."""
    if getattr(owner, name) is old:
        setattr(owner, name, new)


@functools.wraps(_submit)
def _submit_carrying(
    self: ThreadPoolExecutor, fn: Callable[..., object], /, *args: object, **kwargs: object
) -> Future[object]:
    request = CURRENT_REQUEST.get()
    if request is None or _users == 0:
        return _submit(self, fn, *args, **kwargs)
    # A new thread of the pool serves other requests later: it must not inherit this one.
    with Handle(None):
        return _submit(self, _carried, request, fn, *args, **kwargs)


@functools.wraps(_start)
def _start_carrying(self: threading.Thread) -> None:
    request = CURRENT_REQUEST.get()
    pooled = type(self).__module__.partition(".")[0] == "anyio"  # carries the context by itself
    if request is None or _users == 0 or pooled:
        _start(self)
        return
    run = self.run

    def carried() -> None:
        del self.run
        _carried(request, run)

    vars(self)["run"] = carried
    _start(self)


def _carried(
    request: RequestScope, fn: Callable[..., object], *args: object, **kwargs: object
) -> object:
    with Handle(request):
        return fn(*args, **kwargs)

"""An event loop in virtual time, and a thread that takes turns with it.

The clock stands still while code runs, and jumps to the next timer when nothing is due.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable
from typing import Literal


class _Jumping(selectors.SelectSelector):
    """Moves the clock instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the files that are ready; without any, let the time pass.

        Raises RuntimeError if no timer is set: the time would never pass.
        """
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("Everything waits, and no timer is set. This is a bug.")
        if not ready and timeout is not None:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds take no time."""

    def __init__(self) -> None:
        self._clock = _Jumping()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._clock.now


class Model:
    """A thread that runs only while the event loop waits for it: one of the two runs at a time.

    Its code may block, as in a real worker. To the loop each wait is a timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
        self._loop = loop
        self._work = work
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._timer: asyncio.TimerHandle | None = None
        self._waits = False  # for a notification
        self._failure: BaseException | None = None
        threading.Thread(target=self._run, name="simulated-model", daemon=True).start()
        loop.call_soon(self._resume)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass. Only the thread calls it."""
        self._timer = self._loop.call_later(seconds, self._resume)
        self._pause()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the loop raises it
            self._failure = error
        self._back.release()

    def _pause(self) -> None:
        self._back.release()
        self._turn.acquire()

    def _resume(self) -> None:
        self._waits = False
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._turn.release()
        self._back.acquire()
        if self._failure is not None:
            raise self._failure

    # ── In the place of a `threading.Condition` ──────────────────────────────────────────────────

    def __enter__(self) -> None:
        """Take no lock: only one of the two runs."""

    def __exit__(self, *_: object) -> Literal[False]:
        return False

    def wait(self, seconds: float | None = None) -> None:
        """Wait for a notification, or until the virtual seconds are over."""
        self._waits = True
        if seconds is None:
            self._pause()
        else:
            self.sleep(seconds)

    def notify_all(self) -> None:
        """Wake the thread if it waits."""
        if self._waits:
            self._waits = False
            self._loop.call_soon(self._resume)

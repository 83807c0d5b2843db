"""Many timers that rarely fire, at little cost: those of one moment share a timer of the loop."""

import asyncio
from collections.abc import Callable

TICK_SECONDS = 0.01


class Timers:
    """The timers of one event loop. They fire up to a hundredth of a second late, never early.

    The loop's own timers are in a heap. Every request would pay for two of them.
    """

    def __init__(self) -> None:
        self._moments: dict[int, _Moment] = {}

    def at(self, seconds: float, call: Callable[[], None]) -> "Timer":
        """Call a function at a time on the loop's clock."""
        place = int(seconds / TICK_SECONDS) + 1
        moment = self._moments.get(place)
        if moment is None:
            moment = self._moments[place] = _Moment(self._moments, place)
        return Timer(call, moment)


class Timer:
    """Calls a function at its time, unless it is cancelled before.

    Then it forgets the function, which may refer to the timer: only a garbage collection would
    free both.
    """

    __slots__ = ("_call", "_moment")

    def __init__(self, call: Callable[[], None], moment: "_Moment") -> None:
        self._call: Callable[[], None] | None = call
        self._moment = moment
        moment.timers.add(self)

    def fire(self) -> None:
        """Call the function, once."""
        call, self._call = self._call, None
        if call is not None:
            call()

    def cancel(self) -> None:
        """Do not call the function. Nothing happens after it was called."""
        self._call = None
        self._moment.timers.discard(self)
        if not self._moment.timers:
            self._moment.end()


class _Moment:
    """The timers that fire together."""

    __slots__ = ("_handle", "_moments", "_place", "timers")

    def __init__(self, moments: "dict[int, _Moment]", place: int) -> None:
        self.timers = set[Timer]()
        self._moments = moments
        self._place = place
        loop = asyncio.get_running_loop()
        self._handle = loop.call_at(place * TICK_SECONDS, self._fire)

    def _fire(self) -> None:
        self.end()
        loop = asyncio.get_running_loop()
        while self.timers:  # one may cancel another
            try:
                self.timers.pop().fire()
            except Exception as error:  # noqa: BLE001 - the others must fire still
                loop.call_exception_handler({"message": "a timer failed", "exception": error})

    def end(self) -> None:
        """Remove the moment."""
        self._handle.cancel()
        if self._moments.get(self._place) is self:
            del self._moments[self._place]

"""Sleep and wake: end the workers while nobody needs the model, and start them again.

A worker that ends gives back all of its device's memory, also what CUDA keeps, whatever the model
is; moving the weights to the host would not, and a user's own model may not allow it. So waking
takes as long as loading. Belongs to one event loop.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Literal, Protocol

import structlog

from safelight.errors import CannotSleep, NotReady, SafelightError
from safelight.metrics.catalog import MODEL_ASLEEP
from safelight.metrics.registry import Meter

State = Literal["awake", "asleep", "waking"]
_RETRY_SECONDS = 30.0  # after a wake that failed, requests do not wake the model for so long
_FAILED = "The model sleeps and could not be loaded again. The service's log has the reason."
_LATE = "The model slept, and was not loaded again before the deadline. Retry, it is loading now."
log = structlog.get_logger("safelight")


class Workers(Protocol):
    """What sleeping asks the pool for."""

    loaded: asyncio.Event

    @property
    def ready(self) -> bool:
        """Return whether a worker can serve now."""

    async def stop(self) -> None:
        """End the workers and do not replace them."""


class Waiter:
    """A request that waits until the model is awake. Its job's `Execution` meanwhile."""

    def __init__(self) -> None:
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stop(self, error: SafelightError) -> None:
        """Make the request fail with `error`."""
        if not self.woken.done():
            self.woken.set_exception(error)

    def late(self) -> None:
        """Make the request fail: its deadline has passed."""
        self.stop(NotReady(_LATE))

    def follow(self) -> None:
        """Do nothing: the engine follows the job later."""

    def position(self) -> int:
        """Return 0: no job is ahead."""
        return 0


class Sleeper:
    """The state of the model: awake, asleep or waking.

    `start` starts the workers; its task ends when they do. `hold` is told which share of the
    devices is held: 1 or 0.
    """

    def __init__(
        self,
        workers: Workers,
        meter: Meter,
        *,
        start: Callable[[], "asyncio.Task[None]"],
        hold: Callable[[int], None] = lambda _share: None,
        after_seconds: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._workers, self._meter = workers, meter
        self._start, self._hold = start, hold
        self._after_seconds, self._clock = after_seconds, clock
        self.state: State = "awake"
        self.active = 0  # jobs that wait or run
        self.keeps_awake: Callable[[], str] = str  # returns why the model must not sleep, if so
        self.waiting: set[Waiter] = set()
        self._idle_since = clock()
        self._failed_at, self._failure = float("-inf"), ""
        self._falling: asyncio.Task[None] | None = None
        self._waking: asyncio.Task[None] | None = None
        meter.set(MODEL_ASLEEP, value=0)

    def standing(self) -> dict[str, object]:
        """Return what /readyz says; nothing if the model is awake."""
        return {} if self.state == "awake" else {"status": self.state}

    @property
    def takes_requests(self) -> bool:
        """Return whether requests wake the model, or wait until it is awake."""
        return self.state != "awake" and not self._rests()

    def left(self) -> None:
        """Note that a job has ended."""
        self.active -= 1
        self._idle_since = self._clock()

    # ── Falling asleep ───────────────────────────────────────────────────────────────────────────

    async def sleep(self) -> None:
        """End the workers. Raises CannotSleep if the model loads, or requests wait or run."""
        if self.state == "waking" or (self.state == "awake" and not self._workers.ready):
            raise CannotSleep("The model is being loaded.")
        if self.state == "awake":
            if why := self.keeps_awake():
                raise CannotSleep(why)
            if self.active:
                raise CannotSleep(f"{self.active} requests wait or run.")
            self._fall("asked")
        if self._falling is not None:
            await asyncio.shield(self._falling)

    def tick(self) -> None:
        """Fall asleep if no request came for so long; called once a second."""
        now = self._clock()
        busy = self.active or self.keeps_awake()
        if self.state != "awake" or busy or not self._workers.ready:
            self._idle_since = now
        elif self._after_seconds and now - self._idle_since >= self._after_seconds:
            self._fall("idle")

    def _fall(self, reason: str) -> None:
        self.state = "asleep"  # at once: a request that comes now waits, and wakes it
        self._falling = asyncio.create_task(self._end(reason), name="safelight-sleep")

    async def _end(self, reason: str) -> None:
        await self._workers.stop()
        self._rest()
        log.info("model asleep", **{"safelight.reason": reason})

    def _rest(self) -> None:
        self._hold(0)
        self._meter.set(MODEL_ASLEEP, value=1)

    # ── Waking ───────────────────────────────────────────────────────────────────────────────────

    async def wake(self, seconds: float) -> None:
        """Wake the model for an operator, and wait at most so long. Raises NotReady."""
        if self.state == "awake" and not self._workers.ready:
            raise NotReady
        self._failed_at = float("-inf")
        if self.state != "awake":
            waiter = self.join()
            timer = asyncio.get_running_loop().call_later(seconds, waiter.late)
            try:
                await waiter.woken
            except NotReady as error:
                raise NotReady(f"{error} {self._failure}".strip()) from None
            finally:
                timer.cancel()
                self.waiting.discard(waiter)

    def join(self) -> Waiter:
        """Return a waiter for the model, and wake the model once. Raises NotReady."""
        if self._rests():
            raise NotReady(_FAILED)
        waiter = Waiter()
        self.waiting.add(waiter)
        if self.state == "asleep":
            self.state = "waking"
            self._waking = asyncio.create_task(self._rise(), name="safelight-wake")
        return waiter

    def _rests(self) -> bool:
        return self.state == "asleep" and self._clock() - self._failed_at < _RETRY_SECONDS

    async def _rise(self) -> None:
        """Start the workers and wait for the first that is ready."""
        if self._falling is not None:
            await asyncio.shield(self._falling)
        began = self._clock()
        self._hold(1)
        self._meter.set(MODEL_ASLEEP, value=0)
        keeper = self._start()
        loaded = asyncio.create_task(self._workers.loaded.wait())
        try:
            await asyncio.wait([keeper, loaded], return_when=asyncio.FIRST_COMPLETED)
        finally:
            loaded.cancel()
        if not keeper.done():
            self._risen(began)
        elif not keeper.cancelled():
            self._failed(keeper.exception())

    def _risen(self, began: float) -> None:
        self.state, self._failure, self._idle_since = "awake", "", self._clock()
        log.info("model awake", **{"event.duration": round((self._idle_since - began) * 1e9)})
        for waiter in self.waiting:
            if not waiter.woken.done():
                waiter.woken.set_result(None)

    def _failed(self, error: BaseException | None) -> None:
        self.state, self._failed_at, self._failure = "asleep", self._clock(), str(error)
        self._rest()
        log.error("model not awake", **{"error.message": self._failure})
        for waiter in self.waiting:
            waiter.stop(NotReady(_FAILED))

    async def stop(self) -> None:
        """End what is in progress, before the workers are ended for ever."""
        if self._waking is not None:
            self._waking.cancel()
            with suppress(asyncio.CancelledError):
                await self._waking
        if self._falling is not None:
            await self._falling

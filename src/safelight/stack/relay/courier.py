"""Brings notices to robots: paced, tried again inside a bound, counted. At least once each.

What it could not deliver it says so, and Alertmanager, which keeps it, asks again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import ceil

import httpx
import structlog

from safelight.metrics.catalog import DELIVERY, NOTIFICATION_SECONDS, NOTIFICATIONS
from safelight.metrics.registry import Meter
from safelight.stack.receivers import Relayed, is_address, secret
from safelight.stack.relay.notice import Notice
from safelight.stack.relay.robots import ROBOTS, Letter, Verdict

PAUSES_SECONDS = (0.5, 1.0, 2.0)  # between tries; Alertmanager waits ten seconds at least
BUDGET_SECONDS = 6.0  # after which no try is begun
TRY_SECONDS = 3.0
REST_SECONDS = 60.0  # for a robot that says it is told too much
_WINDOW_SECONDS = 61.0  # a minute of theirs, whatever lies between our clock and theirs
_HEADERS = {"content-type": "application/json; charset=utf-8"}

log = structlog.get_logger("safelight")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where time comes from: one clock that only runs, one that tells the hour, and a pause."""

    running: Callable[[], float] = time.monotonic
    hour: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Pace:
    """Counts what one robot is told, so that it is never told more than it takes."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._most = per_minute
        self._clock = clock
        self._told: deque[float] = deque(maxlen=per_minute or 1)
        self._rests_until = 0.0

    def take(self) -> float:
        """Enter one message if there is room; else return after how many seconds there is."""
        now = self._clock()
        if now < self._rests_until:
            return self._rests_until - now
        full = self._most is not None and len(self._told) == self._most
        if full and now - self._told[0] < _WINDOW_SECONDS:
            return self._told[0] + _WINDOW_SECONDS - now
        self._told.append(now)
        return 0.0

    def rest(self) -> None:
        """Leave the robot alone for a while, as it asked."""
        self._rests_until = self._clock() + REST_SECONDS


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a notice, and after how many seconds it may be brought again."""

    verdict: Verdict
    retry_after_seconds: int = 0


class Courier:
    """Knows the receivers, their robots and their pace."""

    def __init__(
        self,
        receivers: Mapping[str, Relayed],
        meter: Meter,
        client: httpx.AsyncClient,
        clocks: Clocks | None = None,
    ) -> None:
        self._receivers = receivers
        self._meter = meter
        self._client = client
        self._clocks = clocks or Clocks()
        self._paces = {
            name: Pace(ROBOTS[receiver.channel].per_minute, self._clocks.running)
            for name, receiver in receivers.items()
        }
        for receiver in receivers.values():
            for outcome in DELIVERY.values or ():
                meter.add(NOTIFICATIONS, receiver.channel, outcome, amount=0)

    def knows(self, name: str) -> bool:
        """Tell whether there is a receiver of that name."""
        return name in self._receivers

    async def bring(self, name: str, notice: Notice) -> Report:
        """Bring a notice to a receiver, and return what became of it."""
        channel, began = self._receivers[name].channel, self._clocks.running()
        report = await self._try(name, notice, began)
        outcome, why = report.verdict.outcome, report.verdict.why
        self._meter.add(NOTIFICATIONS, channel, outcome)
        took = self._clocks.running() - began
        self._meter.set(NOTIFICATION_SECONDS, channel, value=took)
        fields = {"safelight.receiver": name, "safelight.channel": channel}
        if outcome == "delivered":
            log.info("notified", **fields)
        else:
            log.warning("not notified", **fields, **{"error.type": outcome, "error.message": why})
        return report

    async def _try(self, name: str, notice: Notice, began: float) -> Report:
        """Try until it is delivered, refused, too much, or the pauses are used up."""
        pace = self._paces[name]
        verdict = Verdict("unreachable")
        for pause in (*PAUSES_SECONDS, None):
            if wait := pace.take():
                why = f"it is told no more for {ceil(wait)} s"
                return Report(Verdict("rate_limited", why), ceil(wait))
            verdict = await self._post(self._receivers[name], notice)
            if verdict.outcome == "rate_limited":
                pace.rest()
                return Report(verdict, ceil(REST_SECONDS))
            late = pause is None or self._clocks.running() - began + pause > BUDGET_SECONDS
            if verdict.outcome != "unreachable" or late:
                break
            await self._clocks.sleep(pause or 0.0)
        return Report(verdict, ceil(PAUSES_SECONDS[-1]) if verdict.outcome == "unreachable" else 0)

    async def _post(self, receiver: Relayed, notice: Notice) -> Verdict:
        robot = ROBOTS[receiver.channel]
        try:
            address = secret(receiver.url_file)  # each time: one that was mended counts at once
            key = secret(receiver.secret_file) if receiver.secret_file else ""
        except (OSError, UnicodeDecodeError):
            return Verdict("refused", "the file of its address or secret cannot be read")
        if not is_address(address):
            return Verdict("refused", "the file of its address holds none")
        letter = robot.write(notice, key, self._clocks.hour())
        try:
            async with asyncio.timeout(TRY_SECONDS):
                answer = await self._client.post(
                    _with(address, letter), content=letter.content, headers=_HEADERS
                )
        except (httpx.HTTPError, TimeoutError) as error:  # its text may hold the address
            return Verdict("unreachable", type(error).__name__)
        return robot.judge(answer.status_code, answer.content)


def _with(address: str, letter: Letter) -> httpx.URL:
    url = httpx.URL(address)
    return url.copy_merge_params(letter.params) if letter.params else url

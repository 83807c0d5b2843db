"""Deliver notices to group-chat robots, with rate limits, bounded retries and metrics.

Delivery is at least once: the relay reports a failure to Alertmanager, which sends it again.
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
from safelight.stack.relay.robots import ROBOTS, Message, Verdict

PAUSES_SECONDS = (0.5, 1.0, 2.0)  # between tries; Alertmanager's timeout is at least ten seconds
BUDGET_SECONDS = 6.0  # after which no new try starts
TRY_SECONDS = 3.0
REST_SECONDS = 60.0  # after a robot returned that its rate limit is exceeded
_WINDOW_SECONDS = 61.0  # a minute, and a margin for network delays
_HEADERS = {"content-type": "application/json; charset=utf-8"}

log = structlog.get_logger("safelight")


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks: one monotonic, one with the seconds since 1970, and a pause."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class RateLimit:
    """Limits the messages to one robot per minute. The last quarter is for firing alerts only."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=per_minute or 1)
        self._paused_until = 0.0

    def take(self, *, firing: bool = True) -> float:
        """Count one message and return 0, or return the seconds until one is allowed."""
        now = self._clock()
        if now < self._paused_until:
            return self._paused_until - now
        if self._per_minute is not None:
            allowed = self._per_minute if firing else max(1, self._per_minute * 3 // 4)
            if len(self._sent) >= allowed and now - self._sent[-allowed] < _WINDOW_SECONDS:
                return self._sent[-allowed] + _WINDOW_SECONDS - now
        self._sent.append(now)
        return 0.0

    def pause(self) -> None:
        """Allow no message for `REST_SECONDS`."""
        self._paused_until = self._clock() + REST_SECONDS


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a delivery, and the seconds after which it may be tried again."""

    verdict: Verdict
    retry_after_seconds: int = 0


class Deliverer:
    """Delivers notices to the receivers, within the rate limits of their robots."""

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
        self._limits = {
            name: RateLimit(ROBOTS[receiver.channel].per_minute, self._clocks.monotonic)
            for name, receiver in receivers.items()
        }
        for receiver in receivers.values():
            for outcome in DELIVERY.values or ():
                meter.add(NOTIFICATIONS, receiver.channel, outcome, amount=0)

    def has(self, name: str) -> bool:
        """Return True if there is a receiver with that name."""
        return name in self._receivers

    async def deliver(self, name: str, notice: Notice) -> Report:
        """Send a notice to a receiver, and return the result."""
        channel, started = self._receivers[name].channel, self._clocks.monotonic()
        report = await self._try(name, notice, started)
        outcome, reason = report.verdict.outcome, report.verdict.reason
        self._meter.add(NOTIFICATIONS, channel, outcome)
        seconds = self._clocks.monotonic() - started
        self._meter.set(NOTIFICATION_SECONDS, channel, value=seconds)
        fields = {"safelight.receiver": name, "safelight.channel": channel}
        if outcome == "delivered":
            log.info("notified", **fields)
        else:
            error = {"error.type": outcome, "error.message": reason}
            log.warning("not notified", **fields, **error)
        return report

    async def _try(self, name: str, notice: Notice, started: float) -> Report:
        """Try until the notice is delivered, refused or rate-limited, or the time is used up."""
        limit = self._limits[name]
        verdict = Verdict("unreachable")
        for pause in (*PAUSES_SECONDS, None):
            if wait := limit.take(firing=notice.firing):
                reason = f"its rate limit allows no message for {ceil(wait)} s"
                return Report(Verdict("rate_limited", reason), ceil(wait))
            verdict = await self._post(self._receivers[name], notice)
            if verdict.outcome == "rate_limited":
                limit.pause()
                return Report(verdict, ceil(REST_SECONDS))
            late = pause is None or self._clocks.monotonic() - started + pause > BUDGET_SECONDS
            if verdict.outcome != "unreachable" or late:
                break
            await self._clocks.sleep(pause or 0.0)
        return Report(verdict, ceil(PAUSES_SECONDS[-1]) if verdict.outcome == "unreachable" else 0)

    async def _post(self, receiver: Relayed, notice: Notice) -> Verdict:
        robot = ROBOTS[receiver.channel]
        try:
            address = secret(receiver.url_file)  # read each time, so that a correction applies
            key = secret(receiver.secret_file) if receiver.secret_file else ""
        except (OSError, UnicodeDecodeError):
            return Verdict("refused", "the file of its address or secret cannot be read")
        if not is_address(address):
            return Verdict("refused", "the file of its address does not contain an address")
        message = robot.write(notice, key, self._clocks.wall())
        try:
            async with asyncio.timeout(TRY_SECONDS):
                response = await self._client.post(
                    _url(address, message), content=message.content, headers=_HEADERS
                )
        except (httpx.HTTPError, TimeoutError) as error:  # its text may contain the address
            return Verdict("unreachable", type(error).__name__)
        return robot.judge(response.status_code, response.content)


def _url(address: str, message: Message) -> httpx.URL:
    url = httpx.URL(address)
    return url.copy_merge_params(message.params) if message.params else url

"""Decide which requests keep their trace and their exemplars, once their outcome is known."""

import re
from collections.abc import Callable
from dataclasses import replace
from math import ceil, log
from time import monotonic
from typing import Literal

from safelight.telemetry.record import Record

Why = Literal["", "sampled", "failed", "degraded", "retried", "slow", "share", "rated"]
Kind = tuple[object, ...]

# Kept traces of ordinary requests, and as many of others: a flood must not cost more than requests.
_PER_SECOND = 250
_KINDS = 256
_KNOWN = 100  # requests of a kind, before its slowest percent is known
_WINDOW = 2000  # requests of a kind, after which the earlier ones weigh half as much
_RENEW = 50  # requests between two looks at the percentile
_SLOWEST = 0.01
_BUCKET = log(1.05)  # width of a bucket of times: a percentile is known to 5 %
_SHORTEST = 1e-6
_ID = re.compile(r"(?!0{32})[0-9a-f]{16}(?!0{16})[0-9a-f]{16}")
_SHARES = 2**64


class Keeper:
    """Decides for each Record. For one thread at a time, such as that of an event loop.

    It keeps requests that their caller samples, that failed, were degraded, tried again or slow,
    and the share `ratio` of all others: by the trace id, as OpenTelemetry's TraceIdRatioBased, so
    that other services that use the same ratio keep the same traces. `exports` is True if their
    traces are sent; else only exemplars are kept, and the traces of callers.
    """

    def __init__(
        self, ratio: float, *, exports: bool, clock: Callable[[], float] = monotonic
    ) -> None:
        self._bound = ratio * _SHARES
        self._exports = exports
        self._clock = clock
        self._kinds: dict[Kind, SlowestPercent] = {}
        self._second, self._numbers = 0, [0, 0]

    def decided(self, record: Record) -> Record:
        """Return the Record, with the ids of its trace if it is kept."""
        why = self.reason(record)
        return self.kept(record, why) if why and self._has_room(why) else record

    def kept(self, record: Record, why: Why) -> Record:
        """Return a Record that is kept for a reason."""
        trace, own = record.facts.trace, record.facts.id
        if trace is not None and trace.is_local:
            is_sent = trace.sampled  # the application's own sampler decides
        else:
            is_sent = self._exports and _ID.fullmatch(own) is not None
        if trace is not None and (is_sent or trace.sampled):
            trace_id = trace.trace_id
        else:
            trace_id = own if is_sent else ""
        return replace(record, kept=why, trace_id=trace_id, span_id=own[16:] if is_sent else "")

    def reason(self, record: Record) -> Why:
        """Return why a request is kept; empty if it is not."""
        facts = record.facts
        is_slow = self._is_slow(record)
        if facts.trace is not None and facts.trace.sampled:
            return "sampled"
        if not record.succeeded:
            return "failed"
        if facts.degraded:
            return "degraded"
        if facts.retries:
            return "retried"
        if is_slow:
            return "slow"
        return "share" if facts.trace is None and self._is_chosen(facts.id) else ""

    def _is_chosen(self, trace_id: str) -> bool:
        return _ID.fullmatch(trace_id) is not None and int(trace_id[16:], 16) < self._bound

    def _is_slow(self, record: Record) -> bool:
        """Return whether a request is among the slowest percent of its kind. Learn from it."""
        if not record.succeeded:
            return False
        kind = _kind_of(record)
        usual = self._kinds.get(kind)
        if usual is None:
            if len(self._kinds) >= _KINDS:
                self._kinds.pop(next(iter(self._kinds)))
            usual = self._kinds[kind] = SlowestPercent()
        return usual.judge(record.seconds)

    def _has_room(self, why: Why) -> bool:
        """Return whether more may be kept. Callers who sample all must not crowd out failures."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._numbers = second, [0, 0]
        is_ordinary = why in ("sampled", "share")
        self._numbers[is_ordinary] += 1
        return self._numbers[is_ordinary] <= _PER_SECOND


def _kind_of(record: Record) -> Kind:
    """Return what requests have in common whose times can be compared."""
    calls = record.facts.calls
    if not calls:
        return record.endpoint, record.facts.instruction_type
    call = calls[-1]
    work = len(calls), call.model, call.steps_asked, call.images[:1]
    return record.endpoint, record.facts.instruction_type, *work


class SlowestPercent:
    """Learns the 99th percentile of times. Recent times weigh more.

    Times are counted in buckets whose bounds grow by 5 % (DDSketch; Masson, Rim and Lee, 2019).
    """

    def __init__(self) -> None:
        self._counts: dict[int, float] = {}
        self._seen = 0
        self._bound: int | None = None

    def judge(self, seconds: float) -> bool:
        """Return whether a time is above the percentile; False while that is unknown. Learn it."""
        bucket = ceil(log(max(seconds, _SHORTEST)) / _BUCKET)
        is_slow = self._bound is not None and bucket > self._bound
        self._counts[bucket] = self._counts.get(bucket, 0.0) + 1
        self._seen += 1
        if self._seen % _WINDOW == 0:
            self._counts = {each: count / 2 for each, count in self._counts.items() if count > 0.1}
        if self._seen >= _KNOWN and self._seen % _RENEW == 0:
            self._bound = self._percentile()
        return is_slow

    def _percentile(self) -> int:
        left = _SLOWEST * sum(self._counts.values())
        for bucket in sorted(self._counts, reverse=True):
            left -= self._counts[bucket]
            if left < 0:
                return bucket
        raise AssertionError("there are counts")  # pragma: no cover

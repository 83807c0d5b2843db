"""The `/metrics` page of a watched application: Safelight's metrics and the application's own."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from math import inf
from threading import Lock
from time import monotonic
from typing import cast

from prometheus_client import (
    REGISTRY,  # noqa: TID251 - only to keep the application's own metrics visible
    CollectorRegistry,
    values,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import ALLOWUTF8

from safelight.metrics.merge import OwnPage, hidden, joined
from safelight.metrics.registry import Exposition, Meter

log = logging.getLogger(__name__)

_SHARE = 0.1
_BURST_SECONDS = 1.0
_MAX_DEBT_SECONDS = (_BURST_SECONDS + 0.5) / _SHARE  # no page is older than that after a rush
_ESCAPING = re.compile(r"escaping=[\w-]+")
_MAX_READERS = 8  # at the same time, from one address
_PAUSE_SECONDS = 0.1  # between pages for one address, while pages take too large a share
_ADDRESS_LIMIT = 1000
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Readers:
    """Who reads the page now, by address: one address must leave room for the others."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._reading = Counter[str]()
        self._last: dict[str, float] = {}

    def enter(self, address: str, *, is_spent: bool) -> bool:
        """Count a reader; return whether there is room. `is_spent`: pages take too much time."""
        now = self._clock()
        if self._reading[address] >= _MAX_READERS or (
            is_spent and now - self._last.get(address, -inf) < _PAUSE_SECONDS
        ):
            return False
        self._reading[address] += 1
        self._last[address] = now
        if len(self._last) > _ADDRESS_LIMIT:
            del self._last[next(iter(self._last))]
        return True

    def leave(self, address: str) -> None:
        """Note that a reader has its page."""
        self._reading[address] -= 1
        if not self._reading[address]:
            del self._reading[address]


class Page:
    """The page of one application. With `joins`, the application's own metrics are part of it.

    Readers who ask at the same time share one page. Whoever asks again and again gets the last
    page, so that writing takes at most a tenth of the time, after a first second.
    """

    def __init__(
        self, meter: Meter, *, joins: bool, clock: Callable[[], float] = monotonic
    ) -> None:
        self._meter = meter
        self._joins = joins
        self._others: list[Meter] = []
        self._warned = False
        self._clock = clock
        self._lock = Lock()
        self._kept: dict[str, tuple[float, Exposition]] = {}  # by format: begun at, page
        self._spent_until = -inf  # when the time spent on pages is a small enough share

    def share(self, meter: Meter) -> Callable[[], None]:
        """Also show another watch's metrics. Return the function that ends it."""
        self._others.append(meter)
        return lambda: self._others.remove(meter)

    def write(self, accept: str, own: OwnPage | None) -> Exposition:
        """Return the page in the format of an Accept header, or in that of the own page.

        Without an own page, the metrics of prometheus_client's default registry are added.
        """
        if own is not None:
            return self._write(_OPENMETRICS if own.is_openmetrics else "", own)
        asked_at, accept = self._clock(), format_of(accept)
        with self._lock:
            begun_at, page = self._kept.get(accept, (-inf, None))
            if page is not None and (begun_at > asked_at or self.is_spent()):
                return page
            now = self._clock()
            page = self._write(accept, None)
            until = max(now, self._spent_until) + (self._clock() - now) / _SHARE
            self._spent_until = min(until, self._clock() + _MAX_DEBT_SECONDS)
            self._kept[accept] = now, page
            return page

    def kept(self, accept: str) -> Exposition | None:
        """Return the last page if another one would take too large a share of the time."""
        return self._kept.get(format_of(accept), (0.0, None))[1] if self.is_spent() else None

    def is_spent(self) -> bool:
        """Return whether readers ask so often that they get the last page."""
        return self._spent_until - self._clock() > _BURST_SECONDS / _SHARE

    def _write(self, accept: str, own: OwnPage | None) -> Exposition:
        exposition = self._meter.expose(accept)
        body, content_type = exposition.body, exposition.content_type
        if own is not None:
            self._warn(hidden(own.body, body))
            body, content_type = joined(own.body, body), own.content_type
        elif self._joins:
            body = joined(body, _default_metrics(accept))
        for other in self._others:
            body = joined(body, other.expose(accept).body)
        return Exposition(body, content_type)

    def _warn(self, names: list[str]) -> None:
        if names and not self._warned:
            self._warned = True
            log.warning(
                "The application's own %s is shown instead of Safelight's, and Safelight's alerts "
                "read it. To have both, call watch(namespace=...) with another namespace.",
                ", ".join(names),
            )


@lru_cache(256)
def format_of(accept: str) -> str:
    """Return the shortest Accept header with the same format: of all headers there are few."""
    try:
        content_type = choose_encoder(accept)[1]
    except (TypeError, ValueError):  # a version that is no number
        return ""
    escaping = _ESCAPING.search(content_type)
    if "version=0.0.4" in content_type:
        return ""
    kind = _OPENMETRICS.partition(";")[0] if "openmetrics" in content_type else "text/plain"
    return f"{kind}; version=1.0.0; {escaping[0]}" if escaping else kind


def _default_metrics(accept: str) -> bytes:
    """Return the metrics of the default registry, in all processes of the application."""
    registry: CollectorRegistry = REGISTRY
    if getattr(values.ValueClass, "_multiprocess", False):
        registry = CollectorRegistry()
        collect = cast("Callable[[CollectorRegistry], object]", MultiProcessCollector)
        collect(registry)
    encode = cast("Callable[..., bytes]", choose_encoder(accept)[0])
    return encode(registry, escaping=ALLOWUTF8)

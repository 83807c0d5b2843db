"""Bounds on connections: how many, how long they may be silent, and what they may leave unread.

uvicorn bounds none of these. `Listener` counts a connection when it is accepted, before TLS begins.
`Connections` closes, once a second, those whose callers are too slow. If all places are taken, the
connection whose caller was silent for longest makes room for a new one; one whose request runs
never does. `safelight.http_server.connection` bounds what one connection may send.
"""

import resource
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from heapq import nsmallest
from ipaddress import ip_address, ip_network
from time import monotonic
from typing import Protocol

import orjson
import structlog

from safelight.errors import Overloaded
from safelight.metrics.catalog import CONNECTIONS_CLOSED
from safelight.metrics.registry import Meter
from safelight.settings import Settings

_SPARE_FILES = 200  # descriptors for workers, records and logs
_EVICTED, _SILENT_SECONDS = 20, 0.25  # at once, if they were silent for so long
_WARN_SECONDS = 60.0
_UNREAD_BYTES = 64 * 1024
_LIMITS = {"total": "connection_limit", "evicted": "connection_limit"}
_LIMITS["address"] = "connections_per_address"
log = structlog.get_logger("safelight")


class Talk(Protocol):
    """What a connection tells about its caller once it is ready for requests."""

    heard_at: float

    @property
    def waits(self) -> bool:
        """Whether the server waits for the caller, not the caller for the server."""

    def close_if_slow(self, now: float) -> None:
        """Close the connection if its caller sends or reads nothing for too long."""

    def make_room(self) -> None:
        """Close the connection at once, for another one."""


class Held(socket.socket):
    """An accepted connection, until it is closed."""

    address: tuple[str, int]
    since = 0.0
    talk: Talk | None = None  # None during the handshake of TLS
    on_close: Callable[["Held"], None]

    def close(self) -> None:
        """Close the connection and give its place back."""
        self.on_close(self)
        super().close()

    @property
    def waits(self) -> bool:
        """Whether the server waits for the caller."""
        return self.talk is None or self.talk.waits

    @property
    def silent_since(self) -> float:
        """The time of the caller's last bytes."""
        return self.since if self.talk is None else self.talk.heard_at

    def has_unread(self) -> bool:
        """Return whether the caller has sent bytes that the server has not read yet."""
        try:
            return bool(self.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False


class Connections:
    """The open connections of one server."""

    def __init__(
        self, settings: Settings, meter: Meter, clock: Callable[[], float] = monotonic
    ) -> None:
        self.settings = settings
        self._meter = meter
        self.clock = clock
        self._limit = min(settings.connection_limit, _free_descriptors(settings.connection_limit))
        self._held: dict[tuple[str, int], Held] = {}
        self._by_host: Counter[str] = Counter()
        self._quiet_until = dict.fromkeys(_LIMITS, -_WARN_SECONDS)
        meter.start_at_zero(CONNECTIONS_CLOSED)

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, connection: Held) -> bool:
        """Give a new connection a place; refuse it and return False if there is none."""
        host, connection.since = connection.address[0], self.clock()
        crowded = self._by_host[host] >= self.settings.connections_per_address
        if crowded and not _is_among(host, self.settings.forwarded_allow_ips):
            return self._refuse(connection, "address")
        if len(self._held) >= self._limit and not self._make_room():
            return self._refuse(connection, "total")
        self._held[connection.address] = connection
        self._by_host[host] += 1
        return True

    def forget(self, connection: Held) -> None:
        """Give the place of a connection that closes to others."""
        connection.talk = None  # it refers to the connection: only a collection would free both
        if self._held.get(connection.address) is not connection:
            return
        del self._held[connection.address]
        host = connection.address[0]
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]

    def ready(self, address: tuple[str, int] | None, talk: Talk) -> None:
        """Note that a connection is ready for requests."""
        held = self._held.get(address) if address else None
        if held is not None:
            held.talk = talk

    def count(self, reason: str) -> None:
        """Count a connection that was closed or refused; warn of full places once a minute."""
        self._meter.add(CONNECTIONS_CLOSED, reason)
        now, name = self.clock(), _LIMITS.get(reason)
        if name is None or now < self._quiet_until[reason]:
            return
        self._quiet_until[reason] = now + _WARN_SECONDS
        log.warning(
            "connections are at a limit",
            **{
                "safelight.reason": reason,
                "safelight.connections": len(self._held),
                "safelight.setting": f"SAFELIGHT_{name.upper()}",
            },
        )

    def sweep(self) -> None:
        """Close the connections whose callers are too slow."""
        now = self.clock()
        for held in list(self._held.values()):
            if held.talk is not None:
                held.talk.close_if_slow(now)
            elif now - held.since > self.settings.header_seconds:
                self._cut(held, "slow")

    def _make_room(self) -> bool:
        """Close the connections whose callers were silent for longest; False if there is none.

        Several at once, because the search takes longer than everything else about a connection.
        """
        last = self.clock() - _SILENT_SECONDS
        silent = [held for held in self._held.values() if held.waits and held.silent_since <= last]
        longest = nsmallest(_EVICTED, silent, key=lambda held: held.silent_since)
        evicted = [held for held in longest if not held.has_unread()]
        for held in evicted:
            self._cut(held, "evicted")
        return bool(evicted)

    def _cut(self, held: Held, reason: str) -> None:
        """Close a connection at once."""
        talk = held.talk
        self.count(reason)
        self.forget(held)
        if talk is not None:
            talk.make_room()
            return
        if reason == "evicted" and self.settings.tls_certificate is None:
            _say_full(held)
        with suppress(OSError):  # the event loop, which owns the handshake, reads an end
            held.shutdown(socket.SHUT_RDWR)

    def _refuse(self, connection: Held, reason: str) -> bool:
        self.count(reason)
        if self.settings.tls_certificate is None:
            _say_full(connection)
        return False


class Listener(socket.socket):
    """A listening socket that accepts no more connections than there are places for."""

    connections: Connections

    @classmethod
    def of(cls, listening: socket.socket, connections: Connections) -> "Listener":
        """Take over a listening socket."""
        kind = listening.family, listening.type, listening.proto
        listener = cls(*kind, fileno=listening.detach())
        listener.connections = connections
        return listener

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection. Raises ConnectionAbortedError if there is no place for it."""
        accepted, address = super().accept()
        held = Held(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        held.address, held.on_close = address[:2], self.connections.forget
        if not self.connections.admit(held):
            held.close()
            raise ConnectionAbortedError  # the event loop goes on to other work
        return held, address


def response(status: str, reason: str, detail: str) -> bytes:
    """Return the bytes of a problem document that closes its connection."""
    content = {"status": int(status[:3]), "reason": reason, "detail": detail}
    body = orjson.dumps({"type": f"urn:safelight:problem:{reason}", **content})
    retry = "retry-after: 1\r\n" if status.startswith("503") else ""
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\n{retry}connection: close\r\n\r\n"
    )
    return head.encode() + body


FULL = response(
    "503 Service Unavailable",
    Overloaded.reason,
    "The service has as many connections as it may have. Close idle ones, or retry in a second.",
)


def _say_full(connection: Held) -> None:
    """Tell a caller why its connection is closed."""
    connection.setblocking(False)  # noqa: FBT003 - the name of its parameter is private
    with suppress(OSError):
        connection.send(FULL)
        # Closing with unread bytes would reset the connection, and the response be lost.
        connection.recv(_UNREAD_BYTES)


def _is_among(host: str, networks: str) -> bool:
    """Return whether an address is in one of these comma-separated networks; `*` has all."""
    return networks == "*" or any(
        ip_address(host.partition("%")[0]) in ip_network(network.strip(), strict=False)
        for network in networks.split(",")
        if network
    )


def _free_descriptors(wanted: int) -> int:
    """Return how many connections the process has file descriptors for, after raising its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _SPARE_FILES
    if soft < needed and soft != resource.RLIM_INFINITY:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return wanted if soft == resource.RLIM_INFINITY else max(1, soft - _SPARE_FILES)

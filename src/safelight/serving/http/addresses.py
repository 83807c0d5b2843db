"""The addresses of the other instances of a service, from the names in a setting."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from time import monotonic

import httpx

from safelight.errors import BadSetting

PEER_LIMIT = 16
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_LOOKUP_SECONDS = 2.0
_KEPT_SECONDS = 5.0
_FRESH_SECONDS = 1.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Peer:
    """One instance: a name of the setting, and one of its addresses."""

    scheme: str
    name: str
    address: str
    port: int

    @property
    def url(self) -> str:
        """Return the instance's address as a URL."""
        return f"{self.scheme}://{_bracketed(self.address)}:{self.port}"

    @property
    def host(self) -> str:
        """Return the name and port, for the header `Host`."""
        return f"{_bracketed(self.name)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Found:
    """The instances that the names lead to now. `missing` says what could not be found."""

    peers: tuple[Peer, ...] = ()
    missing: str = ""

    def has(self, address: str) -> bool:
        """Return True if one of the instances has this address."""
        return plain(address) in {peer.address for peer in self.peers}


async def look_up(name: str, port: int) -> Sequence[str]:
    """Return all addresses of a name. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Addresses:
    """The instances that a setting names. Look-ups are kept for some seconds."""

    def __init__(
        self, setting: str, *, resolve: Resolve = look_up, clock: Callable[[], float] = monotonic
    ) -> None:
        try:
            self._urls = [httpx.URL(each) for each in setting.split(",")]
        except httpx.InvalidURL as error:
            raise BadSetting(f"SAFELIGHT_PEERS cannot be read: {error}.") from None
        self._resolve = resolve
        self._clock = clock
        self._found, self._found_at = Found(), float("-inf")
        self._turn = asyncio.Lock()

    async def find(self, *, fresh: bool = False) -> Found:
        """Return the instances; with `fresh`, an answer from less than one second ago."""
        async with self._turn:
            kept = _FRESH_SECONDS if fresh or self._found.missing else _KEPT_SECONDS
            if self._clock() - self._found_at >= kept:
                self._found = await self._look_up()
                self._found_at = self._clock()
            return self._found

    async def _look_up(self) -> Found:
        lists = await asyncio.gather(*(self._peers_of(url) for url in self._urls))
        unknown = [url.host for url, peers in zip(self._urls, lists, strict=True) if not peers]
        peers = tuple(dict.fromkeys(peer for each in lists for peer in each))
        missing = f"{unknown[0]} has no address" if unknown else ""
        if len(peers) > PEER_LIMIT:
            missing = f"{len(peers)} instances are more than the limit of {PEER_LIMIT}"
        return Found(peers[:PEER_LIMIT], missing)

    async def _peers_of(self, url: httpx.URL) -> list[Peer]:
        port = url.port or _PORTS[url.scheme]
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                found = await self._resolve(url.host, port)
        except (OSError, UnicodeError):  # a timeout is an OSError too
            return []
        return [Peer(url.scheme, url.host, plain(address), port) for address in found]


def plain(address: str) -> str:
    """Return an address in its one usual form; an IPv4 address inside IPv6 as IPv4."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

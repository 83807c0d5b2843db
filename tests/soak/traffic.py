"""Mixed traffic of a soak: good, slow, bad and cancelled requests, and their answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from time import monotonic

import httpx

from safelight.stack.tools.samples import photo

GOOD, SLOW, BAD, CANCELLED = "good", "slow", "bad", "cancelled"
SHARES = {GOOD: 0.87, SLOW: 0.03, BAD: 0.05, CANCELLED: 0.05}
JPEG = {"content-type": "image/jpeg"}
USERS = 3  # per service
_FILLERS = 8
_PATIENCE_SECONDS = 60.0
_LONGEST_THOUGHT_SECONDS = 1.0  # of a user, between an answer and the next request
_PIECES = 4  # of a slow body
_LONGEST_PAUSE_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 0.05  # of a caller who leaves

# Each is refused with a 4xx.
MISTAKES: tuple[tuple[bytes, Mapping[str, str]], ...] = (
    (b"hello " * 50, JPEG),
    (photo(200, 200)[:-4000], JPEG),
    (b"", JPEG),
    (b'{"image": "AAAA"', {"content-type": "application/json"}),
    (b"--b\r\nbroken", {"content-type": "multipart/form-data; boundary=b"}),
    (photo(64, 64), {"content-type": "text/plain"}),
)


@dataclass
class Traffic:
    """The traffic on one service, and what came back: answers by kind, and what was wrong."""

    url: str
    path: str
    params: Mapping[str, str | int]
    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unsent: int = 0  # their callers left before they sent anything
    unsure: int = 0  # their callers left while they sent the headers

    @property
    def arrived(self) -> int:
        """Return the requests that the service must have counted."""
        return self.sent.total() - self.unsent - self.unsure

    async def fill(self, requests: int) -> None:
        """Send so many small good requests, one after another, so that tables become full."""
        async with httpx.AsyncClient(base_url=self.url, timeout=_PATIENCE_SECONDS) as http:
            todo = iter(range(requests))
            await asyncio.gather(*(self._fill(http, todo) for _ in range(_FILLERS)))

    async def _fill(self, http: httpx.AsyncClient, todo: Iterator[int]) -> None:
        params = {**self.params, "steps": 1} if self.params else {}
        for number in todo:
            self.sent[GOOD] += 1
            image = photo(64, 64, number % 8)
            self._note(GOOD, await http.post(self.path, params=params, content=image, headers=JPEG))

    async def run(self, seconds: float, seed: int) -> None:
        """Send requests for some seconds, and wait for the last answers."""
        end = monotonic() + seconds
        async with httpx.AsyncClient(base_url=self.url, timeout=_PATIENCE_SECONDS) as http:
            users = (self._use(http, end, Random(f"{seed}-{user}")) for user in range(USERS))
            await asyncio.gather(*users)

    async def _use(self, http: httpx.AsyncClient, end: float, chance: Random) -> None:
        while monotonic() < end:
            [kind] = chance.choices([*SHARES], [*SHARES.values()])
            self.sent[kind] += 1
            try:
                self._note(kind, await self._send(http, kind, chance))
            except httpx.HTTPError as error:
                self.faults[f"{kind}: {type(error).__name__}"] += 1
            await asyncio.sleep(chance.uniform(0, _LONGEST_THOUGHT_SECONDS))

    def _note(self, kind: str, response: httpx.Response | None) -> None:
        self.answered[kind] += 1
        if response is None:
            return
        expected = 400 <= response.status_code < 500 if kind == BAD else response.status_code == 200
        if not expected:
            self.faults[f"{kind}: {response.status_code}"] += 1

    async def _send(
        self, http: httpx.AsyncClient, kind: str, chance: Random
    ) -> httpx.Response | None:
        """Send a request; return its answer, or None if its caller left before."""
        params = {**self.params, "seed": chance.randrange(1000)} if self.params else {}
        image = photo(64, 64, chance.randrange(8))
        if kind == BAD:
            content, headers = chance.choice(MISTAKES)
            return await http.post(self.path, params=params, content=content, headers=headers)
        body = _pieces(image, chance) if kind == SLOW else image
        if kind != CANCELLED:
            return await http.post(self.path, params=params, content=body, headers=JPEG)
        return await self._leave(http, params, image, chance)

    async def _leave(
        self, http: httpx.AsyncClient, params: Mapping[str, str | int], image: bytes, chance: Random
    ) -> httpx.Response | None:
        """Send a request whose caller leaves soon; return its answer, or None if it was late."""
        passed: set[str] = set()  # events of the connection

        async def note(event: str, _info: object) -> None:
            passed.add(event)

        sending = http.post(
            self.path, params=params, content=image, headers=JPEG, extensions={"trace": note}
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0.005, _LONGEST_WAIT_SECONDS)):
                return await sending
        if "http11.send_request_headers.started" not in passed:
            self.unsent += 1
        elif "http11.send_request_headers.complete" not in passed:
            self.unsure += 1
        return None


async def _pieces(content: bytes, chance: Random) -> AsyncIterator[bytes]:
    """Yield a body in pieces, with pauses."""
    size = -(-len(content) // _PIECES)
    for start in range(0, len(content), size):
        await asyncio.sleep(chance.uniform(0, _LONGEST_PAUSE_SECONDS))
        yield content[start : start + size]

"""The stories: each makes something go wrong for real, or replays it, and has it explained."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from PIL import Image

from safelight.diagnosis.confidence import seconds
from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, Spans, gather
from safelight.diagnosis.forecast import Forecast, forecasts
from safelight.diagnosis.radar import Radar, radar
from safelight.diagnosis.report import Diagnosis
from safelight.models.demo.clutter import CLUTTER
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.records.config import records_url
from safelight.records.rows import Remembered
from safelight.stories.conditions import Conditions
from safelight.stories.history import Play, play, scrapes, write
from safelight.stories.live import SPANS, Live, Tell, performed
from safelight.stories.replay import replayed

_UNSEEN = 95_000_000  # people whom the demos never saw
_RATE, _CALM_SECONDS, _BAD_SECONDS = 1.0, 40.0, 40.0
_UPLOAD_SECONDS, _PIECES = 3.0, 20
_EDITS, _STEPS = 36, 8
_HOUR = 3600
_INSTRUCTIONS = ("make him old", "add sunglasses", "change the background to a beach")


@dataclass(frozen=True, slots=True)
class Told:
    """What a story ends with: the diagnosis, and what else there is to show."""

    diagnosis: Diagnosis
    notes: Sequence[str] = ()
    forecasts: Sequence[Forecast] = ()
    radar: Radar | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story: what it is about, and how it is told."""

    name: str
    about: str
    tell: Callable[[Tell], Told] = field(repr=False)


def bottleneck(tell: Tell) -> Told:
    """Have pictures sent quickly, then over a slow line: latency climbs while the device waits."""
    with performed(["demo-edit"], tell) as live:
        tell(f"a calm time of {_CALM_SECONDS:.0f} s: a picture every {1 / _RATE:.0f} s")
        began = time.monotonic()
        calm = asyncio.run(_trickle(live, _CALM_SECONDS, upload_seconds=0))
        tell(f"now callers come over a slow line, for {_BAD_SECONDS:.0f} s")
        turned = time.monotonic()
        slow = asyncio.run(_trickle(live, _BAD_SECONDS, upload_seconds=_UPLOAD_SECONDS))
        diagnosis = live.diagnosed(_compared(turned - began, time.monotonic() - turned))
        waits = [sorted(each)[int(0.95 * (len(each) - 1))] for each in (calm, slow)]
        note = f"P95 of the callers' wait: {seconds(waits[0])} before, {seconds(waits[1])} now"
        return Told(diagnosis, (note,))


def leak(tell: Tell) -> Told:
    """Replay four hours of a card whose memory climbs like a staircase, 200 MB an hour."""
    now = int(time.time()) // 60 * 60
    begin = now - 4 * _HOUR

    def weather(_: int, at: float) -> Conditions:
        stairs = (at - begin) // 900  # a step each quarter of an hour
        return Conditions(rate=0.5, vram_used=12.5e9 + 50e6 * stairs, vram_reserved=13.6e9)

    tell("replaying four hours of a simulated service with a card of 16 GB (there is none here)")
    service = Service("instructpix2pix", "safelight")
    with TemporaryDirectory(prefix="safelight-story-") as folder:
        times = scrapes((begin, now + 1, 60))
        write([play(Play(service.namespace, service.job, weather), times)], Path(folder))
        with replayed(Path(folder)) as prometheus:
            evidence = gather(prometheus, service, now, Spans())
            told = [each for each in forecasts(evidence) if each.ends]
            return Told(Diagnosis(evidence, judge(evidence)), forecasts=told)


def background(tell: Tell) -> Told:
    """Edit people before calm and before crowded backgrounds: what is destroyed, and advised."""
    sampled = {"SAFELIGHT_QUALITY_SAMPLE_RATIO": "1"}
    with performed(["demo-edit"], tell, environment=sampled) as live:
        tell(f"{_EDITS} people before calm backgrounds, of the painted world")
        began = time.monotonic()
        calm = _edit(live, busy=False)
        tell(f"{_EDITS} people before shelves, crowds and confetti")
        turned = time.monotonic()
        busy = _edit(live, busy=True)
        advised = next((a for a in busy if "x-safelight-advice" in a.headers), None)
        notes = [
            f"{name}: {_kept(answers)} of {len(answers)} edits kept what they should have"
            for name, answers in (("calm backgrounds", calm), ("busy backgrounds", busy))
        ]
        if advised is not None:
            said = advised.headers["x-safelight-advice"]
            notes.append(f"their callers are told: X-Safelight-Advice: {said}")
        diagnosis = live.diagnosed(_compared(turned - began, time.monotonic() - turned))
        live.stack.stop()  # the last records are written as the service ends
        return Told(diagnosis, notes, radar=radar(_remembered(live)))


def _compared(before_seconds: float, now_seconds: float) -> Spans:
    """Return spans that hold the one time against the other, however long they took."""
    window, before = (max(30, round(each)) for each in (now_seconds, before_seconds))
    return replace(SPANS, window_seconds=window, before_seconds=before)


SCENARIOS = (
    Scenario("io-bottleneck", "P95 climbs while the device waits for its input", bottleneck),
    Scenario("vram-leak", "card memory climbs like a staircase, 200 MB an hour", leak),
    Scenario("bad-background", "edits fail on busy backgrounds; advice, radar", background),
)


async def _trickle(live: Live, lasts_seconds: float, upload_seconds: float) -> list[float]:
    """Have edits asked for at a steady rate; return how long each caller waited."""
    waits = []

    async def one(client: httpx.AsyncClient, number: int) -> None:
        await asyncio.sleep(number / _RATE)
        began = time.monotonic()
        asked = {"instruction": "make him old", "steps": str(_STEPS), "seed": str(number)}
        body = slowly(portrait(_UNSEEN + number, None), upload_seconds)
        told = {"content-type": "image/png"}
        await client.post("/api/edit", params=asked, content=body, headers=told)
        waits.append(time.monotonic() - began)

    async with httpx.AsyncClient(base_url=live.url, timeout=60) as client:
        await asyncio.gather(*(one(client, n) for n in range(int(_RATE * lasts_seconds))))
    return waits


async def slowly(body: bytes, lasts_seconds: float) -> AsyncIterator[bytes]:
    """Yield a body in pieces, as it comes over a slow line."""
    size = len(body) // _PIECES + 1
    for place in range(0, len(body), size):
        await asyncio.sleep(lasts_seconds / _PIECES)
        yield body[place : place + size]


def _edit(live: Live, *, busy: bool) -> list[httpx.Response]:
    """Have people edited, one after the other: nobody is to wait for anything but the model."""
    chance, answers = random.Random(int(busy)), []
    with httpx.Client(base_url=live.url, timeout=60) as client:
        for number in range(_EDITS):
            asked = {
                "instruction": _INSTRUCTIONS[number % len(_INSTRUCTIONS)],
                "seed": str(number),
                "steps": str(_STEPS),
            }
            picture = portrait(_UNSEEN + number, chance.choice(list(CLUTTER)) if busy else None)
            told = {"content-type": "image/png"}
            answers.append(client.post("/api/edit", params=asked, content=picture, headers=told))
    return answers


def portrait(seed: int, behind: str | None = None) -> bytes:
    """Return a PNG of a person of the painted world, before clutter if any is named."""
    picture: Image.Image = paint(draw(seed), CLUTTER[behind] if behind else None)
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _kept(answers: Sequence[httpx.Response]) -> int:
    warned = Counter("x-safelight-warning" in answer.headers for answer in answers)
    return warned[False]


def _remembered(live: Live) -> list[Remembered]:
    from safelight.records.database import open_database
    from safelight.records.queries import read_requests

    database = open_database(records_url(live.settings), migrate=False)
    try:
        return read_requests(database, 0.0, live.service.namespace)
    finally:
        database.close()

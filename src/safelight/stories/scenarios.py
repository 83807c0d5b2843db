"""The stories: each causes a fault, or replays one, and diagnoses it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from PIL import Image

from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, Spans, gather
from safelight.diagnosis.forecast import forecasts
from safelight.diagnosis.radar import radar
from safelight.diagnosis.report import Diagnosis
from safelight.models.demo.clutter import CLUTTER
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.records.config import records_url
from safelight.records.rows import AssessedRequest
from safelight.stories.compared import compare
from safelight.stories.conditions import Conditions
from safelight.stories.history import Simulation, scrapes, simulate, write_blocks
from safelight.stories.live import SPANS, Live, Notify, running_stack
from safelight.stories.outcome import Outcome, Scenario
from safelight.stories.replay import replay
from safelight.stories.wrong_model import wrong_model
from safelight.units import duration

_UNSEEN_SEED = 95_000_000  # the demo models were not trained on portraits from here on
_RATE, _HEALTHY_SECONDS, _FAULT_SECONDS = 1.0, 40.0, 40.0
_UPLOAD_SECONDS, _PIECES = 3.0, 20
_EDITS, _STEPS = 36, 8
_PAIRS = 150
_HOUR = 3600
_INSTRUCTIONS = ("make him old", "add sunglasses", "change the background to a beach")


def bottleneck(notify: Notify) -> Outcome:
    """Upload images quickly, then slowly. Latency rises while the device waits."""
    with running_stack(["demo-edit"], notify) as live:
        notify(f"{_HEALTHY_SECONDS:.0f} s of healthy traffic: one image every {1 / _RATE:.0f} s")
        began = time.monotonic()
        calm = asyncio.run(_trickle(live, _HEALTHY_SECONDS, upload_seconds=0))
        notify(f"{_FAULT_SECONDS:.0f} s of callers on a slow network")
        changed = time.monotonic()
        slow = asyncio.run(_trickle(live, _FAULT_SECONDS, upload_seconds=_UPLOAD_SECONDS))
        diagnosis = live.diagnose(_spans(changed - began, time.monotonic() - changed))
        waits = [sorted(each)[int(0.95 * (len(each) - 1))] for each in (calm, slow)]
        note = f"P95 of the callers' latency: {duration(waits[0])} before, {duration(waits[1])} now"
        return Outcome(diagnosis, (note,))


def leak(notify: Notify) -> Outcome:
    """Replay four hours of a GPU whose memory grows in steps, 200 MB per hour."""
    now = int(time.time()) // 60 * 60
    begin = now - 4 * _HOUR

    def conditions(_: int, at: float) -> Conditions:
        stairs = (at - begin) // 900  # one step every 15 minutes
        return Conditions(rate=0.5, vram_used=12.5e9 + 50e6 * stairs, vram_reserved=13.6e9)

    notify("replaying four hours of a simulated service with a simulated GPU of 16 GB")
    service = Service("instructpix2pix", "safelight")
    with TemporaryDirectory(prefix="safelight-story-") as folder:
        times = scrapes((begin, now + 1, 60))
        simulation = Simulation(service.namespace, service.job, conditions)
        write_blocks([simulate(simulation, times)], Path(folder))
        with replay(Path(folder)) as prometheus:
            evidence = gather(prometheus, service, now, Spans())
            ending = [each for each in forecasts(evidence) if each.ends]
            return Outcome(Diagnosis(evidence, judge(evidence)), forecasts=ending)


def background(notify: Notify) -> Outcome:
    """Edit portraits with calm and with busy backgrounds, which edits destroy more often."""
    sampled = {"SAFELIGHT_QUALITY_SAMPLE_RATIO": "1"}
    with running_stack(["demo-edit"], notify, environment=sampled) as live:
        notify(f"{_EDITS} painted portraits with calm backgrounds")
        began = time.monotonic()
        calm = _edit(live, busy=False)
        notify(f"{_EDITS} painted portraits with shelves, crowds and confetti behind them")
        changed = time.monotonic()
        busy = _edit(live, busy=True)
        advised = next((a for a in busy if "x-safelight-advice" in a.headers), None)
        notes = [
            f"{name}: {_kept(responses)} of {len(responses)} edits kept their input"
            for name, responses in (("calm backgrounds", calm), ("busy backgrounds", busy))
        ]
        if advised is not None:
            advice = advised.headers["x-safelight-advice"]
            notes.append(f"their callers receive the header X-Safelight-Advice: {advice}")
        diagnosis = live.diagnose(_spans(changed - began, time.monotonic() - changed))
        live.stack.stop()  # the service writes its last records when it stops
        return Outcome(diagnosis, notes, radar=radar(_records(live)))


def shadow_worse(notify: Notify) -> Outcome:
    """Compare 2 steps with 8: much faster, but worse."""
    notify("serving demo-edit (A), and beside it demo-edit with 2 steps instead of 8 (B)")
    notify("each edit is sent again to B after its answer, and every second one to A too")
    settings = {
        "SAFELIGHT_SHADOW": "demo-edit",
        "SAFELIGHT_SHADOW_STEPS": "2",
        "SAFELIGHT_SHADOW_RATIO": "1",
        "SAFELIGHT_SHADOW_SECONDS_PER_HOUR": "3600",
    }
    edits = (
        (
            {
                "instruction": _INSTRUCTIONS[number % len(_INSTRUCTIONS)],
                "seed": str(number),
                "steps": str(_STEPS),
            },
            portrait(_UNSEEN_SEED + number),
        )
        for number in count()
    )
    state = compare(settings, edits, notify, _PAIRS)
    note = (
        "B is faster, and its quality score alone would hardly show a loss. It keeps less of the "
        "input image: that is what the pairs prove."
    )
    return Outcome(None, (note,), comparison=state)


def _spans(before_seconds: float, now_seconds: float) -> Spans:
    """Return spans that compare two times of these lengths."""
    window, before = (max(30, round(each)) for each in (now_seconds, before_seconds))
    return replace(SPANS, window_seconds=window, before_seconds=before)


SCENARIOS = (
    Scenario("io-bottleneck", "P95 rises while the device waits for its input", bottleneck),
    Scenario("vram-leak", "GPU memory grows in steps, 200 MB per hour", leak),
    Scenario(
        "shadow-worse",
        "a faster second model keeps less of the image",
        shadow_worse,
        has_diagnosis=False,
    ),
    Scenario("bad-background", "edits fail on busy backgrounds; advice and radar", background),
    Scenario("wrong-model", "a model file is swapped; every request succeeds", wrong_model),
)


async def _trickle(live: Live, duration_seconds: float, upload_seconds: float) -> list[float]:
    """Send edits at a steady rate. Return the latency of each caller."""
    waits = []

    async def one(client: httpx.AsyncClient, number: int) -> None:
        await asyncio.sleep(number / _RATE)
        began = time.monotonic()
        parameters = {"instruction": "make him old", "steps": str(_STEPS), "seed": str(number)}
        body = slowly(portrait(_UNSEEN_SEED + number, None), upload_seconds)
        headers = {"content-type": "image/png"}
        await client.post("/api/edit", params=parameters, content=body, headers=headers)
        waits.append(time.monotonic() - began)

    async with httpx.AsyncClient(base_url=live.url, timeout=60) as client:
        await asyncio.gather(*(one(client, n) for n in range(int(_RATE * duration_seconds))))
    return waits


async def slowly(body: bytes, duration_seconds: float) -> AsyncIterator[bytes]:
    """Yield a body in pieces over some time, as on a slow network."""
    size = len(body) // _PIECES + 1
    for place in range(0, len(body), size):
        await asyncio.sleep(duration_seconds / _PIECES)
        yield body[place : place + size]


def _edit(live: Live, *, busy: bool) -> list[httpx.Response]:
    """Edit portraits one after the other, so that no request waits in the queue."""
    chance, responses = random.Random(int(busy)), []
    with httpx.Client(base_url=live.url, timeout=60) as client:
        for number in range(_EDITS):
            parameters = {
                "instruction": _INSTRUCTIONS[number % len(_INSTRUCTIONS)],
                "seed": str(number),
                "steps": str(_STEPS),
            }
            image = portrait(_UNSEEN_SEED + number, chance.choice(list(CLUTTER)) if busy else None)
            headers = {"content-type": "image/png"}
            responses.append(
                client.post("/api/edit", params=parameters, content=image, headers=headers)
            )
    return responses


def portrait(seed: int, behind: str | None = None) -> bytes:
    """Return a PNG of a painted portrait, in front of the named clutter."""
    image: Image.Image = paint(draw(seed), CLUTTER[behind] if behind else None)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _kept(responses: Sequence[httpx.Response]) -> int:
    return sum("x-safelight-warning" not in response.headers for response in responses)


def _records(live: Live) -> list[AssessedRequest]:
    from safelight.records.database import open_database
    from safelight.records.queries import read_requests

    database = open_database(records_url(live.settings), migrate=False)
    try:
        return read_requests(database, 0.0, live.service.namespace)
    finally:
        database.close()

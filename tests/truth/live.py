"""Live faults: real demos, real Prometheus, real harm; `python -m tests.truth.live`.

Each fault is done to one running stack for half a minute, after a calm time of its own. What a
diagnosis says every five seconds is held to what was done.
"""

import asyncio
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic

import httpx
import psutil

from safelight.diagnosis.finding import Severity
from safelight.models.demo.clutter import CLUTTER
from safelight.stories.live import SPANS, Live, running_stack
from safelight.stories.scenarios import portrait, slowly

CALM_SECONDS, FAULT_SECONDS, SCRAPE_SECONDS = 45.0, 40.0, 5.0
_RATE = 1.0
_SIZE = {"steps": "8"}


@dataclass(frozen=True)
class Callers:
    """How requests are sent: how many a second, which, and how fast their bodies come."""

    rate: float = _RATE
    asked: Callable[[int], dict[str, str]] = lambda _: {"instruction": "make him old"}
    picture: Callable[[int], bytes] = lambda number: portrait(96_000_000 + number)
    upload_seconds: float = 0.0


@dataclass(frozen=True)
class Fault:
    """Something done to a running stack: who calls then, and what else is done meanwhile."""

    name: str
    causes: tuple[str, ...]
    callers: Callers = field(default_factory=Callers)
    harm: Callable[[Live], "threading.Event | None"] | None = None


def _by_turns(number: int) -> dict[str, str]:
    return {"instruction": "make him old" if number % 2 else "add sunglasses"}


def _every_other_damaged(number: int) -> bytes:
    whole = portrait(96_000_000 + number)
    return whole if number % 2 else whole[: len(whole) // 2]


def _cluttered(number: int) -> bytes:
    return portrait(96_000_000 + number, random.Random(number).choice(list(CLUTTER)))


def _every(seconds: float, what: Callable[[], None]) -> threading.Event:
    stop = threading.Event()

    def again() -> None:
        while not stop.is_set():
            what()
            stop.wait(seconds)

    threading.Thread(target=again, daemon=True).start()
    return stop


def _workers(live: Live) -> list[psutil.Process]:
    api = psutil.Process(live.stack.pid(live.service.job))
    return [p for p in api.children(recursive=True) if "child" in " ".join(p.cmdline())]


def _kill_workers(live: Live) -> threading.Event:
    def kill() -> None:
        for process in _workers(live):
            process.kill()

    return _every(12.0, kill)


def _stop_service(live: Live) -> threading.Event:
    pid, stop = live.stack.pid(live.service.job), threading.Event()
    os.kill(pid, signal.SIGSTOP)

    def go_on() -> None:
        stop.wait()
        os.kill(pid, signal.SIGCONT)

    threading.Thread(target=go_on, daemon=True).start()
    return stop


FAULTS = (
    Fault("uploads over a slow line", ("slow_upload",), Callers(upload_seconds=3.0)),
    Fault(
        "guidance that is silently off",
        ("silent_guidance",),
        Callers(asked=lambda _: {"instruction": "make him old", "image_guidance_scale": "0.8"}),
    ),
    Fault(
        "sunglasses with damaged files",
        ("failing_instruction",),
        Callers(rate=2, asked=_by_turns, picture=_every_other_damaged),
    ),
    Fault(
        "crowded backgrounds",
        ("structure_corruption",),
        Callers(asked=lambda _: {"instruction": "add sunglasses"}, picture=_cluttered),
    ),
    Fault("eight times the callers", ("traffic_shift", "device_saturated"), Callers(rate=8)),
    Fault("workers that are killed", ("crash_loop",), Callers(), _kill_workers),
    Fault("a service that is stopped", ("monitoring_gap",), Callers(), _stop_service),
)


@dataclass(frozen=True)
class Outcome:
    fault: Fault
    first_said: float | None
    """Seconds from the fault's begin until its cause came first."""
    last: tuple[str, ...]
    calm: tuple[str, ...]
    """What was said of the calm time before it."""


def tried(live: Live, fault: Fault) -> Outcome:
    """Live through a calm time and a fault, and return what was said."""
    pause = threading.Event()
    with _calling(live, Callers()):
        pause.wait(CALM_SECONDS)
        calm = _said(live)
    harm = fault.harm(live) if fault.harm else None
    began = monotonic()
    first: float | None = None
    last: tuple[str, ...] = ()
    try:
        with _calling(live, fault.callers):
            while (since := monotonic() - began) < FAULT_SECONDS:
                pause.wait(SCRAPE_SECONDS)
                last = _said(live)
                if first is None and last[:1] and last[0] in fault.causes:
                    first = since + SCRAPE_SECONDS
    finally:
        if harm is not None:
            harm.set()
    return Outcome(fault, first, last, calm)


def _said(live: Live) -> tuple[str, ...]:
    spans = replace(SPANS, window_seconds=30, before_seconds=40)
    findings = live.diagnose(spans).findings
    return tuple(f.check.name for f in findings if f.sign.severity >= Severity.WARNING)


@contextmanager
def _calling(live: Live, callers: Callers) -> Iterator[None]:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(asyncio.run, _call(live, callers, stop))
        try:
            yield
        finally:
            stop.set()
            task.result()


async def _call(live: Live, callers: Callers, stop: threading.Event) -> None:
    loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    began, number = loop.time(), 0

    async def one(client: httpx.AsyncClient, number: int) -> None:
        body = slowly(callers.picture(number), callers.upload_seconds)
        told = {"content-type": "image/png", "x-request-timeout": "20"}
        try:
            await client.post(
                "/api/edit", params={**_SIZE, **callers.asked(number)}, content=body, headers=told
            )
        except httpx.HTTPError:
            return

    async with httpx.AsyncClient(base_url=live.url, timeout=8) as client:
        while not stop.is_set():
            task = asyncio.create_task(one(client, number))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number / callers.rate - loop.time()))
        for task in running:
            task.cancel()


def main() -> int:
    environment = {"SAFELIGHT_BREAKER_FAILURES": "1000"}
    with running_stack(["demo-edit"], print, environment) as live:
        outcomes = []
        for fault in FAULTS:
            outcome = tried(live, fault)
            outcomes.append(outcome)
            found = "missed" if outcome.first_said is None else f"{outcome.first_said:.0f} s"
            cells = (fault.name, " or ".join(fault.causes), found, ", ".join(outcome.last))
            print(
                f"| {' | '.join(cells)} | calm: {', '.join(outcome.calm) or 'well'} |", flush=True
            )
    return int(any(outcome.first_said is None for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())

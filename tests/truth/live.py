"""Live faults in a running demo with a real Prometheus: `python -m tests.truth.live`.

Each fault lasts about half a minute, after a healthy time. The stack is diagnosed every five
seconds, and the first finding is compared with the fault.
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

HEALTHY_SECONDS, FAULT_SECONDS, SCRAPE_SECONDS = 45.0, 40.0, 5.0
_RATE = 1.0
_SIZE = {"steps": "8"}


@dataclass(frozen=True)
class Callers:
    """How requests are sent: their rate, parameters, images and upload time."""

    rate: float = _RATE
    parameters: Callable[[int], dict[str, str]] = lambda _: {"instruction": "make him old"}
    image: Callable[[int], bytes] = lambda number: portrait(96_000_000 + number)
    upload_seconds: float = 0.0


@dataclass(frozen=True)
class Fault:
    """A fault in a running stack: its callers, and an action during it."""

    name: str
    causes: tuple[str, ...]
    callers: Callers = field(default_factory=Callers)
    action: Callable[[Live], "threading.Event | None"] | None = None


def _by_turns(number: int) -> dict[str, str]:
    return {"instruction": "make him old" if number % 2 else "add sunglasses"}


def _every_other_damaged(number: int) -> bytes:
    image = portrait(96_000_000 + number)
    return image if number % 2 else image[: len(image) // 2]


def _cluttered(number: int) -> bytes:
    return portrait(96_000_000 + number, random.Random(number).choice(list(CLUTTER)))


def _every(seconds: float, action: Callable[[], None]) -> threading.Event:
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            action()
            stop.wait(seconds)

    threading.Thread(target=repeat, daemon=True).start()
    return stop


def _workers(live: Live) -> list[psutil.Process]:
    api = psutil.Process(live.stack.pid(live.service.job))
    return [
        p for p in api.children(recursive=True) if "safelight.serving.worker.child" in p.cmdline()
    ]


def _kill_workers(live: Live) -> threading.Event:
    def kill() -> None:
        for process in _workers(live):
            process.kill()

    return _every(12.0, kill)


def _stop_service(live: Live) -> threading.Event:
    pid, stop = live.stack.pid(live.service.job), threading.Event()
    os.kill(pid, signal.SIGSTOP)

    def resume() -> None:
        stop.wait()
        os.kill(pid, signal.SIGCONT)

    threading.Thread(target=resume, daemon=True).start()
    return stop


FAULTS = (
    Fault("slow uploads", ("slow_upload",), Callers(upload_seconds=3.0)),
    Fault(
        "guidance that is ignored",
        ("silent_guidance",),
        Callers(
            parameters=lambda _: {"instruction": "make him old", "image_guidance_scale": "0.8"}
        ),
    ),
    Fault(
        "sunglasses with damaged files",
        ("failing_instruction",),
        Callers(rate=2, parameters=_by_turns, image=_every_other_damaged),
    ),
    Fault(
        "busy backgrounds",
        ("structure_corruption",),
        Callers(parameters=lambda _: {"instruction": "add sunglasses"}, image=_cluttered),
    ),
    Fault("eight times the callers", ("traffic_shift", "device_saturated"), Callers(rate=8)),
    Fault("killed workers", ("crash_loop",), Callers(), _kill_workers),
    Fault("a stopped service", ("monitoring_gap",), Callers(), _stop_service),
)


@dataclass(frozen=True)
class Outcome:
    fault: Fault
    first_found: float | None
    """Seconds from the fault's begin until its cause is the first finding."""
    last: tuple[str, ...]
    healthy: tuple[str, ...]
    """Warnings in the healthy time before it."""


def run_fault(live: Live, fault: Fault) -> Outcome:
    """Run a healthy time and a fault, and return the findings."""
    pause = threading.Event()
    with _calling(live, Callers()):
        pause.wait(HEALTHY_SECONDS)
        healthy = _warnings(live)
    stop = fault.action(live) if fault.action else None
    began = monotonic()
    first: float | None = None
    last: tuple[str, ...] = ()
    try:
        with _calling(live, fault.callers):
            while (elapsed := monotonic() - began) < FAULT_SECONDS:
                pause.wait(SCRAPE_SECONDS)
                last = _warnings(live)
                if first is None and last[:1] and last[0] in fault.causes:
                    first = elapsed + SCRAPE_SECONDS
    finally:
        if stop is not None:
            stop.set()
    return Outcome(fault, first, last, healthy)


def _warnings(live: Live) -> tuple[str, ...]:
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
        body = slowly(callers.image(number), callers.upload_seconds)
        headers = {"content-type": "image/png", "x-request-timeout": "20"}
        try:
            await client.post(
                "/api/edit",
                params={**_SIZE, **callers.parameters(number)},
                content=body,
                headers=headers,
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
            outcome = run_fault(live, fault)
            outcomes.append(outcome)
            found = "missed" if outcome.first_found is None else f"{outcome.first_found:.0f} s"
            cells = (fault.name, " or ".join(fault.causes), found, ", ".join(outcome.last))
            before = ", ".join(outcome.healthy) or "no warnings"
            print(f"| {' | '.join(cells)} | healthy time: {before} |", flush=True)
    return int(any(outcome.first_found is None for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())

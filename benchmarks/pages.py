"""Measure the console in Debian's Chromium, beside a real Prometheus: `python -m benchmarks.pages`.

A browser that has seen nothing opens it; ten and twenty-four viewers follow it. Prints each figure
beside its limit, and returns 1 if one is missed.
"""

import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.published import origin
from safelight.rules.uids import LIVE
from safelight.settings import program_environment
from safelight.stories.conditions import Conditions
from safelight.stories.history import Simulation, scrapes, simulate, write_blocks
from safelight.stories.replay import free_port, replay

_LIMITS = {
    "first page, s": 1.5,
    "interactive, s": 2.5,
    "panels drawn after the last answer, s": 1.0,
    "memory with 10 viewers, MB": 120.0,
    "CPU with 24 viewers, % of a core": 10.0,
}
_HOURS, _ROUNDS, _LEAST_PANELS = 4, 5, 14
_FOLLOWED_SECONDS, _READY_SECONDS = 60.0, 60.0
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# Notes when every panel shows something, in milliseconds since the navigation.
_WATCH = """
const look = () => {
  const panels = [...document.querySelectorAll(".panel .body")];
  const isDrawn = (body) => body.firstChild && body.textContent !== "…";
  const { dataset } = document.documentElement;
  if (panels.length >= LEAST && panels.every(isDrawn)) dataset.drawnAt = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run a console beside four hours of a simulated service; yield its address and process."""
    now = int(time.time()) // 60 * 60 + 600
    times = scrapes((now - _HOURS * 3600, now + 1, 60))
    healthy = Simulation("instructpix2pix", "safelight", lambda *_: Conditions(rate=0.8))
    write_blocks([simulate(healthy, times)], folder)
    port = free_port()
    command = [sys.executable, "-m", "safelight", "console", "--port", str(port)]
    with replay(folder) as prometheus:
        process = subprocess.Popen(
            [*command, "--prometheus", prometheus.url, "--state-folder", str(folder)],
            env=program_environment(),
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _until_ready(url)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _until_ready(url: str) -> None:
    end, pause = time.monotonic() + _READY_SECONDS, threading.Event()
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/healthz", timeout=2).is_success:
                return
        except httpx.HTTPError:
            pause.wait(0.1)
    raise TimeoutError(url)


@contextmanager
def _new_page(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 4000}, base_url=url)
    yield context.new_page()
    context.close()


def _first(browser: Browser, url: str) -> tuple[float, float]:
    """Return the seconds until a new browser paints Now, and until it shows the service."""
    with _new_page(browser, url) as page:
        page.goto("/")
        page.wait_for_selector(".stat >> nth=7")
        shown = page.evaluate("performance.now()")
        paints = "performance.getEntriesByType('paint').map((paint) => paint.startTime)"
        return max(page.evaluate(paints)) / 1000, shown / 1000


def _drawn(browser: Browser, url: str) -> float:
    """Return the seconds from the last answer to the last panel that is drawn."""
    with _new_page(browser, url) as page:
        page.add_init_script(_WATCH.replace("LEAST", str(_LEAST_PANELS)))
        page.goto(f"/dashboards/{LIVE}")
        page.wait_for_selector("html[data-drawn-at]", state="attached", timeout=60_000)
        drawn = float(page.evaluate("document.documentElement.dataset.drawnAt"))
        answers = (
            "performance.getEntriesByType('resource')"
            ".filter((each) => each.name.includes('/data/panel')).map((each) => each.responseEnd)"
        )
        return (drawn - max(end for end in page.evaluate(answers) if end <= drawn)) / 1000


def _followed(url: str, process: psutil.Process, viewers: int) -> tuple[float, float]:
    """Return the memory in MB and the CPU in % of a core, while so many viewers follow Now."""
    stop = threading.Event()

    def follow() -> None:
        with httpx.stream("GET", f"{url}/data/live", timeout=30) as answer:
            for _ in answer.iter_lines():
                if stop.is_set():
                    return

    threads = [threading.Thread(target=follow) for _ in range(viewers)]
    for thread in threads:
        thread.start()
    before, began = process.cpu_times(), time.monotonic()
    stop.wait(_FOLLOWED_SECONDS)
    after, seconds = process.cpu_times(), time.monotonic() - began
    memory = process.memory_full_info().pss / 1e6
    stop.set()
    for thread in threads:
        thread.join()
    spent = after.user + after.system - before.user - before.system
    return memory, 100 * spent / seconds


def measure(url: str, process: psutil.Process) -> dict[str, float]:
    """Return each figure: medians of five rounds, and one minute of viewers."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("Chromium is missing: scripts/setup installs it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        first = [_first(browser, url) for _ in range(_ROUNDS)]
        drawn = [_drawn(browser, url) for _ in range(_ROUNDS)]
        browser.close()
    memory, _ = _followed(url, process, 10)
    _, cpu = _followed(url, process, 24)
    painted, shown = (statistics.median(values) for values in zip(*first, strict=True))
    return dict(zip(_LIMITS, (painted, shown, statistics.median(drawn), memory, cpu), strict=True))


def main() -> int:
    """Measure and print."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        figures = measure(*stack.enter_context(serving(folder)))
    missed = 0
    for name, value in figures.items():
        is_met = value <= _LIMITS[name]
        missed += not is_met
        print(f"{'ok    ' if is_met else 'MISSED'} {name}: {value:.2f} (≤ {_LIMITS[name]:g})")
    print(origin())
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

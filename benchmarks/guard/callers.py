"""Measure what a shadow costs callers: `python -m benchmarks.guard.callers`.

Two services have the same model; beside one of them, a second model shares its device. In turns,
each gets the same random arrivals. Prints the ratio of the P99s with its upper 95 % bound.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from tempfile import TemporaryDirectory

import httpx

from benchmarks.guard.device import LOCK
from safelight.settings import program_environment
from safelight.stack.tools.samples import photo
from safelight.stories.replay import free_port

MODEL = "benchmarks.guard.device:waiting"
TARGET, BOUND = 1.02, 1.05
_ROUNDS, _SECONDS, _PER_SECOND, _STEPS = 32, 15.0, 3.2, 20
_READY_SECONDS = 60.0
_RESAMPLES = 2000


async def _round(url: str, seed: int) -> list[float]:
    """Return the latencies of random arrivals."""
    chance, waits = random.Random(seed), []
    picture = photo(64, 64)

    async def one(api: httpx.AsyncClient, at: float) -> None:
        await asyncio.sleep(at)
        began = time.perf_counter()
        query = {"instruction": "make him old", "steps": str(_STEPS), "seed": "1"}
        headers = {"content-type": "image/jpeg"}
        answer = await api.post("/api/edit", params=query, content=picture, headers=headers)
        answer.raise_for_status()
        waits.append(time.perf_counter() - began)

    at, arrivals = 0.0, list[float]()
    while (at := at + chance.expovariate(_PER_SECOND)) < _SECONDS:
        arrivals.append(at)
    async with httpx.AsyncClient(base_url=url, timeout=30) as api:
        await asyncio.gather(*(one(api, at) for at in arrivals))
    return waits


@contextmanager
def _serving(folder: Path, **settings: str) -> Iterator[str]:
    port = free_port()
    environment = program_environment(
        SAFELIGHT_RECORDS_URL="",
        SAFELIGHT_STATE_FOLDER=str(folder),
        SAFELIGHT_STRUCTURE_FLOOR="0",
        **{LOCK: str(folder / "device")},
        **settings,
    )
    command = [sys.executable, "-m", "safelight", "serve", MODEL, "--port", str(port)]
    process = Popen(command, env=environment, stdout=DEVNULL, stderr=DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _until_ready(url)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _until_ready(url: str) -> None:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise TimeoutError(url)


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return sorted(values)[int(0.99 * (len(values) - 1))]


def ratio(rounds: Sequence[tuple[list[float], list[float]]]) -> float:
    """Return the P99 with a shadow / the P99 without, over all rounds."""
    return p99([w for _, ws in rounds for w in ws]) / p99([w for ws, _ in rounds for w in ws])


def upper(rounds: Sequence[tuple[list[float], list[float]]]) -> float:
    """Return the upper 95 % bound of the ratio, by drawing rounds again (bootstrap)."""
    chance = random.Random(1)
    drawn = sorted(ratio(chance.choices(rounds, k=len(rounds))) for _ in range(_RESAMPLES))
    return drawn[int(0.95 * _RESAMPLES)]


def main(rounds: int = _ROUNDS) -> int:
    """Measure, print, and return 1 if the target is missed."""
    shadow = {"SAFELIGHT_SHADOW": MODEL, "SAFELIGHT_SHADOW_RATIO": "1"}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        folders = [Path(folder, name) for name in ("plain", "shadow")]
        for each in folders:
            each.mkdir()
        plain = stack.enter_context(_serving(folders[0]))
        shadowed = stack.enter_context(_serving(folders[1], **shadow))
        found = []
        for number in range(-1, rounds):
            urls = (plain, shadowed) if number % 2 else (shadowed, plain)
            waits = {url: asyncio.run(_round(url, number)) for url in urls}
            if number >= 0:  # the first round warms up
                found.append((waits[plain], waits[shadowed]))
        copies = httpx.get(f"{shadowed}/v1/shadow", timeout=5).json()["copies"]
    value, bound = ratio(found), upper(found)
    requests = sum(len(ws) for _, ws in found)
    is_met = value <= TARGET and bound <= BOUND
    print(
        f"{'ok    ' if is_met else 'MISSED'} P99 of callers with a shadow / without: {value:.3f} "
        f"(≤ {TARGET}), upper 95 % bound {bound:.3f} (≤ {BOUND}); "
        f"{requests} requests each in {rounds} rounds; copies: {copies}"
    )
    return int(not is_met)


if __name__ == "__main__":
    sys.exit(main())

"""Measure the start time and the memory of the API process of `safelight serve`."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from statistics import median

import psutil

from benchmarks.measurements import Measurement, rounds
from safelight.stories.replay import free_port

_ROUNDS = 5


def measure() -> Iterator[Measurement]:
    """Yield the seconds until `/healthz` succeeds, and the memory after the model is loaded."""
    starts = [_start() for _ in range(rounds(_ROUNDS))]
    yield Measurement(
        "API process ready, before its model", median(ready for ready, _ in starts), "s", 1.5
    )
    yield Measurement("API process, resident", median(rss for _, rss in starts) / 1e6, "MB", 100)


def _start() -> tuple[float, float]:
    port = free_port()
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "safelight", "serve", "--port", str(port)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        _await(f"http://127.0.0.1:{port}/healthz")
        ready = time.perf_counter() - started
        _await(f"http://127.0.0.1:{port}/readyz")
        return ready, psutil.Process(child.pid).memory_info().rss
    finally:
        child.terminate()
        child.wait(30)


def _await(url: str) -> None:
    for _ in range(6000):
        try:
            with urllib.request.urlopen(url, timeout=1) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.01)
    raise TimeoutError(f"{url} did not respond.")

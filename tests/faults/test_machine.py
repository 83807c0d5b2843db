"""The machine's own mishaps: a stop with a full queue, a full disk, a clock that jumps."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest

from safelight.metrics.catalog import LOG_LINES_LOST, QUEUE_DEPTH
from safelight.settings import program_environment
from tests.faults.conftest import QUICK, Answer, Victim, ask, survived, told
from tests.serving.conftest import answers, free_port, until
from tests.serving.running import PAINTER, client, edit, with_engine


def test_a_stop_with_a_full_queue_answers_everybody(own: Callable[..., Any]) -> None:
    with own(grace_seconds="4", queue_limit="64", batch_limit="2") as service:
        victim = Victim(service)

        async def scenario(speaking: httpx.AsyncClient) -> list[Answer]:
            sent = [
                asyncio.create_task(ask(speaking, "slowly", steps=25, guidance_scale=2 + n / 100))
                for n in range(40)
            ]
            assert await asyncio.to_thread(until, lambda: victim.value(QUEUE_DEPTH) >= 30, 10)
            os.kill(service.pid, signal.SIGTERM)
            return list(await asyncio.gather(*sent))

        told_ = victim.run(scenario, 20)
        assert set(told_) == {(200, "none"), (503, "stopping")}
        assert told_.count((200, "none")) >= 2
        assert until(lambda: not _alive(service.pid), 6)
    # `serving` holds that it ended with exit code 0.
    survived("SIGTERM with a full queue", told(told_), "exit 0 within the grace time")


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's device that is always full")
def test_a_full_disk_costs_log_lines_and_no_request() -> None:
    port = free_port()
    environment = program_environment(
        **{f"SAFELIGHT_{name.upper()}": value for name, value in QUICK.items()}
    )
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "safelight", "serve", PAINTER, "--port", str(port)],
            env=environment,
            stdout=full,
            stderr=full,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        assert until(lambda: answers(f"{url}/readyz"), 30)
        from tests.serving.conftest import RealService

        with httpx.Client(base_url=url, timeout=20) as speaking:
            victim = Victim(RealService(url, process.pid, speaking))

            async def scenario(many: httpx.AsyncClient) -> list[Answer]:
                return [await ask(many) for _ in range(20)]

            found = victim.run(scenario, 20)
            assert found == [(200, "none")] * 20
            assert victim.service.value(LOG_LINES_LOST.name) >= 20
            victim.settles()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, 120)  # Python says 120 where its last flush failed
    survived("a full disk under the log", told(found), "lost lines are counted")


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_jumps_moves_no_deadline(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Answer] = []

    async def scenario(service: Any) -> None:
        async with client(service) as speaking:
            sent = [asyncio.create_task(edit(speaking, "slowly", steps=10)) for _ in range(8)]
            await asyncio.sleep(0.05)
            true = time.time
            monkeypatch.setattr(time, "time", lambda: true() + jump)
            found.extend((answer.status_code, "none") for answer in await asyncio.gather(*sent))

    with_engine(scenario)
    assert found == [(200, "none")] * 8
    day = "forward" if jump > 0 else "back"
    survived(f"the clock jumps a day {day}", told(found), "deadlines are monotonic")

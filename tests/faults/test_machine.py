"""Faults of the machine: a stop with a full queue, a full disk, a clock that jumps."""

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
from safelight.stories.replay import free_port
from tests.faults.conftest import QUICK, Outcome, Victim, counted, record, send_edit
from tests.serving.conftest import answers, until
from tests.serving.running import PAINTER, client, edit, with_engine


def test_a_stop_with_a_full_queue_answers_every_request(own: Callable[..., Any]) -> None:
    with own(grace_seconds="4", queue_limit="64", batch_limit="2") as service:
        victim = Victim(service)

        async def scenario(http: httpx.AsyncClient) -> list[Outcome]:
            sent = [
                asyncio.create_task(send_edit(http, "slowly", steps=25, guidance_scale=2 + n / 100))
                for n in range(40)
            ]
            assert await asyncio.to_thread(until, lambda: victim.value(QUEUE_DEPTH) >= 30, 10)
            os.kill(service.pid, signal.SIGTERM)
            return list(await asyncio.gather(*sent))

        outcomes = victim.run(scenario, 20)
        assert set(outcomes) == {(200, "none"), (503, "stopping")}
        assert outcomes.count((200, "none")) >= 2
        assert until(lambda: not _alive(service.pid), 6)
    # `serving` checks that it ends with exit code 0.
    record("SIGTERM with a full queue", counted(outcomes), "exit 0 within the grace period")


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's device that is always full")
def test_a_full_disk_loses_log_lines_and_no_request() -> None:
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

        with httpx.Client(base_url=url, timeout=20) as http:
            victim = Victim(RealService(url, process.pid, http))

            async def scenario(many: httpx.AsyncClient) -> list[Outcome]:
                return [await send_edit(many) for _ in range(20)]

            outcomes = victim.run(scenario, 20)
            assert outcomes == [(200, "none")] * 20
            assert victim.service.value(LOG_LINES_LOST.name) >= 20
            victim.settles()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, 120)  # Python returns 120 if its last flush fails
    record("a full disk for the log", counted(outcomes), "lost lines are counted")


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_jump_does_not_change_deadlines(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Outcome] = []

    async def scenario(service: Any) -> None:
        async with client(service) as http:
            sent = [asyncio.create_task(edit(http, "slowly", steps=10)) for _ in range(8)]
            await asyncio.sleep(0.05)
            true = time.time
            monkeypatch.setattr(time, "time", lambda: true() + jump)
            responses = await asyncio.gather(*sent)
            outcomes.extend((response.status_code, "none") for response in responses)

    with_engine(scenario)
    assert outcomes == [(200, "none")] * 8
    direction = "forward" if jump > 0 else "back"
    record(f"the clock jumps a day {direction}", counted(outcomes), "deadlines are monotonic")

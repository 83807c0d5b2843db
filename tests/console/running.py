"""Run the real console beside what it shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from safelight.stories.replay import free_port
from tests.cli.running import started
from tests.stack.waiting import eventually


@contextmanager
def console(folder: Path, *options: str) -> Iterator[str]:
    """Run `safelight console` until the end of the block, and return its address."""
    port = free_port()
    if "--state-folder" not in options:
        options = (*options, "--state-folder", str(folder / "state"))
    with started(folder, "console", *options, "--port", str(port)) as command:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _is_up(url), within=60, what="the console answers")
        yield url
        assert "Traceback" not in command.err


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).is_success
    except httpx.HTTPError:
        return False

"""Serve a demo beside a second model, send edits one after another, and return the comparison."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import httpx
import msgspec

from safelight.errors import ServiceFailed
from safelight.models.extras import require
from safelight.stack.programs import Program, Running
from safelight.stories.replay import free_port

_HOST = "127.0.0.1"
_READY_SECONDS, _POLL_SECONDS, _GRACE_SECONDS = 120.0, 0.1, 10.0
_PAIR_SECONDS = 30.0
_REPORT_EVERY = 10  # pairs
Notify = Callable[[str], None]


class Progress(msgspec.Struct):
    """What the story reads of `GET /v1/shadow`."""

    state: str
    problem: str
    pairs: int
    verdict: str
    ended: str


def compare(
    settings: Mapping[str, str],
    edits: Iterator[tuple[Mapping[str, str], bytes]],
    notify: Notify,
    limit: int,
) -> dict[str, object]:
    """Serve demo-edit with a second model, and send edits until the comparison is decided.

    Raises MissingExtra, or ServiceFailed if the service or its second model does not start.
    """
    require("models")
    with (
        TemporaryDirectory(prefix="safelight-story-") as folder,
        _serving(Path(folder), settings) as url,
        httpx.Client(base_url=url, timeout=60) as api,
    ):
        _until(lambda: _ready(api), _READY_SECONDS, "The second model was not loaded")
        for _ in range(limit):
            before = _progress(api)
            if before.ended:
                break
            query, image = next(edits)
            _send(api, query, image)
            _until(partial(_has_more, api, before), _PAIR_SECONDS, "A copy was not compared")
            _tell(_progress(api), before, notify)
        state: dict[str, object] = api.get("/v1/shadow").json()
        return state


def _send(api: httpx.Client, query: Mapping[str, str], image: bytes) -> None:
    headers = {"content-type": "image/png"}
    api.post("/api/edit", params=query, content=image, headers=headers).raise_for_status()


def _tell(now: Progress, before: Progress, notify: Notify) -> None:
    if now.pairs // _REPORT_EVERY > before.pairs // _REPORT_EVERY or now.verdict != before.verdict:
        notify(f"{now.pairs} pairs: {now.verdict}")


def _progress(api: httpx.Client) -> Progress:
    answer = api.get("/v1/shadow")
    if answer.is_error:
        raise ServiceFailed(f"The service has no comparison: HTTP {answer.status_code}.")
    return msgspec.json.decode(answer.content, type=Progress)


def _ready(api: httpx.Client) -> bool:
    now = _progress(api)
    if now.problem:
        raise ServiceFailed(f"The second model does not run: {now.problem}")
    return now.state == "ready"


def _has_more(api: httpx.Client, before: Progress) -> bool:
    now = _progress(api)
    return now.pairs > before.pairs or bool(now.ended)


def _until(condition: Callable[[], bool], seconds: float, failure: str) -> None:
    """Wait until a condition holds. Raises ServiceFailed."""
    pause = Event()
    for _ in range(int(seconds / _POLL_SECONDS)):
        if condition():
            return
        pause.wait(_POLL_SECONDS)
    raise ServiceFailed(f"{failure} within {seconds:g} s.")


@contextmanager
def _serving(folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    command = (sys.executable, "-m", "safelight", "serve", "demo-edit", "--port", str(port))
    environment = {"SAFELIGHT_RECORDS_URL": "", "SAFELIGHT_STATE_FOLDER": str(folder), **settings}
    program = Program("service", command, _HOST, port, "/readyz", "a demo", environment)
    running = Running(program, folder)
    try:
        _until(lambda: _is_up(running), _READY_SECONDS, "The service was not ready")
        yield program.url
    finally:
        running.stop(_GRACE_SECONDS)


def _is_up(running: Running) -> bool:
    if running.ended is not None:
        raise running.failure()
    return running.is_ready()

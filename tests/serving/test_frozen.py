"""One upload must not freeze the API for other callers, with a real server."""

import threading
from collections.abc import Callable
from time import perf_counter

import httpx
import pytest

from tests.attacks import uploads as attacks
from tests.serving.conftest import RealService

MOST_SECONDS = 0.7  # of one health check on a busy machine; before: 0.6 to 10 s
JSON, PNG, JPEG = "application/json", "image/png", "image/jpeg"
UPLOADS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "fill bytes": (JPEG, attacks.jpeg_of_fill_bytes),
    "empty segments": (JPEG, attacks.jpeg_of_empty_segments),
    "many scans": (JPEG, lambda: attacks.jpeg_of_many_scans(60_000)),
    "private chunks": (PNG, attacks.png_of_private_chunks),
    "many values": (JSON, attacks.json_of_many_values),
    "many names": (JSON, attacks.json_of_many_names),
}


@pytest.mark.parametrize(("kind", "make"), UPLOADS.values(), ids=UPLOADS)
def test_an_upload_freezes_no_other_caller(
    kind: str, make: Callable[[], bytes], service: RealService
) -> None:
    body, done, slowest = make(), threading.Event(), 0.0

    def attack() -> None:
        with httpx.Client(base_url=service.url, timeout=60) as client:
            for _ in range(3):
                params = {"instruction": "make him old"}
                headers = {"content-type": kind}
                answer = client.post("/api/edit", params=params, content=body, headers=headers)
                assert 400 <= answer.status_code < 500, answer.text
        done.set()

    thread = threading.Thread(target=attack)
    thread.start()
    with httpx.Client(base_url=service.url, timeout=60) as watcher:
        while thread.is_alive():
            started = perf_counter()
            assert watcher.get("/healthz").status_code == 200
            slowest = max(slowest, perf_counter() - started)
            done.wait(0.01)
    assert done.is_set(), "the attack was answered"
    assert slowest < MOST_SECONDS

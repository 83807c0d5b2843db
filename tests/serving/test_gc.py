"""The garbage collector leaves alone what start-up made; large bodies leave no memory behind."""

import gc
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest
import uvicorn

from safelight.serving.app import Service
from safelight.serving.gc import freeze_startup_objects
from safelight.settings import Settings
from safelight.stories.replay import free_port


class Knot:
    """What only the collector can free: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Give the collector back what a test took from it."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_frozen_objects_are_not_collected() -> None:
    stands = [Knot() for _ in range(1000)]
    freeze_startup_objects()
    assert gc.get_freeze_count() > 1000
    assert not any(isinstance(each, Knot) for each in gc.get_objects())
    assert len(stands) == 1000


def test_later_garbage_is_still_freed() -> None:
    freeze_startup_objects()
    knot = Knot()
    gone = weakref.ref(knot)
    del knot
    gc.collect()
    assert gone() is None


def test_the_objects_of_32_requests_start_no_collection() -> None:
    freeze_startup_objects()
    collections = gc.get_stats()[0]["collections"]
    requests: list[list[list[int]]] = [[[] for _ in range(100)] for _ in range(32)]
    assert len(requests) == 32
    assert gc.get_stats()[0]["collections"] == collections


def test_earlier_garbage_is_freed_first() -> None:
    gone = weakref.ref(Knot())
    freeze_startup_objects()
    assert gone() is None


def test_a_service_freezes_its_startup_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []

    def run(_server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        frozen.append(gc.get_freeze_count())
        for listener in sockets:
            listener.close()

    monkeypatch.setattr(uvicorn.Server, "run", run)
    Service(Settings(model="tests.serving.models:painter", port=free_port())).run()
    assert frozen > [1000]


MEMORY = """
import sys
import psutil
from safelight.serving.gc import return_large_blocks
if sys.argv[1] == "returns":
    return_large_blocks()
before = psutil.Process().memory_info().rss
first = bytearray(b"x" * 20_000_000)
del first
bodies, small = [], []
for _ in range(10):
    bodies.append(bytearray(b"x" * 10_000_000))
    small.append(bytearray(b"x" * 300_000))  # lies between two bodies
bodies.clear()
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.parametrize(("kind", "least", "most"), [("keeps", 20e6, 1e9), ("returns", 0, 10e6)])
def test_large_bodies_are_returned_to_the_system_once_they_are_freed(
    kind: str, least: float, most: float
) -> None:
    output = subprocess.check_output([sys.executable, "-c", MEMORY, kind], text=True)
    assert least <= float(output) <= most

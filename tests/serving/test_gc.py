"""The garbage collector leaves alone what start-up made."""

import gc
import socket
import weakref
from collections.abc import Iterator

import pytest
import uvicorn

from safelight.serving.app import Service
from safelight.serving.gc import freeze_startup_objects
from safelight.settings import Settings
from tests.serving.conftest import free_port


class Knot:
    """What only the collector can free: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Give the collector back what a test took from it."""
    yield
    gc.unfreeze()


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

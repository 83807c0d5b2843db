"""Under `safelight up`, the console asks it to reload Prometheus by a signal."""

import json
import os
import signal
from collections.abc import Iterator
from itertools import count
from threading import Event

import pytest

from safelight.console.reloading import reload_by_signal
from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import MonitoringFailed
from safelight.stack.services import RELOAD_SIGNAL
from tests.console.acting import answering, say

EARLIER, LATER = "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[signal.Signals]]:
    """Return the signals that this process gets: it plays `safelight up`."""
    received: list[signal.Signals] = []
    before = signal.signal(RELOAD_SIGNAL, lambda number, _: received.append(signal.Signals(number)))
    monkeypatch.setattr(os, "getppid", os.getpid)
    yield received
    signal.signal(RELOAD_SIGNAL, before)


def reload(*answers: tuple[str, bool], parent: int | None = None) -> None:
    """Reload a Prometheus that answers so, one answer after the other and the last one always."""
    rest = list(answers)

    def answer() -> bytes:
        at, is_good = rest.pop(0) if len(rest) > 1 else rest[0]
        info = {"lastConfigTime": at, "reloadConfigSuccess": is_good}
        return json.dumps({"status": "success", "data": info}).encode()

    clock = count()
    with answering(lambda handler: say(handler, 200, answer())) as url, Prometheus(url) as client:
        own = os.getpid() if parent is None else parent
        reload_by_signal(client, own, lambda: next(clock), lambda _: Event().wait(0))


def test_it_waits_until_prometheus_has_read_its_files(signals: list[signal.Signals]) -> None:
    reload((EARLIER, True), (EARLIER, True), (LATER, True))
    assert signals == [RELOAD_SIGNAL]


def test_files_that_prometheus_refuses_are_an_error(signals: list[signal.Signals]) -> None:
    with pytest.raises(MonitoringFailed, match="refused its new files"):
        reload((EARLIER, True), (EARLIER, False))
    assert signals == [RELOAD_SIGNAL]


def test_a_parent_that_does_nothing_is_an_error_after_a_while(
    signals: list[signal.Signals],
) -> None:
    with pytest.raises(MonitoringFailed, match="did not reload Prometheus within 15 s"):
        reload((EARLIER, True))
    assert signals == [RELOAD_SIGNAL]


def test_a_process_that_did_not_start_the_console_gets_no_signal(
    signals: list[signal.Signals],
) -> None:
    with pytest.raises(MonitoringFailed, match="has ended"):
        reload((EARLIER, True), (LATER, True), parent=1)
    assert signals == []


def test_a_failure_before_counts_only_if_it_lasts(signals: list[signal.Signals]) -> None:
    reload((EARLIER, False), (EARLIER, False), (LATER, True))
    assert signals == [RELOAD_SIGNAL]

"""An Alertmanager whose answers are of no use. The real one is in `test_firing.py`."""

import httpx
import pytest

from safelight.console.alertmanager import Alertmanager
from safelight.errors import InvalidParameter, MonitoringFailed


def manager(status: int, text: str) -> Alertmanager:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=text))
    return Alertmanager("http://127.0.0.1:9093", transport=transport)


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (200, "<html>", "does not match"),
        (200, "[{}]", "does not match"),
        (200, "null", "does not match"),
        (404, "no such page", "answered 404"),
        (500, "broken", "answered 500"),
    ],
)
def test_a_useless_answer_is_said(status: int, text: str, says: str) -> None:
    for ask in (manager(status, text).alerts, manager(status, text).silences):
        with pytest.raises(MonitoringFailed, match=says):
            ask()


@pytest.mark.parametrize("status", [404, 500])
def test_a_silence_that_is_gone_is_said_whatever_the_release_answers(status: int) -> None:
    with pytest.raises(InvalidParameter, match="has ended"):
        manager(status, '"silence not found"').end("0b7a2f6e")

"""Sessions of the console, with a clock that the test turns."""

import pytest

from safelight.console.sessions import ANYONE, Sessions
from safelight.errors import Forbidden, Unauthorized
from safelight.serving.http.keys import Key, Keys, hashed
from tests.reading import FakeClock

HOUR = 3600.0
ANNA = Key("anna", hashed("sl-anna"), frozenset({"view"}))
SENDER = Key("sender", hashed("sl-sender"), frozenset({"infer"}))


def test_a_session_ends_after_twelve_hours_without_a_request() -> None:
    clock = FakeClock()
    sessions = Sessions(Keys(lambda: (ANNA,)), clock)
    token = sessions.begin("sl-anna")
    for _ in range(3):
        clock.now += 11 * HOUR
        assert sessions.find(token).name == "anna"
    clock.now += 12 * HOUR + 1
    with pytest.raises(Unauthorized):
        sessions.find(token)


def test_a_session_ends_when_its_key_is_removed() -> None:
    valid = [ANNA]
    sessions = Sessions(Keys(lambda: tuple(valid)))
    token = sessions.begin("sl-anna")
    valid.clear()
    with pytest.raises(Unauthorized):
        sessions.find(token)


@pytest.mark.parametrize(
    ("key", "error"), [("sl-nobody", Unauthorized), ("", Unauthorized), ("sl-sender", Forbidden)]
)
def test_only_a_key_that_may_look_begins_a_session(key: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Sessions(Keys(lambda: (ANNA, SENDER))).begin(key)


def test_the_oldest_of_more_than_a_thousand_sessions_ends() -> None:
    sessions = Sessions(Keys(lambda: (ANNA,)))
    first, *others = [sessions.begin("sl-anna") for _ in range(1001)]
    assert sessions.find(others[0]).name == "anna"
    with pytest.raises(Unauthorized):
        sessions.find(first)


def test_without_keys_everyone_may_do_everything() -> None:
    assert Sessions(None).find("") is ANYONE
    ANYONE.require("operate")

"""One caller's work leaves places for others."""

import pytest

from safelight.errors import Overloaded
from safelight.serving.http.shares import Shares


def test_a_caller_has_its_share_and_others_have_theirs() -> None:
    shares = Shares(2, "streams of events")
    with shares.held("greedy"), shares.held("greedy"):
        with pytest.raises(Overloaded, match="2 streams of events"):
            shares.check("greedy")
        shares.check("modest")
    shares.check("greedy")
    assert not shares._numbers

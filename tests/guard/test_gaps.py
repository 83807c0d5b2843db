"""The gaps between requests."""

from safelight.guard.gaps import Gaps


def arriving(*times: float) -> Gaps:
    gaps = Gaps()
    for now in times:
        gaps.arrived(now)
    return gaps


def test_work_is_short_beside_long_gaps_and_long_beside_short_ones() -> None:
    gaps = arriving(*range(20))
    assert gaps.usual == 1.0
    assert gaps.is_short(0.1)
    assert not gaps.is_short(0.11)


def test_without_a_gap_nothing_is_known_to_be_long() -> None:
    assert arriving().is_short(10.0)
    assert arriving(5.0).is_short(10.0)


def test_the_mean_follows_a_load_that_grows() -> None:
    gaps = arriving(*(10.0 * n for n in range(20)))
    for n in range(100):
        gaps.arrived(190.0 + n / 10)
    assert gaps.usual is not None
    assert gaps.usual < 0.2


def test_a_clock_that_jumps_back_makes_no_negative_gap() -> None:
    assert arriving(10.0, 5.0).usual == 0.0

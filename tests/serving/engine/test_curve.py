"""What a batch costs, as learned."""

import random
from itertools import pairwise

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from safelight.serving.engine.curve import (
    _FORGET,
    _KEY_LIMIT,
    _RETRY_AFTER,
    _RETRY_AFTER_LIMIT,
    Curve,
    Curves,
)

SECONDS = st.floats(0.01, 10)


def line(a: float, b: float, sizes: tuple[int, ...] = (1, 2, 4, 8, 16)) -> Curve:
    """Return a curve that has seen a + b·n, without any noise."""
    curve = Curve()
    for n in sizes:
        curve.add(n, a + b * n)
    return curve


# ── Learning a and b ─────────────────────────────────────────────────────────────────────────────


def test_a_curve_that_saw_nothing_predicts_nothing() -> None:
    curve = Curve()

    assert curve.coefficients() == (0, 0)
    assert curve.seconds(5) == 0
    assert curve.speedup(5) == 1


@given(a=SECONDS, b=SECONDS)
def test_an_exact_line_is_learned_exactly(a: float, b: float) -> None:
    assert line(a, b).coefficients() == pytest.approx((a, b), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_and_b_are_found_in_noisy_times(seed: int) -> None:
    chance, curve = random.Random(seed), Curve()
    for _ in range(400):
        n = chance.choice((1, 2, 4, 8))
        curve.add(n, (0.5 + 0.2 * n) * chance.uniform(0.95, 1.05))

    assert curve.coefficients() == pytest.approx((0.5, 0.2), rel=0.15)
    assert curve.seconds(4) == pytest.approx(1.3, rel=0.03)


@given(st.lists(st.tuples(st.integers(1, 32), SECONDS), min_size=2, max_size=40))
def test_it_is_the_least_squares_of_numpy(seen: list[tuple[int, float]]) -> None:
    sizes, times = (numpy.array(column, dtype=float) for column in zip(*seen, strict=True))
    assume(len(set(sizes)) > 1)
    ages = numpy.arange(len(seen))[::-1]
    slope, start = numpy.polyfit(sizes, times, 1, w=_FORGET ** (ages / 2))  # w multiplies errors
    assume(slope > 0.001)
    assume(start > 0.001)

    curve = Curve()
    for n, seconds in seen:
        curve.add(n, seconds)

    assert curve.coefficients() == pytest.approx((start, slope), rel=1e-5)


@given(st.lists(st.tuples(st.integers(1, 32), SECONDS), min_size=1, max_size=20))
def test_neither_a_nor_b_falls_below_zero_and_the_mean_is_kept(
    seen: list[tuple[int, float]],
) -> None:
    curve = Curve()
    for n, seconds in seen:
        curve.add(n, seconds)
    weights = [_FORGET**age for age in reversed(range(len(seen)))]
    mean_n, mean_t = (numpy.average(column, weights=weights) for column in zip(*seen, strict=True))

    a, b = curve.coefficients()

    assert a >= -1e-9
    assert b >= 0
    assert a + b * mean_n == pytest.approx(mean_t)


def test_times_that_fall_with_the_size_are_a_cost_of_the_batch_alone() -> None:
    curve = Curve()
    curve.add(1, 3.0)
    curve.add(4, 1.0)

    a, b = curve.coefficients()

    assert b == 0
    assert 1 < a < 3


def test_times_that_rise_faster_than_the_size_are_a_cost_of_each_image_alone() -> None:
    curve = Curve()
    curve.add(1, 1.0)
    curve.add(4, 16.0)

    a, b = curve.coefficients()

    assert a == pytest.approx(0, abs=1e-9)
    assert b > 1


def test_one_size_alone_is_all_ascribed_to_its_images() -> None:
    curve = line(1, 1, sizes=(4, 4, 4))

    assert curve.coefficients() == pytest.approx((0, 1.25))
    assert curve.seconds(4) == pytest.approx(5)


# ── Forgetting ───────────────────────────────────────────────────────────────────────────────────


def test_a_device_that_slows_down_is_noticed() -> None:
    curve = line(1, 1, sizes=(1, 2, 4, 8) * 50)

    for n in (1, 2, 4, 8) * 25:
        curve.add(n, 2 * (1 + n))

    assert curve.seconds(4) == pytest.approx(10, rel=0.05)


def test_one_slow_batch_changes_little() -> None:
    curve = line(1, 1, sizes=(1, 2, 4, 8) * 50)

    curve.add(4, 10.0)

    assert curve.seconds(4) == pytest.approx(5, rel=0.05)


# ── How many at once ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("a", "b", "cap"), [(1, 1, 16), (10, 1, 128), (1, 10, 1), (1, 4, 4), (0, 1, 1)]
)
def test_doubling_stops_once_it_gains_less_than_a_twentieth(a: float, b: float, cap: int) -> None:
    assert line(a, b, sizes=(1, 2, 512)).cap(1024) == cap


@given(a=SECONDS, b=SECONDS, most=st.integers(1, 300))
def test_every_doubling_below_the_cap_paid_and_the_next_would_not(
    a: float, b: float, most: int
) -> None:
    cap = line(a, b, sizes=(1, 2, 512)).cap(most)
    smaller = [2**power for power in range(9) if 2**power < cap]

    def gain(n: int) -> float:
        return 2 * (a + b * n) / (a + b * 2 * n)

    assert 1 <= cap <= most
    assert all(gain(n) > 1.0499 for n in smaller)
    assert cap == most or gain(cap) < 1.0501


def test_where_an_image_more_costs_nothing_the_batch_is_as_large_as_allowed() -> None:
    assert line(1, 0, sizes=(1, 2, 50)).cap(77) == 77


def test_growth_is_tried_by_doubling_and_no_further() -> None:
    curve, caps = Curve(), []
    for _ in range(6):
        cap = curve.cap(20)
        caps.append(cap)
        curve.add(1, 10 + 0.01)
        curve.add(cap, 10 + 0.01 * cap)

    assert caps == [2, 4, 8, 16, 20, 20]


def test_after_one_image_a_batch_of_two_is_tried() -> None:
    assert line(1, 1, sizes=(1, 1, 1)).cap(16) == 2


@pytest.mark.parametrize("most", [1, 0])
def test_where_no_batch_is_allowed_one_is_made_at_a_time(most: int) -> None:
    assert line(10, 1).cap(most) == 1


def test_a_size_that_did_not_fit_is_not_used_at_first() -> None:
    curve = line(10, 1)
    assert curve.cap(16) == 16

    curve.lower(6)
    assert curve.cap(16) == 6
    assert curve.cap(4) == 4

    curve.lower(9)
    assert curve.cap(16) == 6

    curve.lower(0)
    assert curve.cap(16) == 1


def served(curve: Curve, most: int, fits: int, batches: int) -> list[int]:
    """Have a device serve batches as large as the curve says; those above `fits` are split."""
    failed = []
    for batch in range(batches):
        n = curve.cap(most)
        if n > fits:
            failed.append(batch)
            curve.lower(n // 2)
            n //= 2
        curve.add(n, 10 + 0.01 * n)
    return failed


def test_after_one_failure_twice_the_size_is_tried_again_and_kept_if_it_fits() -> None:
    curve = line(10, 0.01)
    curve.lower(4)

    assert served(curve, 32, 32, _RETRY_AFTER) == []
    assert curve.cap(32) == 8  # now it is tried
    curve.add(8, 10.08)
    assert curve.cap(32) == 8
    served(curve, 32, 32, 3 * _RETRY_AFTER)
    assert curve.cap(32) == 32


def test_each_try_that_fails_makes_the_next_one_wait_twice_as_long() -> None:
    curve = line(10, 0.01)
    failed = served(curve, 16, 8, 20 * _RETRY_AFTER)

    waits = [later - sooner for sooner, later in pairwise(failed)]
    assert waits == [_RETRY_AFTER * 2**n for n in range(len(waits))]
    assert len(waits) >= 3
    assert curve.limit == 8


def test_tries_cost_at_most_a_few_batches_in_many_thousands() -> None:
    failed = served(line(10, 0.01), 16, 8, 10 * _RETRY_AFTER_LIMIT)

    assert len(failed) <= 20
    assert failed[-1] > 8 * _RETRY_AFTER_LIMIT  # and they never stop


def test_a_second_batch_of_the_old_size_is_no_failed_try() -> None:
    curve = line(10, 0.01)
    for _ in range(3):  # they were sent before the first of them failed
        curve.lower(4)
    assert served(curve, 32, 32, _RETRY_AFTER) == []
    assert curve.cap(32) == 8


def test_a_batch_that_is_split_twice_lowers_the_limit_twice() -> None:
    curve = line(10, 0.01)
    curve.lower(8)
    curve.lower(4)
    assert curve.cap(32) == 4


def test_the_speedup_is_against_one_at_a_time() -> None:
    curve = line(1, 1)

    assert curve.speedup(1) == pytest.approx(1)
    assert curve.speedup(4) == pytest.approx(4 * 2 / 5)


# ── All kinds ────────────────────────────────────────────────────────────────────────────────────


def test_before_the_first_job_everything_is_predicted_to_cost_nothing() -> None:
    assert Curves().seconds("key", 5, 100.0, 8) == 0


@pytest.mark.parametrize("number", [0, -1])
def test_no_jobs_cost_nothing(number: int) -> None:
    curves = Curves()
    curves.learn("key", 1, 2.0, 100.0)

    assert curves.seconds("key", number, 100.0, 8) == 0
    assert curves.seconds("other", number, 100.0, 8) == 0


def test_the_cost_of_an_unknown_key_is_estimated_from_its_units() -> None:
    curves = Curves()
    curves.learn("small", 2, 4.0, 100.0)

    assert curves.seconds("large", 3, 400.0, 8) == pytest.approx(3 * 400 * 0.02)


def test_asking_for_a_curve_is_not_learning_its_cost() -> None:
    curves = Curves()
    curves.learn("small", 1, 2.0, 100.0)
    curves.lower("large", 4)

    assert curves.seconds("large", 1, 400.0, 8) == pytest.approx(8)


def test_the_cost_of_a_unit_follows_all_kinds() -> None:
    curves = Curves()
    for _ in range(30):
        curves.learn("a", 1, 100.0, 100.0)
    curves.learn("b", 1, 200.0, 100.0)

    assert 100 < curves.seconds("new", 1, 100.0, 8) < 110


def test_tiny_jobs_with_a_fixed_cost_do_not_make_large_ones_look_slow() -> None:
    curves = Curves()
    curves.learn("usual", 1, 2.0, 2e7)
    for number in range(1000):
        curves.learn(("tiny", number % 2), 1, 0.05, 1e3 * (1 + number % 2))
    assert curves.seconds("large", 1, 4e7, 8) < 10  # by the cost of a tiny unit: 1 000 seconds


def test_many_jobs_cost_as_many_batches_as_they_fill() -> None:
    curves = Curves()
    for n in (1, 2, 4):
        curves.learn("key", n, 10.0 + n, 100.0)

    assert curves.seconds("key", 9, 100.0, 4) == pytest.approx(3 * 10 + 9)
    assert curves.seconds("key", 8, 100.0, 4) == pytest.approx(2 * 10 + 8)
    assert curves.seconds("key", 8, 100.0, 1) == pytest.approx(8 * 10 + 8)


def test_each_kind_has_a_curve_of_its_own() -> None:
    curves = Curves()
    curves.learn("a", 1, 1.0, 100.0)
    curves.learn("b", 1, 5.0, 100.0)

    assert curves.of("a") is curves.of("a")
    assert curves.seconds("a", 1, 100.0, 8) == pytest.approx(1)
    assert curves.seconds("b", 1, 100.0, 8) == pytest.approx(5)


def test_the_kinds_least_used_are_forgotten() -> None:
    curves = Curves()
    for key in range(_KEY_LIMIT):
        curves.learn(key, 2, 1.0, 1.0)
    curves.learn(0, 2, 1.0, 1.0)

    for asked in range(100):
        curves.of(f"only asked about {asked}")
    assert curves.of(1).largest == 2
    curves.learn("one more", 2, 1.0, 1.0)

    assert curves.of(0).largest == 2
    assert curves.of(2).largest == 2
    assert curves.of(1).largest == 0


def test_light_load_keeps_the_learned_gain_of_batches() -> None:
    curve = Curve()
    for n in (1, 2, 4, 8):
        for _ in range(10):
            curve.add(n, 1 + 0.1 * n)
    for _ in range(1000):
        curve.add(1, 1.1)
    assert curve.cap(16) == 16
    assert curve.seconds(8) == pytest.approx(1.8, rel=0.05)


def test_full_load_does_not_unlearn_it_either() -> None:
    curve = Curve()
    for n in (1, 2, 4, 8):
        for _ in range(10):
            curve.add(n, 1 + 0.1 * n)
    for _ in range(1000):
        curve.add(8, 1.8)
    assert curve.cap(8) == 8


def test_a_slow_first_batch_is_not_believed_for_ever() -> None:
    curve = Curve()
    curve.add(2, 10.0)  # compiled while it ran
    caps = []
    for _ in range(100):
        cap = curve.cap(16)
        curve.add(cap, 1 + 0.1 * cap)
        caps.append(curve.cap(16))
    assert caps[-1] >= 8


def test_the_bound_of_an_unknown_key_is_estimated_from_its_units() -> None:
    curves = Curves()
    curves.learn("small", 1, 0.01, 1.0)
    before = curves.max_seconds("large", lambda: 6400.0)
    curves.of("large")

    assert before == curves.max_seconds("large", lambda: 6400.0) == pytest.approx(64)


def test_doubt_rises_fast_and_falls_slowly() -> None:
    curve = line(1.0, 0.1)
    assert curve.doubt == pytest.approx(0)
    for _ in range(5):
        curve.add(8, 1.8 * 1.5)
        curve.add(8, 1.8)
    assert 0.2 < curve.doubt < 0.6


# ── What is no line ───────────────────────────────────────────────────────────

# Without a server the tagger labels 2 673, 5 653 and 4 113 images per second in such batches.
TAGGER = {1: 1 / 2673, 8: 8 / 5653, 32: 32 / 4113}


def tagger(rounds: int, jitter: float = 0.0, seed: int = 1) -> Curve:
    """Return a curve that has seen the tagger's batches so often."""
    chance, curve = random.Random(seed), Curve()
    for _ in range(rounds):
        for n, seconds in TAGGER.items():
            curve.add(n, seconds * chance.uniform(1 - jitter, 1 + jitter))
    return curve


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3])
def test_the_limit_is_8_where_batches_of_32_are_slower_per_image(jitter: float, seed: int) -> None:
    curve, caps = tagger(10, jitter, seed), []
    chance = random.Random(seed)
    for _ in range(40):
        n = curve.cap(32) if chance.random() < 0.7 else 1
        n = min(TAGGER, key=lambda size: abs(size - n))
        curve.add(n, TAGGER[n] * chance.uniform(1 - jitter, 1 + jitter))
        caps.append(curve.cap(32))

    assert sorted(caps)[len(caps) // 2] == 8
    assert max(caps) <= 16  # now and then twice as many are tried, never four times


def test_each_size_is_predicted_as_it_was_measured() -> None:
    curve = tagger(10)

    for n, seconds in TAGGER.items():
        assert curve.seconds(n) == pytest.approx(seconds, rel=0.05)
    assert curve.seconds(8) / 8 < curve.seconds(16) / 16 < curve.seconds(32) / 32 * 1.05
    assert curve.speedup(8) > curve.speedup(32)


def test_a_worker_is_told_a_cost_that_is_right_for_one_and_for_a_full_batch() -> None:
    curve = tagger(10)
    a, b = curve.chord(8)

    assert a + b == pytest.approx(curve.seconds(1))
    assert a + 8 * b == pytest.approx(curve.seconds(8))
    assert sum(curve.chord(1)) == pytest.approx(curve.seconds(1))
    assert Curve().chord(1) == Curve().chord(8) == (0, 0)


@given(st.lists(st.tuples(st.integers(1, 32), SECONDS), max_size=20), st.integers(1, 32))
def test_no_part_of_a_cost_is_ever_negative(seen: list[tuple[int, float]], cap: int) -> None:
    curve = Curve()
    for n, seconds in seen:
        curve.add(n, seconds)

    assert all(curve.seconds(n) >= 0 for n in (1, cap, 2 * cap))
    assert min(curve.chord(cap)) >= -1e-9


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_no_deviation(seed: int) -> None:
    chance, curve = random.Random(seed), Curve()
    for _ in range(100):
        n = chance.choice((1, 2, 4, 8))
        curve.add(n, (1 + 0.1 * n) * chance.uniform(0.7, 1.3))

    for n in (1, 2, 4, 8):
        assert curve.seconds(n) == pytest.approx(1 + 0.1 * n, rel=0.2)


def test_a_deviation_that_is_not_seen_any_more_is_forgotten() -> None:
    curve = tagger(10)
    for _ in range(300):
        curve.add(8, 1.0)
        curve.add(1, 0.2)

    a, b = curve.coefficients()
    assert curve.seconds(32) == pytest.approx(a + 32 * b)

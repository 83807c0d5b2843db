"""Owners differ and are sticky: what one of them had with A explains what it has with B."""

import random

import pytest

from benchmarks.guard.comparing import of_few_owners
from benchmarks.guard.few_owners import Second, rolled
from safelight.guard.arms import Arm
from safelight.guard.blame import Blame, expected, hard_share
from safelight.guard.owners import CLUSTERS, Sample, between, cluster_of, likeness, slot_of, within
from safelight.guard.rollout import Plan, Rollout
from safelight.guard.sequential import ANYWHERE, Moments, merged

SEEDS = 200


def moments(*values: float) -> Moments:
    found = Moments()
    for value in values:
        found.add(value)
    return found


def sample(chance: random.Random, owners: int, spread: float, start: int = 0) -> Sample:
    arm = Arm()
    for owner in range(start, start + owners):
        middle = chance.gauss(0, spread)
        for _ in range(20):
            arm.measure("latency", chance.gauss(middle, 0.1), owner)
    return arm.sample("latency")


def test_an_equal_b_is_seldom_rolled_back_and_a_bad_one_soon_with_20_different_owners() -> None:
    figures = of_few_owners(SEEDS)
    assert all(figure.is_met for figure in figures), "\n".join(map(str, figures))


@pytest.mark.parametrize("earlier", [0, 50])
def test_an_equal_b_is_seldom_rolled_back_whatever_is_known_of_the_owners(earlier: int) -> None:
    ends = [rolled(Second(), seed, earlier=earlier, requests=200) for seed in range(SEEDS)]
    assert sum(end.status == "rolled_back" for end in ends) <= 0.01 * SEEDS


@pytest.mark.parametrize(("earlier", "most"), [(0, 10), (50, 6)])
def test_a_broken_b_is_found_within_ten_requests_of_it(earlier: int, most: int) -> None:
    ends = [rolled(Second(fails=1.0), seed, earlier=earlier) for seed in range(SEEDS)]
    served = [end for end in ends if end.b.n]
    assert len(served) > 0.95 * SEEDS
    assert all(end.status == "rolled_back" and end.b.n <= most for end in served)


def test_one_hard_owner_is_not_the_fault_of_b() -> None:
    chance, rollout = random.Random(1), Rollout(Plan("b", steps=(100,)))
    for _ in range(40):
        rollout.before.add(ok=chance.random() > 0.5, seconds_per_unit=1.0, owner=cluster_of("x"))
    for _ in range(100):
        rollout.add_second("x", ok=chance.random() > 0.5, seconds_per_unit=1.0)
        assert rollout.fault() is None


def test_a_change_that_all_owners_of_a_had_too_is_not_the_fault_of_b() -> None:
    chance, rollout = random.Random(1), Rollout(Plan("b", steps=(50,)))
    owners = [f"owner-{number}" for number in range(40)]
    for owner in owners * 20:
        seconds = chance.lognormvariate(0, 0.1)
        rollout.before.add(ok=True, seconds_per_unit=seconds, owner=cluster_of(owner))
    for owner in owners * 20:
        seconds = 1.3 * chance.lognormvariate(0, 0.1)
        add = rollout.add_second if rollout.serves(owner, "") else rollout.add_first
        add(owner, ok=True, seconds_per_unit=seconds)
    assert rollout.fault() is None


def test_all_owners_of_a_cluster_get_b_at_the_same_step() -> None:
    rollout = Rollout(Plan("b", steps=tuple(range(1, 101))))
    owners = [f"owner-{number}" for number in range(5000)]
    for place in (0, 4, 32, 98):
        rollout.place = place
        by_cluster: dict[int | None, set[bool]] = {}
        for owner in owners:
            by_cluster.setdefault(cluster_of(owner), set()).add(rollout.serves(owner, ""))
        assert all(len(answers) == 1 for answers in by_cluster.values())


def test_clusters_are_bounded_and_a_request_without_an_owner_has_none() -> None:
    found = {cluster_of(f"owner-{number}") for number in range(20_000)}
    assert found == set(range(CLUSTERS))
    assert cluster_of("") is None
    assert 0 <= slot_of("\ud800") < 10_000


def test_owners_who_differ_widen_the_interval_and_owners_who_do_not_leave_it() -> None:
    chance = random.Random(2)
    alike = [sample(chance, 20, 0.0), sample(chance, 20, 0.0, 100)]
    differing = [sample(chance, 20, 0.5), sample(chance, 20, 0.5, 100)]
    assert likeness(*alike) < 0.05
    assert likeness(*differing) > 0.8
    narrow = between(alike[0], alike[1], 0.05, grain=0.01)
    wide = between(differing[0], differing[1], 0.05, grain=0.01)
    assert wide.high - wide.low > 10 * (narrow.high - narrow.low)


def test_too_few_owners_prove_nothing_about_others() -> None:
    chance = random.Random(3)
    assert between(sample(chance, 20, 0.1), sample(chance, 7, 0.1), 0.05, grain=0.0) == ANYWHERE


def test_an_owner_is_compared_with_its_own_record() -> None:
    records = {1: moments(*[1.0, 1.2] * 10), 2: moments(*[5.0, 5.2] * 10), 3: moments(9.0)}
    found = within(records, {1: moments(*[1.5, 1.7] * 10), 3: moments(0.0)})
    assert found is not None
    assert found.mean == pytest.approx(0.5)
    assert found.values == 20  # owner 3 has no record yet
    assert found.interval(0.01, grain=0.01).above(0.2)
    assert within(records, {7: moments(1.0)}) is None


def test_what_is_expected_of_an_owner_follows_its_record() -> None:
    rates = [
        expected(record, 0.01, 0.1)
        for record in (moments(*[0.0] * 50), Moments(), moments(1.0), moments(*[1.0, 0.0] * 10))
    ]
    assert rates == pytest.approx(sorted(rates))
    assert rates[0] < 0.02
    assert rates[-1] > 0.4
    assert expected(moments(*[1.0] * 50), 0.01, 0.1) == 0.5  # an input that only B fails


def test_more_hard_owners_make_an_unknown_one_more_likely_to_be_hard() -> None:
    easy, hard = moments(*[0.0] * 20), moments(*[0.0, 1.0] * 10)
    assert hard_share([easy] * 20) < hard_share([]) < hard_share([hard] * 10 + [easy] * 10)


def test_failures_that_are_expected_are_no_evidence() -> None:
    blame = Blame()
    for _ in range(100):
        blame.add(ok=False, rate=0.99)
    assert not blame.proven
    for _ in range(3):
        blame.add(ok=False, rate=0.01)
    assert blame.proven


def test_moments_of_two_sets_together_are_those_of_all_values() -> None:
    chance = random.Random(4)
    values = [chance.gauss(3, 2) for _ in range(50)]
    whole, parts = moments(*values), merged(moments(*values[:20]), moments(*values[20:]))
    assert parts.n == whole.n
    assert parts.mean == pytest.approx(whole.mean)
    assert parts.squares == pytest.approx(whole.squares)
    assert merged(Moments(), Moments()) == Moments()


def test_an_old_record_fades() -> None:
    arm = Arm()
    for number in range(100):
        arm.add(ok=number % 4 > 0, seconds_per_unit=2.0, owner=number % 2)
    arm.add(ok=True, seconds_per_unit=2.0, owner=9)
    arm.fade()
    assert (arm.n, arm.failures) == (50, 12)
    assert set(arm.owners["latency"]) == {0, 1}
    assert arm.owners["latency"][1].n == 25


def test_a_state_with_clusters_that_do_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="clusters"):
        Arm(owners={"latency": {CLUSTERS: Moments()}})

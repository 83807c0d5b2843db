"""Requests that people and the quality score judge differently are found."""

from dataclasses import replace

from safelight.diagnosis.disagreement import disagreements, distribution
from safelight.records.rows import AssessedRequest


def a_request(number: int, rating: int | None, score: float | None) -> AssessedRequest:
    kind = "make_him_old" if number % 2 else "add_object"
    own = AssessedRequest(f"r{number}", float(number), "tests", kind, "none", 200, 1.0)
    return replace(own, score=score, rating=rating)


AGREEING = [a_request(n, 1 + n // 2, 0.1 * n) for n in range(10)]


def test_requests_that_are_judged_alike_are_not_listed() -> None:
    assert disagreements(AGREEING) == []


def test_one_that_people_like_and_the_score_does_not_comes_first() -> None:
    liked, disliked = a_request(20, 5, -1.0), a_request(21, 1, 0.85)
    found = disagreements([*AGREEING, disliked, liked])
    assert [(each.request_id, each.gap > 0) for each in found] == [("r20", True), ("r21", False)]


def test_without_both_judgements_a_request_says_nothing() -> None:
    alone = [a_request(30, 5, None), a_request(31, None, 0.0), a_request(32, 1, None)]
    assert disagreements([*AGREEING, *alone]) == []


def test_a_few_requests_prove_nothing() -> None:
    assert disagreements([a_request(1, 5, 0.0), a_request(2, 1, 1.0)]) == []


def test_the_list_is_bounded() -> None:
    opposite = [a_request(n, 1 + 4 * (n % 2), 1.0 - n % 2) for n in range(100)]
    assert len(disagreements(opposite)) == 12


def test_ratings_are_counted_for_each_type_the_most_rated_first() -> None:
    rated = [a_request(1, 5, None), a_request(3, 5, None), a_request(5, 1, None)]
    found = distribution([*rated, a_request(2, 3, None), a_request(4, None, 0.5)])
    assert list(found.items()) == [
        ("make_him_old", (1, 0, 0, 0, 2)),
        ("add_object", (0, 0, 1, 0, 0)),
    ]

"""Requests as the records remember them, made up."""

import random
from typing import Any

from safelight.records.rows import Remembered


def a_request(number: int = 0, **changed: Any) -> Remembered:
    told: dict[str, Any] = {
        "namespace": "tests",
        "instruction_type": "make_him_old",
        "error": "none",
        "status_code": 200,
        "service_seconds": 1.0,
        "steps": 20,
        "width": 512,
        "height": 512,
        "precision": "float16",
        **changed,
    }
    return Remembered(request_id=str(number), at=float(number), **told)


def many(count: int, **changed: Any) -> list[Remembered]:
    return [a_request(number, **changed) for number in range(count)]


def noisy(count: int, seed: int, *, mean: float, spread: float, **changed: Any) -> list[Remembered]:
    """Return requests whose scores scatter about a mean, within 0 and 1."""
    chance = random.Random(seed)
    scores = (min(1.0, max(0.0, chance.gauss(mean, spread))) for _ in range(count))
    return [a_request(number, score=score, **changed) for number, score in enumerate(scores)]

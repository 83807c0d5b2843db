"""Invented requests as the records return them."""

import random
from typing import Any

from safelight.records.rows import AssessedRequest


def a_request(number: int = 0, **changes: Any) -> AssessedRequest:
    fields: dict[str, Any] = {
        "namespace": "tests",
        "instruction_type": "make_him_old",
        "error": "none",
        "status_code": 200,
        "service_seconds": 1.0,
        "steps": 20,
        "width": 512,
        "height": 512,
        "precision": "float16",
        **changes,
    }
    return AssessedRequest(request_id=str(number), at=float(number), **fields)


def many(count: int, **changes: Any) -> list[AssessedRequest]:
    return [a_request(number, **changes) for number in range(count)]


def noisy(
    count: int, seed: int, *, mean: float, spread: float, **changes: Any
) -> list[AssessedRequest]:
    """Return requests with normally distributed scores, cut to 0 to 1."""
    generator = random.Random(seed)
    scores = (min(1.0, max(0.0, generator.gauss(mean, spread))) for _ in range(count))
    return [a_request(number, score=score, **changes) for number, score in enumerate(scores)]

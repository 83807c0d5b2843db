"""Jobs as a worker has them when they are ready for its model."""

from typing import Any

from safelight.serving.worker.choice import Prepared
from safelight.telemetry.timeline import Timeline


def ready(job_id: str = "job", **more: Any) -> Prepared:
    """Return a job of normal priority that has a hundred seconds left at 0 and costs nothing."""
    asked: dict[str, Any] = {
        "key": "key",
        "rank": 1,
        "number": 1,
        "due": 100.0,
        "cap": 8,
        "cost": (0.0, 0.0),
        "alone": False,
        "size": (64, 64),
        **more,
    }
    return Prepared(id=job_id, timeline=Timeline(), **asked)


def ids(jobs: list[Prepared]) -> list[str]:
    return [job.id for job in jobs]

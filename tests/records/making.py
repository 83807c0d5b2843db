"""Records, assessments and stores for tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from safelight.metrics.catalog import RECORDS
from safelight.metrics.registry import Meter, parse
from safelight.records.config import Limits, Plan
from safelight.records.database import Database, open_database
from safelight.records.rows import Origin
from safelight.records.store import Store
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.record import PipelineCall, Record

ORIGIN = Origin("tests", "demo-edit")
NOW = 1_800_000_000.0
MADE: list[Store] = []  # closed after each test
OWNER, PROMPT = "anna", "make him look like a secret"


@dataclass
class FakeClock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def a_call(**changed: Any) -> PipelineCall:
    told: dict[str, Any] = {
        "pipeline": "Pix",
        "instruction_type": "make_him_old",
        "precision": "float16",
        "step_seconds": (0.1, 0.1),
        "steps_asked": 2,
        "guidance_asked": 7.5,
        "guidance_in_force": 7.5,
        "image_guidance_asked": 0.5,
        "image_guidance_in_force": 1.0,
        "overridden": ("image_guidance_scale",),
        "negative_prompt": True,
        "images": ((64, 48),),
        **changed,
    }
    return PipelineCall(**told)


def a_record(request_id: str = "one", **changed: Any) -> Record:
    told: dict[str, Any] = {
        "endpoint": "/api/edit",
        "status_code": 200,
        "error": "none",
        "instruction_type": "make_him_old",
        "seconds": 1.5,
        "stages": {"queue": 0.5, "denoise": 1.0},
        "queued": True,
        "calls": (a_call(),),
        "seed": 7,
        "trace_id": "ab" * 16,
        "background_entropy": 5.5,
        "prompt": PROMPT,
        "owner": OWNER,
        **changed,
    }
    return Record(id=request_id, **told)


def an_assessment(request_id: str = "one", **changed: Any) -> Assessment:
    told: dict[str, Any] = {"instruction_type": "make_him_old", "score": 0.75, **changed}
    return Assessment(request_id=request_id, **told)


def a_store(
    url: str,
    clock: Callable[[], float] | None = None,
    *,
    limits: Limits | None = None,
    samples: bool = False,
    most: int = 10_000,
    origin: Origin = ORIGIN,
) -> tuple[Store, Meter]:
    """Return a store that nobody has started: a test calls `step` itself."""
    meter = Meter("tests")
    plan = Plan(url, origin, limits or Limits(), samples=samples, most=most)
    store = Store(plan, meter, clock=clock or FakeClock())
    MADE.append(store)
    return store, meter


def counted(meter: Meter, outcome: str) -> float:
    """Return how many entries were written, or lost."""
    samples = parse(meter.expose().body.decode())
    return samples.get((RECORDS.name, frozenset({("outcome", outcome)})), 0.0)


def rows(url: str, table: str, columns: str = "*") -> list[Any]:
    """Return what stands in a table."""
    with opened(url) as database, database.engine.connect() as connection:
        asked = f"SELECT {columns} FROM safelight_{table} ORDER BY at, request_id"
        return [row._mapping for row in connection.exec_driver_sql(asked)]


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open a database until the block ends."""
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()

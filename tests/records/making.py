"""Records, assessments and stores for tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from safelight.metrics.catalog import RECORDS
from safelight.metrics.registry import Meter, parse
from safelight.records.config import Limits, StoreConfig
from safelight.records.database import Database, open_database
from safelight.records.rows import Origin, Rating
from safelight.records.store import Store
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.counterpart import Counterpart
from safelight.telemetry.record import Facts, PipelineCall, Record
from tests.telemetry.making import changed

ORIGIN = Origin("tests", "demo-edit")
NOW = 1_800_000_000.0
OPEN_STORES: list[Store] = []  # closed after each test
OWNER, PROMPT = "anna", "make him look like a secret"


@dataclass
class FakeClock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def a_call(**changes: Any) -> PipelineCall:
    values: dict[str, Any] = {
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
        **changes,
    }
    return PipelineCall(**values)


def a_record(request_id: str = "one", **changes: Any) -> Record:
    facts = Facts(
        id=request_id,
        instruction_type="make_him_old",
        queued=True,
        calls=(a_call(),),
        seed=7,
        background_entropy=5.5,
        prompt=PROMPT,
        owner=OWNER,
    )
    record = Record(
        facts,
        endpoint="/api/edit",
        status_code=200,
        error="none",
        seconds=1.5,
        stages={"queue": 0.5, "denoise": 1.0},
        trace_id="ab" * 16,
    )
    return changed(record, **changes)


def an_assessment(request_id: str = "one", **changes: Any) -> Assessment:
    values: dict[str, Any] = {"instruction_type": "make_him_old", "score": 0.75, **changes}
    return Assessment(request_id=request_id, **values)


def a_counterpart(request_id: str = "one", **changes: Any) -> Counterpart:
    values: dict[str, Any] = {"model": "demo-two", "measures": {"latency": 1.5, "score": -0.25}}
    return Counterpart(request_id, **{**values, **changes})


def a_store(
    url: str,
    clock: Callable[[], float] | None = None,
    *,
    timer: Callable[[], float] | None = None,
    limits: Limits | None = None,
    samples: bool = False,
    capacity: int = 10_000,
    origin: Origin = ORIGIN,
) -> tuple[Store, Meter]:
    """Return a store without its thread: the test calls `step`."""
    meter = Meter("tests")
    config = StoreConfig(url, origin, limits or Limits(), samples=samples, capacity=capacity)
    clock = clock or FakeClock()
    store = Store(config, meter, clock=clock, timer=timer or clock)
    OPEN_STORES.append(store)
    return store, meter


def counted(meter: Meter, outcome: str) -> float:
    """Return the number of entries with this outcome."""
    samples = parse(meter.expose().body.decode())
    return samples.get((RECORDS.name, frozenset({("outcome", outcome)})), 0.0)


def rows(url: str, table: str, columns: str = "*") -> list[Any]:
    """Return the rows of a table."""
    with opened(url) as database, database.engine.connect() as connection:
        query = f"SELECT {columns} FROM safelight_{table} ORDER BY at, request_id"
        return [row._mapping for row in connection.exec_driver_sql(query)]


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open a database until the block ends."""
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()


def fill(url: str, count: int = 30) -> None:
    """Write requests with every kind of value, assessments, ratings and samples."""
    store, _ = a_store(url, FakeClock(), samples=True, origin=Origin("tests", "m", True))
    for number in range(count):
        name = f"request-{number}"
        plain: dict[str, Any] = {} if number % 3 else {"calls": (), "seed": 2**62, "prompt": "老 ✓"}
        store.write(a_record(name, **plain))
        store.assess(
            an_assessment(name, before=bytes(range(256)), after=b"\0\xff", score=number / 7)
        )
        store.rate(Rating(name, "make_him_old", 1 + number % 5, "slow"))
        store.compare(a_counterpart(name, image=b"\xff\0"))
        store.step()
    store.close()

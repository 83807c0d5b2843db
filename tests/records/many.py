"""A hundred thousand records, written by the records' own writer."""

from safelight.errors import StructureCorruption
from safelight.reasons import NO_ERROR
from safelight.records.database import Batch, Database
from safelight.records.rows import Rating, assessment_row, rating_row, request_row
from tests.records.making import NOW, ORIGIN, a_call, a_record, an_assessment

TYPES = ("make_him_old", "change_background", "add_object", "change_style")
MANY, PER_BATCH = 100_000, 5_000


def request_id(number: int) -> str:
    return f"r{number:06}"


def write_many(database: Database, count: int = MANY, last: float = NOW) -> None:
    """Write requests one second apart, the last one at a time; every tenth of a type fails."""
    for begin in range(0, count, PER_BATCH):
        batch = Batch()
        for number in range(begin, min(begin + PER_BATCH, count)):
            _add(batch, number, last - (count - 1 - number))
        database.write(batch, 20)


def _add(batch: Batch, number: int, at: float) -> None:
    name, kind = request_id(number), TYPES[number % len(TYPES)]
    failed = number % 10 == 0
    record = a_record(
        name,
        instruction_type=kind,
        status_code=503 if failed else 200,
        error="timeout" if failed else NO_ERROR,
        seconds=1 + number % 30 / 10,
        seed=number,
        calls=(a_call(overridden=(), images=((512, 512 if number % 2 else 384),)),),
    )
    batch.requests.append(request_row(record, at, ORIGIN, "salt"))
    if number % 3 == 0:
        error = StructureCorruption.reason if number % 33 == 0 else NO_ERROR
        assessment = an_assessment(name, instruction_type=kind, error=error)
        batch.assessments.append(assessment_row(assessment, at))
    if number % 50 == 0:
        batch.ratings.append(rating_row(Rating(name, kind, 1 + number // 50 % 5, "none"), at))

"""What a transaction that writes keeps: the newest samples, and pairs whose record is there."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, select, update

from safelight.records.rows import Row
from safelight.records.schema import REQUESTS, SAMPLES

_ADD_SECOND = (
    update(SAMPLES).where(SAMPLES.c.request_id == bindparam("of")).values(second=bindparam("image"))
)


def of_records(connection: Connection, pairs: Sequence[Row]) -> list[Row]:
    """Return the pairs whose record is there: a deleted one never comes back in parts."""
    if not pairs:
        return []
    key = REQUESTS.c.request_id
    query = select(key).where(key.in_([pair["request_id"] for pair in pairs]))
    kept = set(connection.execute(query).scalars())
    return [pair for pair in pairs if pair["request_id"] in kept]


def keep_newest(connection: Connection, kind: str, limit: int, *, failed: bool) -> None:
    """Delete the older samples of an instruction type and outcome."""
    matches = (SAMPLES.c.instruction_type == kind, SAMPLES.c.failed == failed)
    newest = select(SAMPLES.c.request_id).where(*matches).order_by(SAMPLES.c.at.desc()).limit(limit)
    connection.execute(
        delete(SAMPLES).where(*matches, SAMPLES.c.request_id.not_in(newest.scalar_subquery()))
    )


def add_seconds(connection: Connection, rows: Sequence[Row]) -> None:
    """Add images of a second model to samples; of a sample that is not kept, nothing is."""
    if rows:
        connection.execute(_ADD_SECOND, rows)

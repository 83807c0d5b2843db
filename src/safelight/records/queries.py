"""Read requests from the records, joined with their assessments and ratings."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, select

from safelight.records.database import Database
from safelight.records.rows import AssessedRequest, Row, check_text
from safelight.records.schema import ASSESSMENTS, RATINGS, REQUESTS

MAX_ROWS = 200_000
_ROWS_PER_FETCH = 2000


def read_requests(
    database: Database, since: float = 0.0, namespace: str | None = None, limit: int = MAX_ROWS
) -> list[AssessedRequest]:
    """Return at most `limit` requests since a Unix time, newest first. Raises InvalidParameter."""
    names = {field.name for field in fields(AssessedRequest)}
    query = _joined(
        *(column for column in REQUESTS.c if column.name in names),
        (REQUESTS.c.seconds - REQUESTS.c.queue_seconds).label("service_seconds"),
        ASSESSMENTS.c.error.label("found_error"),
        ASSESSMENTS.c.score,
        ASSESSMENTS.c.structure,
        ASSESSMENTS.c.adherence,
        RATINGS.c.rating,
        since=since,
        namespace=namespace,
    )
    with database.engine.connect() as connection:
        rows = connection.execute(query.order_by(REQUESTS.c.at.desc()).limit(limit)).mappings()
        return [AssessedRequest(**row) for row in rows]


def export_rows(
    database: Database, since: float = 0.0, namespace: str | None = None
) -> Iterator[Row]:
    """Yield all columns of each request since a Unix time, oldest first, without hashes or images.

    Raises InvalidParameter.
    """
    hidden = {"prompt_hash", "owner_hash"}
    shared = {"request_id", "at", "instruction_type"}
    query = _joined(
        *(column for column in REQUESTS.c if column.name not in hidden),
        *(c.label(f"found_{c.name}") for c in ASSESSMENTS.c if c.name not in shared),
        RATINGS.c.rating,
        RATINGS.c.reason.label("rating_reason"),
        since=since,
        namespace=namespace,
    ).order_by(REQUESTS.c.at)
    with database.engine.connect() as connection:
        result = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(query)
        for row in result.mappings():
            yield _without_nulls(row)


def _joined(
    *columns: ColumnElement[Any], since: float, namespace: str | None
) -> Select[tuple[Any, ...]]:
    key = REQUESTS.c.request_id
    joined = REQUESTS.outerjoin(ASSESSMENTS, ASSESSMENTS.c.request_id == key).outerjoin(
        RATINGS, RATINGS.c.request_id == key
    )
    query = select(*columns).select_from(joined).where(REQUESTS.c.at >= since)
    if namespace is None:
        return query
    return query.where(REQUESTS.c.namespace == check_text("service", namespace))


def _without_nulls(row: RowMapping) -> Row:
    return {str(name): value for name, value in row.items() if value is not None}

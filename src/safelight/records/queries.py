"""Read requests from the records, joined with their assessments, ratings and pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, select

from safelight.reasons import NO_ERROR
from safelight.records.database import Database
from safelight.records.rows import AssessedRequest, Row, check_text
from safelight.records.schema import ASSESSMENTS, PAIRS, RATINGS, REQUESTS, SAMPLES

MAX_ROWS = 200_000
_ROWS_PER_FETCH = 2000
_MOST_FOUND, _MOST_SIMILAR, _LEAST_SIMILAR = 100, 200, 5
Query = Select[tuple[Any, ...]]
_FAILED = 400  # and higher statuses


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
    query = _exported(since=since, namespace=namespace).order_by(REQUESTS.c.at)
    with database.engine.connect() as connection:
        result = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(query)
        for row in result.mappings():
            yield without_nulls(row)


def find_rows(database: Database, name: str) -> list[Row]:
    """Return all columns of the requests with an id, else a caller's key, else a trace.

    Newest first, without hashes, at most a hundred. A trace has no index: a million requests take
    half a second. Raises InvalidParameter.
    """
    own, text = REQUESTS.c, check_text("id", name.lower())  # as they are stored
    with database.engine.connect() as connection:
        for column in (own.request_id, own.caller_key, own.trace_id):
            query = _exported().where(column == text).order_by(own.at.desc()).limit(_MOST_FOUND)
            if rows := connection.execute(query).mappings().all():
                return [without_nulls(row) for row in rows]
    return []


def usual_stages(database: Database, row: Row) -> dict[str, float]:
    """Return the median seconds of each stage of similar requests before one; empty if too few.

    Similar requests succeeded, of the same service and instruction type.
    """
    found: list[dict[str, float]] = [each["stages"] for each in _similar(database, row)]
    if len(found) < _LEAST_SIMILAR:
        return {}
    stages = {stage for each in found for stage in each}
    return {stage: median(each.get(stage, 0.0) for each in found) for stage in stages}


def usual_step_seconds(database: Database, row: Row) -> float | None:
    """Return the median seconds of a denoising step of similar requests; None if too few."""
    steps = [
        each["stages"]["denoise"] / each["steps"]
        for each in _similar(database, row)
        if each["steps"] and "denoise" in each["stages"]
    ]
    return median(steps) if len(steps) >= _LEAST_SIMILAR else None


def _similar(database: Database, row: Row) -> Sequence[RowMapping]:
    """Return stages and steps of good requests before one, of the same service and type."""
    own = REQUESTS.c
    query = (
        select(own.stages, own.steps)
        .where(own.namespace == row["namespace"], own.at < row["at"])
        .where(own.instruction_type == row["instruction_type"])
        .where(own.error == NO_ERROR, own.status_code < _FAILED)
        .order_by(own.at.desc())
        .limit(_MOST_SIMILAR)
    )
    with database.engine.connect() as connection:
        return connection.execute(query).mappings().all()


def sample_of(database: Database, request_id: str) -> tuple[bytes, bytes, bytes] | None:
    """Return the thumbnails of a request's image before, after, and by a second model.

    None if they are not kept; an image that does not exist is empty.
    """
    own = SAMPLES.c
    query = select(own.before, own.after, own.second).where(own.request_id == request_id)
    with database.engine.connect() as connection:
        row = connection.execute(query).first()
    return None if row is None else (row[0], row[1], row[2] or b"")


def _exported(*, since: float = 0.0, namespace: str | None = None) -> Query:
    hidden = {"prompt_hash", "owner_hash"}
    shared = {"request_id", "at", "instruction_type"}
    return _joined(
        *(column for column in REQUESTS.c if column.name not in hidden),
        *(c.label(f"found_{c.name}") for c in ASSESSMENTS.c if c.name not in shared),
        RATINGS.c.rating,
        RATINGS.c.reason.label("rating_reason"),
        PAIRS.c.model.label("second_model"),
        PAIRS.c.measures.label("second_measures"),
        since=since,
        namespace=namespace,
    )


def _joined(*columns: ColumnElement[Any], since: float, namespace: str | None) -> Query:
    key = REQUESTS.c.request_id
    joined = (
        REQUESTS.outerjoin(ASSESSMENTS, ASSESSMENTS.c.request_id == key)
        .outerjoin(RATINGS, RATINGS.c.request_id == key)
        .outerjoin(PAIRS, PAIRS.c.request_id == key)
    )
    query = select(*columns).select_from(joined)
    if since > 0:
        query = query.where(REQUESTS.c.at >= since)
    if namespace is None:
        return query
    return query.where(REQUESTS.c.namespace == check_text("service", namespace))


def without_nulls(row: RowMapping) -> Row:
    """Return a row without the columns that have no value."""
    return {str(name): value for name, value in row.items() if value is not None}

"""What the records say, for whoever draws conclusions: requests with all that is known of them."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping, Select, select

from safelight.records.database import Database
from safelight.records.rows import Remembered
from safelight.records.schema import ASSESSMENTS, RATINGS, REQUESTS

MOST_READ = 200_000
_AT_ONCE = 2000


def remembered(
    database: Database, since: float = 0.0, namespace: str | None = None, most: int = MOST_READ
) -> list[Remembered]:
    """Return requests since a moment, the newest first and so many at most."""
    of_found = (ASSESSMENTS.c.score, ASSESSMENTS.c.structure, ASSESSMENTS.c.adherence)
    own = {field.name for field in fields(Remembered)}
    wanted = _joined(
        *(column for column in REQUESTS.c if column.name in own),
        (REQUESTS.c.seconds - REQUESTS.c.queue_seconds).label("service_seconds"),
        ASSESSMENTS.c.error.label("found_error"),
        *of_found,
        RATINGS.c.rating,
        since=since,
        namespace=namespace,
    )
    with database.engine.connect() as connection:
        rows = connection.execute(wanted.order_by(REQUESTS.c.at.desc()).limit(most)).mappings()
        return [Remembered(**row) for row in rows]


def everything(
    database: Database, since: float = 0.0, namespace: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield all that is known of each request since a moment, oldest first; no hash or image."""
    hidden = {"prompt_hash", "owner_hash"}
    of_found = (c for c in ASSESSMENTS.c if c.name not in ("request_id", "at", "instruction_type"))
    wanted = _joined(
        *(column for column in REQUESTS.c if column.name not in hidden),
        *(column.label(f"found_{column.name}") for column in of_found),
        RATINGS.c.rating,
        RATINGS.c.reason.label("rating_reason"),
        since=since,
        namespace=namespace,
    ).order_by(REQUESTS.c.at)
    with database.engine.connect() as connection:
        found = connection.execution_options(yield_per=_AT_ONCE).execute(wanted)
        for row in found.mappings():
            yield _without_nulls(row)


def _joined(*columns: Any, since: float, namespace: str | None) -> Select[Any]:
    key = REQUESTS.c.request_id
    joined = REQUESTS.outerjoin(ASSESSMENTS, ASSESSMENTS.c.request_id == key).outerjoin(
        RATINGS, RATINGS.c.request_id == key
    )
    wanted = select(*columns).select_from(joined).where(REQUESTS.c.at >= since)
    return wanted if namespace is None else wanted.where(REQUESTS.c.namespace == namespace)


def _without_nulls(row: RowMapping) -> dict[str, Any]:
    return {str(name): value for name, value in row.items() if value is not None}

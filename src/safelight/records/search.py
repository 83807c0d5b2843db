"""Find requests in the records: newest first, a page at a time, with filters; and their like.

Every query is bounded: filters look through a limited number of requests, and say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_, select

from safelight.errors import InvalidParameter
from safelight.reasons import NO_ERROR
from safelight.records.database import Database
from safelight.records.queries import Query, without_nulls
from safelight.records.rows import Row, check_text
from safelight.records.schema import ASSESSMENTS, RATINGS, REQUESTS, SAMPLES

PAGE_ROWS = 50
LOOKED_THROUGH = 200_000  # requests that a filter looks at for one page
_ALIKE_LOOKED_AT = 500  # before a request, and as many after it
_MOST_NAMES, _MOST_SAMPLES = 200, 5000
_FAILED = 400  # and higher statuses
_LARGEST_SEED = 2**63 - 1
OK, FAILED = "ok", "failed"
ANY_WARNING, RATED = "any", "rated"
WARNINGS = ("degraded", "overridden", "truncated")
_SHOWN = (
    *("request_id", "at", "namespace", "endpoint", "instruction_type", "status_code", "error"),
    *("seconds", "queue_seconds", "steps", "width", "height", "seed", "batch", "precision"),
    *("degraded", "overridden", "truncated", "guidance_in_force", "image_guidance_in_force"),
    *("background_entropy", "device_seconds"),
)
_Where = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place between two pages: the request above it. Without an id, all of that second."""

    at: float
    request_id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests to find; what is empty or None admits every request.

    `result` is ok, failed or a reason, `warning` a column of the record or any, `rating` 1 to 5 or
    rated; `size` is width and height in pixels; times are in seconds since 1970.
    """

    namespace: str = ""
    instruction_type: str = ""
    result: str = ""
    least_seconds: float = 0.0
    rating: str = ""
    warning: str = ""
    since: float | None = None
    until: float | None = None
    seed: int | None = None
    size: tuple[int, int] | None = None

    @property
    def is_filtered(self) -> bool:
        """Return whether requests may have to be skipped, so that a page can take long to fill."""
        return self != Wanted(since=self.since, until=self.until)


@dataclass(frozen=True, slots=True)
class Found:
    """A page. `after` is where the next one begins, None at the end.

    `looked_until` is a time if the search stopped there, to look no further at once.
    """

    rows: Sequence[Row]
    after: Cursor | None
    looked_until: float | None


def find_page(database: Database, wanted: Wanted, after: Cursor | None = None) -> Found:
    """Return at most PAGE_ROWS requests, the newest first. Raises InvalidParameter."""
    own = REQUESTS.c
    query = _rows().where(*_conditions(wanted), *_below(after))
    query = query.order_by(own.at.desc(), own.request_id.desc()).limit(PAGE_ROWS + 1)
    with database.engine.connect() as connection:
        floor = None
        if wanted.is_filtered:
            edge = select(own.at).where(*_times(wanted), *_below(after)).order_by(own.at.desc())
            floor = connection.execute(edge.offset(LOOKED_THROUGH).limit(1)).scalar()
        if floor is not None:
            query = query.where(own.at >= floor)
        rows = [without_nulls(row) for row in connection.execute(query).mappings()]
    if len(rows) > PAGE_ROWS:
        last = rows[PAGE_ROWS - 1]
        return Found(rows[:PAGE_ROWS], Cursor(_number(last, "at"), str(last["request_id"])), None)
    return Found(rows, Cursor(floor, "") if floor is not None else None, floor)


def names_of(database: Database) -> tuple[list[str], list[str]]:
    """Return the services and the instruction types that the records have, a limited number."""
    with database.engine.connect() as connection:
        newest = select(REQUESTS.c.namespace).order_by(REQUESTS.c.at.desc()).limit(LOOKED_THROUGH)
        recent = newest.subquery()
        namespaces = select(recent.c.namespace).distinct().limit(_MOST_NAMES)
        types = select(REQUESTS.c.instruction_type).distinct().limit(_MOST_NAMES)
        found = (connection.execute(query).scalars() for query in (namespaces, types))
        services, kinds = (sorted(map(str, names)) for names in found)
    return services, kinds


def sampled(database: Database, since: float) -> set[str]:
    """Return the ids of the requests since a Unix time whose images are kept, a limited number."""
    own = SAMPLES.c
    query = select(own.request_id).where(own.at >= since).order_by(own.at.desc())
    with database.engine.connect() as connection:
        return set(connection.execute(query.limit(_MOST_SAMPLES)).scalars())


def latest_samples(database: Database, number: int) -> list[Row]:
    """Return the latest requests whose images are kept, the newest first."""
    own, key = REQUESTS.c, SAMPLES.c.request_id
    names = (own.request_id, own.at, own.namespace, own.instruction_type, own.error, own.seconds)
    query = select(*names, own.status_code).join(SAMPLES, key == own.request_id)
    query = query.order_by(SAMPLES.c.at.desc(), key.desc()).limit(number)
    with database.engine.connect() as connection:
        return [without_nulls(row) for row in connection.execute(query).mappings()]


def alike(database: Database, row: Row, number: int) -> tuple[list[Row], list[Row]]:
    """Return failed and good requests of a request's type and service, at most `number` of each.

    Those with an assessment come first, then the nearest in time. The request is not among them.
    """
    own = REQUESTS.c
    same = (
        own.namespace == row["namespace"],
        own.instruction_type == row["instruction_type"],
        own.request_id != row["request_id"],
    )
    at = _number(row, "at")
    before = _rows().where(*same, own.at <= at).order_by(own.at.desc())
    later = _rows().where(*same, own.at > at).order_by(own.at)
    with database.engine.connect() as connection:
        found = [
            without_nulls(each)
            for query in (before, later)
            for each in connection.execute(query.limit(_ALIKE_LOOKED_AT)).mappings()
        ]
    found.sort(key=lambda each: ("found_score" not in each, abs(_number(each, "at") - at)))
    bad = [each for each in found if has_failed(each)][:number]
    return bad, [each for each in found if not has_failed(each)][:number]


def has_failed(row: Row) -> bool:
    """Return whether a request failed, or its output is damaged."""
    found = row.get("found_error", NO_ERROR)
    return row["error"] != NO_ERROR or _number(row, "status_code") >= _FAILED or found != NO_ERROR


def _rows() -> Query:
    key = REQUESTS.c.request_id
    joined = (
        REQUESTS.outerjoin(ASSESSMENTS, ASSESSMENTS.c.request_id == key)
        .outerjoin(RATINGS, RATINGS.c.request_id == key)
        .outerjoin(SAMPLES, SAMPLES.c.request_id == key)
    )
    return select(
        *(REQUESTS.c[name] for name in _SHOWN),
        ASSESSMENTS.c.error.label("found_error"),
        ASSESSMENTS.c.score.label("found_score"),
        ASSESSMENTS.c.structure.label("found_structure"),
        ASSESSMENTS.c.adherence.label("found_adherence"),
        RATINGS.c.rating,
        SAMPLES.c.failed.label("sample"),
    ).select_from(joined)


def _below(after: Cursor | None) -> tuple[_Where, ...]:
    if after is None:
        return ()
    own, name = REQUESTS.c, check_text("page", after.request_id)
    return own.at <= after.at, or_(own.at < after.at, own.request_id < name)


def _times(wanted: Wanted) -> tuple[_Where, ...]:
    own, found = REQUESTS.c, []
    if wanted.since is not None:
        found.append(own.at >= wanted.since)
    if wanted.until is not None:
        found.append(own.at <= wanted.until)
    return tuple(found)


def _conditions(wanted: Wanted) -> tuple[_Where, ...]:
    own = REQUESTS.c
    found = [*_times(wanted)]
    if wanted.namespace:
        found.append(own.namespace == check_text("service", wanted.namespace))
    if wanted.instruction_type:
        found.append(own.instruction_type == check_text("type", wanted.instruction_type))
    if wanted.least_seconds > 0:
        found.append(own.seconds >= wanted.least_seconds)
    if wanted.seed is not None:
        found.append(own.seed == _checked(wanted.seed))
    if wanted.size is not None:
        found += [own.width == wanted.size[0], own.height == wanted.size[1]]
    return (*found, *_result(wanted.result), *_rating(wanted.rating), *_warning(wanted.warning))


def _checked(seed: int) -> int:
    if abs(seed) > _LARGEST_SEED:
        raise InvalidParameter("A seed has at most 63 bits.")
    return seed


def _result(result: str) -> tuple[_Where, ...]:
    own, damage = REQUESTS.c, ASSESSMENTS.c.error
    undamaged = or_(damage.is_(None), damage == NO_ERROR)
    if not result:
        return ()
    if result == OK:
        return own.error == NO_ERROR, own.status_code < _FAILED, undamaged
    if result == FAILED:
        damaged = and_(damage.is_not(None), damage != NO_ERROR)
        return (or_(own.error != NO_ERROR, own.status_code >= _FAILED, damaged),)
    reason = check_text("reason", result)
    return (or_(own.error == reason, damage == reason),)


def _rating(rating: str) -> tuple[_Where, ...]:
    if not rating:
        return ()
    return (RATINGS.c.rating.is_not(None) if rating == RATED else RATINGS.c.rating == int(rating),)


def _warning(warning: str) -> tuple[_Where, ...]:
    own = REQUESTS.c
    each = {
        "degraded": own.degraded != "",
        "overridden": own.overridden != "",
        "truncated": own.truncated.is_(True),
    }
    if not warning:
        return ()
    return (or_(*each.values()) if warning == ANY_WARNING else each[warning],)


def _number(row: Row, name: str) -> float:
    value = row[name]
    assert isinstance(value, int | float)
    return value

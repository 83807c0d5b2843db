"""The tables of the records; `migrations` upgrades older ones."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from safelight.records.rows import RATIOS

METADATA = MetaData()
VERSIONS = ("0001", "0002", "0003", "0004")  # of the migrations, newest last
VERSION = Table(
    "safelight_version",
    MetaData(),  # not in METADATA: Alembic creates this table itself
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="safelight_version_pkc"),
)


def _id() -> Column[str]:
    return Column("request_id", String(80), primary_key=True)


def _at() -> Column[float]:
    """Unix time in seconds."""
    return Column("at", Double, nullable=False, index=True)


REQUESTS = Table(
    "safelight_requests",
    METADATA,
    _id(),
    _at(),
    Column("namespace", String(40), nullable=False),
    Column("model", String(200), nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("error", String(40), nullable=False),
    Column("instruction_type", String(40), nullable=False),
    Column("seconds", Double, nullable=False),
    Column("queue_seconds", Double, nullable=False),
    Column("stages", JSON, nullable=False),
    Column("pipeline", String(100)),
    Column("precision", String(20)),
    Column("steps_asked", Integer),
    Column("steps", Integer),
    Column("width", Integer),
    Column("height", Integer),
    Column("guidance_asked", Double),
    Column("guidance_in_force", Double),
    Column("image_guidance_asked", Double),
    Column("image_guidance_in_force", Double),
    Column("overridden", String(100), nullable=False),
    Column("negative_prompt", Boolean),
    Column("batch", Integer),
    Column("truncated", Boolean, nullable=False),
    Column("degraded", String(200), nullable=False),
    Column("seed", BigInteger),
    Column("trace_id", String(64)),
    Column("background_entropy", Double),
    Column("prompt", Text),
    Column("prompt_hash", String(64)),
    Column("owner_hash", String(64)),
    Column("caller_key", String(36)),  # the X-Request-Id that the caller sent
    Column("device_seconds", Double),
    Index("safelight_requests_by_caller_key", "caller_key"),
    Index("safelight_requests_by_trace", "trace_id"),
    Index("safelight_requests_by_type", "instruction_type", "at"),
)

ASSESSMENTS = Table(
    "safelight_assessments",
    METADATA,
    _id(),
    _at(),
    Column("instruction_type", String(40), nullable=False),
    Column("error", String(40), nullable=False),
    *(Column(name, Double) for name in RATIOS),
)

RATINGS = Table(
    "safelight_ratings",
    METADATA,
    _id(),
    _at(),
    Column("instruction_type", String(40), nullable=False),
    Column("rating", Integer, nullable=False),
    Column("reason", String(40), nullable=False),
)

SAMPLES = Table(
    "safelight_samples",
    METADATA,
    _id(),
    _at(),
    Column("instruction_type", String(40), nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("before", LargeBinary, nullable=False),
    Column("after", LargeBinary, nullable=False),
    Column("second", LargeBinary),  # what a second model made of the same request
    Index("safelight_samples_by_type", "instruction_type", "failed", "at"),
)

PAIRS = Table(
    "safelight_pairs",
    METADATA,
    _id(),
    _at(),
    Column("model", String(200), nullable=False),  # the second one
    Column("measures", JSON, nullable=False),
)

INSTALLATION = Table(
    "safelight_installation",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("salt", String(64), nullable=False),
)

ABOUT_REQUESTS = (SAMPLES, PAIRS, RATINGS, ASSESSMENTS, REQUESTS)

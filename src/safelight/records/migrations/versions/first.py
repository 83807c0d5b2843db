"""Migration 0001: tables for requests, assessments, ratings, samples and the hash salt."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "safelight_requests",
        _id(),
        _at(),
        *(sa.Column(name, kind, nullable=False) for name, kind in _REQUIRED.items()),
        *(sa.Column(name, kind) for name, kind in _OPTIONAL.items()),
    )
    op.create_index("ix_safelight_requests_at", "safelight_requests", ["at"])
    op.create_index("safelight_requests_by_type", "safelight_requests", ["instruction_type", "at"])
    ratios = (sa.Column(name, sa.Double) for name in _RATIOS)
    _about("assessments", sa.Column("error", sa.String(40), nullable=False), *ratios)
    _about(
        "ratings",
        sa.Column("rating", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
    )
    _about(
        "samples",
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("before", sa.LargeBinary, nullable=False),
        sa.Column("after", sa.LargeBinary, nullable=False),
    )
    op.create_index(
        "safelight_samples_by_type", "safelight_samples", ["instruction_type", "failed", "at"]
    )
    op.create_table(
        "safelight_installation",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("salt", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("installation", "samples", "ratings", "assessments", "requests"):
        op.drop_table(f"safelight_{name}")


def _about(name: str, *columns: sa.Column[Any]) -> None:
    """Create a table with data about requests."""
    kind = sa.Column("instruction_type", sa.String(40), nullable=False)
    op.create_table(f"safelight_{name}", _id(), _at(), kind, *columns)
    op.create_index(f"ix_safelight_{name}_at", f"safelight_{name}", ["at"])


def _id() -> sa.Column[str]:
    return sa.Column("request_id", sa.String(80), primary_key=True)


def _at() -> sa.Column[float]:
    return sa.Column("at", sa.Double, nullable=False)


_RATIOS = (
    "score",
    "sharpness",
    "exposure",
    "colourfulness",
    "cleanness",
    "structure",
    "edges",
    "changed",
    "adherence",
)
_REQUIRED: dict[str, sa.types.TypeEngine[Any]] = {
    "namespace": sa.String(40),
    "model": sa.String(200),
    "endpoint": sa.String(200),
    "status_code": sa.Integer(),
    "error": sa.String(40),
    "instruction_type": sa.String(40),
    "seconds": sa.Double(),
    "queue_seconds": sa.Double(),
    "stages": sa.JSON(),
    "overridden": sa.String(100),
    "truncated": sa.Boolean(),
    "degraded": sa.String(200),
}
_OPTIONAL: dict[str, sa.types.TypeEngine[Any]] = {
    "pipeline": sa.String(100),
    "precision": sa.String(20),
    "steps_asked": sa.Integer(),
    "steps": sa.Integer(),
    "width": sa.Integer(),
    "height": sa.Integer(),
    "guidance_asked": sa.Double(),
    "guidance_in_force": sa.Double(),
    "image_guidance_asked": sa.Double(),
    "image_guidance_in_force": sa.Double(),
    "negative_prompt": sa.Boolean(),
    "batch": sa.Integer(),
    "seed": sa.BigInteger(),
    "trace_id": sa.String(64),
    "background_entropy": sa.Double(),
    "prompt": sa.Text(),
    "prompt_hash": sa.String(64),
    "owner_hash": sa.String(64),
}

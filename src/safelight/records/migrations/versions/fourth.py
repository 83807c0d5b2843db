"""Migration 0004: what a second model made of a request, and its image beside the samples."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TABLE, _INDEX = "safelight_pairs", "ix_safelight_pairs_at"
_SAMPLES, _IMAGE = "safelight_samples", "second"


def upgrade() -> None:
    """Add the table, and the column. Older requests have neither."""
    op.create_table(
        _TABLE,
        sa.Column("request_id", sa.String(80), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("measures", sa.JSON, nullable=False),
    )
    op.create_index(_INDEX, _TABLE, ["at"])
    op.add_column(_SAMPLES, sa.Column(_IMAGE, sa.LargeBinary))


def downgrade() -> None:
    """Drop both."""
    op.drop_column(_SAMPLES, _IMAGE)
    op.drop_table(_TABLE)

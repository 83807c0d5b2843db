"""Migration 0003: the device time of a request."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TABLE, _COLUMN = "safelight_requests", "device_seconds"


def upgrade() -> None:
    """Add the column. It is unknown for older requests."""
    op.add_column(_TABLE, sa.Column(_COLUMN, sa.Double))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column(_TABLE, _COLUMN)

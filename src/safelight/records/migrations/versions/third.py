"""Migration 0003: the device time of a request, and a search by its trace."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TABLE, _COLUMN = "safelight_requests", "device_seconds"
_INDEX = "safelight_requests_by_trace"


def upgrade() -> None:
    """Add the column, which is unknown for older requests, and the index."""
    op.add_column(_TABLE, sa.Column(_COLUMN, sa.Double))
    op.create_index(_INDEX, _TABLE, ["trace_id"])


def downgrade() -> None:
    """Drop both."""
    op.drop_index(_INDEX, _TABLE)
    op.drop_column(_TABLE, _COLUMN)

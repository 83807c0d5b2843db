"""Migration 0002: the id that the caller sent, beside the server's own."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TABLE, _COLUMN, _INDEX = "safelight_requests", "caller_key", "safelight_requests_by_caller_key"


def upgrade() -> None:
    """Add the column. Older requests have none: their callers' ids are in `request_id`."""
    op.add_column(_TABLE, sa.Column(_COLUMN, sa.String(36)))
    op.create_index(_INDEX, _TABLE, [_COLUMN])


def downgrade() -> None:
    """Drop the column."""
    op.drop_index(_INDEX, _TABLE)
    op.drop_column(_TABLE, _COLUMN)

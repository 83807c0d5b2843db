"""What Alembic runs to migrate: on the connection that it is handed, in that one's transaction."""

from alembic import context

from safelight.records.schema import METADATA, VERSION

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION.name,
    transaction_per_migration=False,
)
context.run_migrations()

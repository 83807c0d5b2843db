"""Alembic's environment: migrate on the given connection, in its transaction."""

from alembic import context

from safelight.records.schema import METADATA, VERSION

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION.name,
    transaction_per_migration=False,
)
context.run_migrations()

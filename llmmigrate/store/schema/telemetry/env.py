"""Alembic's entry for the telemetry schema: runs on the connection that the store hands over."""

from alembic import context

from llmmigrate.store.tables import telemetry

config = context.config
context.configure(
    connection=config.attributes["connection"],
    target_metadata=telemetry,
    version_table=config.attributes["version_table"],
    transactional_ddl=False,
)
context.run_migrations()

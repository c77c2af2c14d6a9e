"""Alembic's entry for the control schema: runs on the connection that the store hands over."""

from alembic import context

from llmmigrate.store.tables import control

config = context.config
context.configure(
    connection=config.attributes["connection"],
    target_metadata=control,
    version_table=config.attributes["version_table"],
    transactional_ddl=False,
)
context.run_migrations()

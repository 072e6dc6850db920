"""Alembic's entry: runs the steps on the connection that `migrate` brings."""

from alembic import context

from cumulet.db import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()

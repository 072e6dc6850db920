"""Events carry data and are found by project; their names and those of groups' states are the field's words."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

RENAMED = {
    "vm.connect_asked": "vm.console_requested",
    "vm.power_button": "vm.shutdown_sent",
    "vm.plug_pulled": "vm.forced_off",
    "vm.stalled": "vm.paused_on_io_error",
    "vm.goes_on": "vm.resumed",
    "vm.first_boot": "vm.first_boot_done",
    "vm.agent": "vm.agent_connected",
    "vm.guest_left_alone": "vm.agent_ignored",
    "disk.made": "disk.created",
}


def upgrade() -> None:
    """Leave what was told so far without data."""
    with op.batch_alter_table("journal") as table:
        table.add_column(sa.Column("data", sa.JSON(), nullable=False, server_default="{}"))
        table.create_index("ix_journal_project", ["project_id", "id"])
    journal = sa.table("journal", sa.column("event"))
    event = journal.c.event
    op.execute(
        journal.update()
        .where(event.like("%\\_asked", escape="\\"), event.not_in(RENAMED))
        .values(event=sa.func.replace(event, "_asked", "_requested"))
    )
    op.execute(journal.update().where(event.in_(RENAMED)).values(event=sa.case(RENAMED, value=event)))
    with op.batch_alter_table("security_group") as table:
        table.add_column(sa.Column("wanted", sa.String(40), nullable=False, server_default="KEPT"))
        table.add_column(sa.Column("state", sa.String(40), nullable=False, server_default="CREATING"))
    groups = sa.table("security_group", *map(sa.column, ("wanted", "state", "deleted", "in_force")))
    op.execute(groups.update().where(groups.c.deleted == sa.true()).values(wanted="DELETED"))
    op.execute(groups.update().where(groups.c.in_force == sa.true()).values(state="ACTIVE"))
    with op.batch_alter_table("security_group") as table:
        table.drop_column("deleted")
        table.drop_column("in_force")

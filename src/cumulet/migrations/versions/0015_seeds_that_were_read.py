"""VMs whose first boot was done before seeds lost their secrets have a look at theirs."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute(
        "INSERT INTO due (kind, id, due_at, since, wakes, attempts, why, error, overdue)"
        " SELECT 'vm', id, create_time, first_boot_at, 1, 0, '', '', false FROM vm"
        " WHERE (first_boot_at IS NOT NULL OR guest_silent) AND seed_spent_at IS NULL"
        " AND id NOT IN (SELECT id FROM due WHERE kind = 'vm')"
    )

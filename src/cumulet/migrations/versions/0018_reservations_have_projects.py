"""Each reservation says whose it is: its holder's project's."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("reservation", sa.Column("project_id", sa.String(), nullable=False, server_default=""))
    op.execute(
        "UPDATE reservation SET project_id = coalesce("
        " (SELECT project_id FROM vm WHERE vm.id = reservation.holder_id),"
        " (SELECT project_id FROM disk WHERE disk.id = reservation.holder_id),"
        " (SELECT project_id FROM private_image WHERE private_image.id = reservation.holder_id), '')"
    )

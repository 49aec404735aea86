"""What subjects asked for under the law."""

import sqlalchemy as sa
from alembic import op

revision = "c0004"
down_revision = "c0003"


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("id", sa.LargeBinary(), primary_key=True, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )

"""Since when keys in clear from before are forgotten, and what a rotation couldn't open."""

import sqlalchemy as sa
from alembic import op

revision = "c0003"
down_revision = "c0002"


def upgrade() -> None:
    for table, column in (("compartment", "evicted"), ("rotations", "unreadable")):
        none = sa.Column(column, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column(table, none)

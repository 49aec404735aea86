"""What the security team does to keys: suspension, rotations, closed epochs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "c0002"
down_revision = "c0001"


def _key(name: str, type_: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, type_, primary_key=True, nullable=False, autoincrement=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _create(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(name, *columns, sqlite_with_rowid=False)


def upgrade() -> None:
    serving = sa.Column("state", sa.Text(), nullable=False, server_default="serving")
    op.add_column("compartment", serving)
    unknown = sa.Column("created", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("keyring", unknown)
    _create(
        "rotations",
        _key("id", sa.LargeBinary()),
        _text("level"),
        _integer("field"),
        _text("state"),
        _integer("from_version"),
        _integer("to_version"),
        _integer("done"),
        _integer("total"),
        _bytes("cursor"),
        _text("error"),
        _integer("started"),
        _integer("ended"),
    )
    _create(
        "epochs",
        _key("number", sa.BigInteger()),
        _integer("closed_at"),
        _integer("tombstones"),
        _integer("transit_version"),
    )

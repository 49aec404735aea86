"""The broker's own trail."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "b0001"
down_revision = None


def _key(name: str, type_: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, type_, primary_key=True, nullable=False, autoincrement=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def upgrade() -> None:
    blob, big, text = sa.LargeBinary(), sa.BigInteger(), sa.Text()
    op.create_table("compartment", _key("uuid", blob), sqlite_with_rowid=False)
    op.create_table(
        "keyring",
        _key("kind", text),
        _key("field", big),
        _key("version", big),
        _text("state"),
        _text("wrapped"),
        sa.Column("created", big, nullable=False, server_default="0"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit",
        _key("writer", blob),
        _key("sequence", big),
        _bytes("previous"),
        _bytes("token"),
        _bytes("sealed"),
        sqlite_with_rowid=False,
    )
    op.create_index("audit_token", "audit", ["token"])
    op.create_table(
        "checkpoints",
        _key("number", big),
        _bytes("body"),
        _bytes("signature"),
        sqlite_with_rowid=False,
    )

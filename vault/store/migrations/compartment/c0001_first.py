"""The tables that a compartment starts with."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "c0001"
down_revision = None


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
    blob, big, text = sa.LargeBinary(), sa.BigInteger(), sa.Text()
    _create(
        "compartment",
        _key("uuid", blob),
        _integer("epoch"),
        _integer("ledger_sequence"),
        _bytes("ledger_head"),
        _bytes("sweep_cursor"),
        _text("canary"),
    )
    _create("records", _key("pseudonym", blob), _bytes("row_version"), _bytes("sealed"))
    _create(
        "data_keys",
        _key("pseudonym", blob),
        _key("id", blob),
        _integer("kek_version"),
        _bytes("wrapped"),
    )
    _create(
        "blind_index",
        _key("field", big),
        _key("version", big),
        _key("value", blob),
        _key("slot", blob),
        _bytes("pseudonym"),
    )
    op.create_index("blind_index_pseudonym", "blind_index", ["pseudonym"])
    _create(
        "keyring",
        _key("kind", text),
        _key("field", big),
        _key("version", big),
        _text("state"),
        _text("wrapped"),
    )
    _create(
        "audit",
        _key("writer", blob),
        _key("sequence", big),
        _bytes("previous"),
        _bytes("token"),
        _bytes("sealed"),
    )
    op.create_index("audit_token", "audit", ["token"])
    _create("checkpoints", _key("number", big), _bytes("body"), _bytes("signature"))
    _create("tombstones", _key("token", blob))
    _create(
        "idempotency",
        _key("token", blob),
        _bytes("content"),
        sa.Column("day", sa.Integer(), nullable=False),
    )

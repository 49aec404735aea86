"""The tables. What stands in clear beside a pseudonym is listed here, and nothing else may join it.

All primary keys are meaningless or keyed: no sequences, no dates, no order of arrival. SQLite
tables are WITHOUT ROWID, so that rows lie in key order there too.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

COMPARTMENT = MetaData()
CONTROL = MetaData()
BROKER = MetaData()


def _table(name: str, metadata: MetaData, *columns: Column[Any] | Index) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def _bytes(name: str, *, key: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, primary_key=key, nullable=False)


def _integer(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=False)


# One row: what this database is, the epoch of its keys, and how much of the control chain its
# workers have seen: they never go back behind it.
compartment = _table(
    "compartment",
    COMPARTMENT,
    _bytes("uuid", key=True),
    _integer("epoch"),
    _integer("ledger_sequence"),
    _bytes("ledger_head"),
    _bytes("sweep_cursor"),  # the pseudonym that the sweeper looked at last
    _text("canary"),  # a Transit ciphertext, opened at start: is this the key server that we know?
    Column("state", Text, nullable=False, server_default="serving"),  # or "suspended"
    # the epoch since which no process may have a key in clear from before; 0 where there is none
    Column("evicted", BigInteger, nullable=False, server_default="0"),
    # microseconds since 1970: events from before then may have been cut off; 0: none were
    Column("trail_begins", BigInteger, nullable=False, server_default="0"),
)

records = _table(
    "records",
    COMPARTMENT,
    _bytes("pseudonym", key=True),
    _bytes("row_version"),
    _bytes("sealed"),
)

# Apart from `records`, and backed up apart: erasing a row here is what makes an erasure last.
data_keys = _table(
    "data_keys",
    COMPARTMENT,
    _bytes("pseudonym", key=True),
    _bytes("id", key=True),
    _integer("kek_version"),
    _bytes("wrapped"),
)

# `slot` is empty for a unique field, so that the key admits one record; else the pseudonym.
blind_index = _table(
    "blind_index",
    COMPARTMENT,
    _integer("field", key=True),
    _integer("version", key=True),
    _bytes("value", key=True),
    _bytes("slot", key=True),
    _bytes("pseudonym"),
    Index("blind_index_pseudonym", "pseudonym"),
)

# The compartment's own keys, wrapped by Transit. `field` is zero but for index keys.
keyring = _table(
    "keyring",
    COMPARTMENT,
    _text("kind", key=True),
    _integer("field", key=True),
    _integer("version", key=True),
    _text("state"),
    _text("wrapped"),
    # seconds since 1970; 0 for a key from before this was noted
    Column("created", BigInteger, nullable=False, server_default="0"),
)

# What officers have running: a rotation of one level, resumable from where its cursor stands.
rotations = _table(
    "rotations",
    COMPARTMENT,
    _bytes("id", key=True),  # 16 random bytes
    _text("level"),
    _integer("field"),  # a field's uid for index keys, else zero
    _text("state"),
    _integer("from_version"),
    _integer("to_version"),
    _integer("done"),
    _integer("total"),
    _bytes("cursor"),  # a pseudonym, or empty: never backed up
    _text("error"),
    _integer("started"),  # seconds since 1970
    _integer("ended"),  # likewise; 0 while it runs
    # how many rows couldn't be opened, up to the cursor
    Column("unreadable", BigInteger, nullable=False, server_default="0"),
)

# Closed epochs of keys: what was erased before is unreadable in every backup of data.
epochs = _table(
    "epochs",
    COMPARTMENT,
    _integer("number", key=True),
    _integer("closed_at"),  # seconds since 1970
    _integer("tombstones"),  # how many erasures had been made
    _integer("transit_version"),  # the version of the Transit key from which on it opens
)

audit = _table(
    "audit",
    COMPARTMENT,
    _bytes("writer", key=True),
    _integer("sequence", key=True),
    _bytes("previous"),
    _bytes("token"),  # finds a subject's events while their record lives
    _bytes("sealed"),
    Index("audit_token", "token"),
)

checkpoints = _table(
    "checkpoints",
    COMPARTMENT,
    _integer("number", key=True),
    _bytes("body"),
    _bytes("signature"),
)

# Keyed hashes of pseudonyms: undated, and of no use without the compartment's key.
tombstones = _table("tombstones", COMPARTMENT, _bytes("token", key=True))

# Keyed hashes of request ids and of what was asked; the day is for clearing them away.
idempotency = _table(
    "idempotency",
    COMPARTMENT,
    _bytes("token", key=True),
    _bytes("content"),
    Column("day", Integer, nullable=False),
)

# What subjects asked for under the law: an id that means nothing elsewhere, and all else sealed.
# Whose it is stands nowhere.
requests = _table("requests", COMPARTMENT, _bytes("id", key=True), _bytes("sealed"))

# The control database: editions and whatever else officers sign, as one chain.
chain = _table(
    "chain",
    CONTROL,
    _integer("sequence", key=True),
    _bytes("previous"),
    _text("kind"),
    _bytes("body"),
    _bytes("signatures"),
)

# Entries that wait for more officers; every signature is checked again when it counts.
approvals = _table(
    "approvals",
    CONTROL,
    _bytes("statement", key=True),
    _text("kind"),
    _bytes("body"),
    _bytes("signatures"),
)

# The broker's database: its own trail, and nothing else. Its tables are called as a compartment's
# are, so that whatever reads and verifies trails reads this one.
brokers_identity = _table("compartment", BROKER, _bytes("uuid", key=True))
brokers_keyring, brokers_audit, brokers_checkpoints = (
    table.to_metadata(BROKER) for table in (keyring, audit, checkpoints)
)

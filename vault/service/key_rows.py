"""Keys of a ring between the keyring and the database."""

from vault.keys.key import KeyKind, KeyName, WrappedKey
from vault.store.lookups import KeyRow


def row_of(key: WrappedKey) -> KeyRow:
    """Return a key as the database keeps it."""
    name = key.name
    return KeyRow(name.kind, name.field, name.version, key.state, key.wrapped, key.created)


def key_of(row: KeyRow) -> WrappedKey:
    """Return a key that the database has."""
    name = KeyName(KeyKind(row.kind), row.version, row.field)
    return WrappedKey(name, row.state, row.wrapped, row.created)

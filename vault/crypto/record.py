"""A record's two layers of sealing.

The record envelope holds all that is known of the record, its fields' values sealed once more
inside. So a worker can open the first layer to decide (consent, retention, restriction), write
the audit event, and only then open the fields that the decision covers.

Each change draws a new row version and seals everything again: what an older version held
can't be put into a newer one, field by field or whole.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import field

from google.protobuf.message import DecodeError

from vault.crypto import padding
from vault.crypto.envelope import KEY_ID_BYTES, Kind, key_id, seal, unseal
from vault.crypto.primitives import KEY_BYTES, DamagedError, Key, derive, digest, draw_nonces
from vault.frozen import dataclass
from vault.names import new_row_version
from vault.sealed.v1 import sealed_pb2

AUDIT_SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Address:
    """Where a record lives: its compartment's uuid (16 bytes) and its pseudonym (32 bytes)."""

    compartment: bytes
    pseudonym: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one record: 256 random bits and an id (8 bytes)."""

    id: bytes
    key: bytes = field(repr=False)

    @classmethod
    def new(cls) -> "DataKey":
        """Draw one."""
        return cls(secrets.token_bytes(KEY_ID_BYTES), secrets.token_bytes(KEY_BYTES))


@dataclass(frozen=True, slots=True)
class Value:
    """A field's value in clear, on its way into a seal or just out of one."""

    uid: int
    type: str
    value: str = field(repr=False)
    set_at: int  # seconds since 1970, UTC


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A row of `records`: the row version (16 bytes) and the record envelope."""

    row_version: bytes
    sealed: bytes = field(repr=False)

    @property
    def data_key_id(self) -> bytes:
        """The id of the data key it names; raises DamagedError where there is none."""
        return key_id(self.sealed)

    @property
    def digest(self) -> bytes:
        """SHA-256 over the row: what the event of a change says that it became."""
        return digest(self.row_version, self.sealed)


def wrap_data_key(kek: Key, address: Address, data_key: DataKey) -> bytes:
    """Seal a data key under its compartment's KEK."""
    place = (address.compartment, address.pseudonym)
    return seal(kek, Kind.DATA_KEY, data_key.id, place, data_key.key)


def unwrap_data_key(kek: Key, address: Address, wrapped: bytes) -> DataKey:
    """Open a wrapped data key; raise DamagedError if it isn't this record's."""
    place = (address.compartment, address.pseudonym)
    return DataKey(key_id(wrapped), unseal(kek, Kind.DATA_KEY, place, wrapped))


def open_record(address: Address, data_key: DataKey, row: SealedRecord) -> sealed_pb2.Record:
    """Open the record envelope; fields stay sealed. Raises DamagedError."""
    key = derive(data_key.key, b"record")
    place = (address.compartment, address.pseudonym, row.row_version)
    try:
        plaintext = padding.unpad(unseal(key, Kind.RECORD, place, row.sealed))
        return sealed_pb2.Record.FromString(plaintext)
    except (ValueError, DecodeError):
        raise DamagedError("authentic, but no record: written by a newer release?") from None


def open_fields(
    address: Address,
    data_key: DataKey,
    row: SealedRecord,
    record: sealed_pb2.Record,
    uids: Iterable[int] | None = None,
) -> Mapping[int, Value]:
    """Open the field envelopes with these uids (all, if None); absent ones are left out."""
    wanted = None if uids is None else frozenset(uids)
    opened = {}
    for item in record.fields:
        uid = item.uid
        if wanted is None or uid in wanted:
            type_ = item.type
            key = derive(data_key.key, b"field", _uid(uid))
            place = _field_place(address, row.row_version, uid, type_)
            try:
                value = padding.unpad(unseal(key, Kind.FIELD, place, item.envelope)).decode()
            except ValueError:
                raise DamagedError("authentic, but no value: written by a newer release?") from None
            opened[uid] = Value(uid, type_, value, item.set_at)
    return opened


def seal_record(
    address: Address, data_key: DataKey, about: sealed_pb2.Record, values: Iterable[Value]
) -> SealedRecord:
    """Seal a record anew, under a new row version: `about` without its fields, and the values."""
    row_version = new_row_version()
    record = sealed_pb2.Record()
    record.CopyFrom(about)
    del record.fields[:]
    ordered = sorted(values, key=lambda v: v.uid)
    nonces = draw_nonces(len(ordered) + 1)
    for value in ordered:
        data = value.value.encode()
        envelope = seal(
            derive(data_key.key, b"field", _uid(value.uid)),
            Kind.FIELD,
            data_key.id,
            _field_place(address, row_version, value.uid, value.type),
            padding.pad(data, padding.field_size(len(data))),
            nonces,
        )
        record.fields.add(uid=value.uid, type=value.type, envelope=envelope, set_at=value.set_at)
    data = record.SerializeToString()
    sealed = seal(
        derive(data_key.key, b"record"),
        Kind.RECORD,
        data_key.id,
        (address.compartment, address.pseudonym, row_version),
        padding.pad(data, padding.record_size(len(data))),
        nonces,
    )
    return SealedRecord(row_version, sealed)


def new_record(subject_kind: int, now: int) -> sealed_pb2.Record:
    """Begin a record: no consents, no fields, a salt of its own for its audit tokens."""
    return sealed_pb2.Record(
        subject_kind=subject_kind,
        registered_at=now,
        audit_salt=secrets.token_bytes(AUDIT_SALT_BYTES),
    )


def _field_place(
    address: Address, row_version: bytes, uid: int, type_: str
) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    return (address.compartment, address.pseudonym, row_version, _uid(uid), type_.encode())


def _uid(uid: int) -> bytes:
    return uid.to_bytes(4, "big")

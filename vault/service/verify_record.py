"""One record held against itself: envelopes, data keys, index rows. No value leaves this module."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vault.crypto import blind_index
from vault.crypto import record as sealing
from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, DataKey, SealedRecord, Value
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName
from vault.policy import Edition, Field, Index
from vault.sealed.v1 import sealed_pb2
from vault.service.compartment import ServedCompartment
from vault.service.verify_report import Finding, Kind
from vault.store.load import WrappedDataKey
from vault.store.walk import Rows, StoredIndexRow

_UNOPENED = frozenset({Reason.KEYS_SUSPENDED, Reason.KEY_DESTROYED})
_NEVER = float("inf")
_EDITIONS_APART = 60  # seconds that processes may differ on which edition is in force


@dataclass(slots=True)
class Looked:
    """What was seen of one record. `about` is there if the first layer opened."""

    rows: Rows
    about: sealed_pb2.Record | None = None
    fields: int = 0
    findings: list[Finding] = field(default_factory=list)
    unopened: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether every envelope of the record opened."""
        damaged = any(finding.kind is Kind.DAMAGED_FIELD for finding in self.findings)
        return self.about is not None and not damaged

    def found(self, kind: Kind, name: str = "") -> None:
        """Note what is wrong with the record."""
        assert self.rows.row is not None  # noqa: S101 -- there is a record
        self.findings.append(of_record(kind, self.rows.row, name))


def of_record(kind: Kind, row: SealedRecord, name: str = "") -> Finding:
    """Return what is wrong with a record."""
    return Finding(kind, "records", "row_version", row.row_version[:16].hex(), name)


def _of_data_key(kind: Kind, key: WrappedDataKey) -> Finding:
    return Finding(kind, "data_keys", "id", key.id[:8].hex())


@dataclass(frozen=True, slots=True)
class Indexed:
    """A field as editions have it; how, and since when, its values are indexed (seconds, 1970)."""

    field: Field
    index: Index | None
    since: float


class Examiner:
    """Looks at records of one compartment, by all editions that there were."""

    def __init__(self, served: ServedCompartment, editions: Mapping[int, Edition]) -> None:
        self._served = served
        self._known = known_fields(served.uuid, editions)
        self._region = editions[max(editions)].region

    async def look(self, rows: Rows) -> Looked:
        """Open all that stands under one pseudonym, and hold it together.

        Raises VaultError(KEYS_UNAVAILABLE, STORAGE_UNAVAILABLE), or KEYS_SUSPENDED where the
        whole compartment is.
        """
        looked = Looked(rows)
        held = await self._data_keys(looked)
        if rows.row is None:
            for key in rows.data_keys:
                looked.findings.append(_of_data_key(Kind.DANGLING_DATA_KEY, key))
            for entry in rows.index:
                looked.findings.append(self._of_entry(Kind.DANGLING_INDEX, entry))
            return looked
        values = self._open(looked, rows.row, held)
        if values is not None:
            await self._index(looked, values)
        return looked

    async def _key(self, looked: Looked, name: KeyName) -> bytes | None:
        """Return a key, or None where nobody may open with it now, which is noted."""
        try:
            return await self._served.keyring.get(name)
        except VaultError as e:
            if e.reason is Reason.DAMAGED and looked.rows.row is not None:
                looked.found(Kind.DAMAGED_KEY)
            elif e.reason in _UNOPENED and not self._served.keyring.suspended:
                looked.unopened.append(str(e.reason))
            elif e.reason is not Reason.DAMAGED:
                raise
            return None

    async def _data_keys(self, looked: Looked) -> dict[bytes, DataKey | None]:
        """Unwrap all data keys; None stands for one that is there and doesn't open."""
        address = self._address(looked)
        held: dict[bytes, DataKey | None] = {}
        for key in looked.rows.data_keys:
            held[key.id] = None
            kek = await self._key(looked, KeyName(KeyKind.KEK, key.kek_version))
            if kek is None:
                continue
            try:
                opened = sealing.unwrap_data_key(kek, address, key.wrapped)
            except DamagedError:
                looked.findings.append(_of_data_key(Kind.DAMAGED_DATA_KEY, key))
                continue
            if opened.id == key.id:
                held[key.id] = opened
            else:
                looked.findings.append(_of_data_key(Kind.DAMAGED_DATA_KEY, key))
        return held

    def _open(
        self, looked: Looked, row: SealedRecord, held: Mapping[bytes, DataKey | None]
    ) -> Mapping[int, Value] | None:
        """Open both layers; return the values that opened, or None if the first doesn't."""
        try:
            wanted = row.data_key_id
        except DamagedError:
            looked.found(Kind.DAMAGED_RECORD)
            return None
        if wanted not in held:
            looked.found(Kind.MISSING_DATA_KEY)
            return None
        data_key, address = held[wanted], self._address(looked)
        if data_key is None:  # said of the data key, or of its KEK
            return None
        try:
            about = looked.about = sealing.open_record(address, data_key, row)
        except DamagedError:
            looked.found(Kind.DAMAGED_RECORD)
            return None
        values: dict[int, Value] = {}
        for item in about.fields:
            try:
                values |= sealing.open_fields(address, data_key, row, about, [item.uid])
            except DamagedError:
                looked.found(Kind.DAMAGED_FIELD, self._name(item.uid))
        looked.fields = len(about.fields)
        return values

    async def _index(self, looked: Looked, values: Mapping[int, Value]) -> None:
        """Compute each index row anew from its value; look for those that ought to be there."""
        assert looked.about is not None  # noqa: S101 -- it gave the values
        unread = {item.uid for item in looked.about.fields} - set(values)
        said: set[tuple[int, int]] = set()
        for entry in looked.rows.index:
            if entry.uid in unread:
                continue
            value = values.get(entry.uid)
            if value is None or entry.uid not in self._known:
                looked.findings.append(self._of_entry(Kind.DANGLING_INDEX, entry))
                continue
            said.add((entry.uid, entry.version))
            if await self._computed(looked, entry, value) is False:
                looked.findings.append(self._of_entry(Kind.WRONG_INDEX, entry))
        for uid, value in values.items() if not looked.about.kept else ():  # those aren't found by
            version = self._required(value)
            if version and (uid, version) not in said:
                looked.found(Kind.MISSING_INDEX, self._name(uid))

    async def _computed(self, looked: Looked, entry: StoredIndexRow, value: Value) -> bool | None:
        """Tell whether an index row is the one that a value gives; None without its key."""
        its = self._known[entry.uid]
        normalised = self._normalised(its.field, value)
        if normalised is None:
            return False
        key = await self._key(looked, KeyName(KeyKind.INDEX, entry.version, entry.uid))
        if key is None:
            return None
        slots = {looked.rows.pseudonym} | ({b""} if its.index is Index.UNIQUE else set())
        expected = blind_index.index_value(key, self._served.uuid, entry.uid, normalised)
        return entry.value == expected and entry.slot in slots

    def _required(self, value: Value) -> int | None:
        """Return the index version in which a value must have a row, if in any.

        Values from before their field was indexed have none until they are put anew.
        """
        its = self._known.get(value.uid)
        if its is None or (its.since and value.set_at < its.since + _EDITIONS_APART):
            return None
        name = self._served.keyring.latest(KeyKind.INDEX, value.uid)
        if name is None or self._normalised(its.field, value) is None:
            return None
        return name.version

    def _normalised(self, its: Field, value: Value) -> bytes | None:
        return blind_index.normalise(its.type.value, value.value, self._region)

    def _name(self, uid: int) -> str:
        its = self._known.get(uid)
        return its.field.name if its else f"uid {uid}"

    def _of_entry(self, kind: Kind, entry: StoredIndexRow) -> Finding:
        name = self._name(entry.uid)
        return Finding(kind, "blind_index", "value", entry.value[:16].hex(), name)

    def _address(self, looked: Looked) -> Address:
        return Address(self._served.uuid, looked.rows.pseudonym)


def known_fields(uuid: bytes, editions: Mapping[int, Edition]) -> Mapping[int, Indexed]:
    """Return every field that a compartment ever had, by uid, as the last edition with it says.

    Where that one doesn't index it any more, rows that an earlier one wrote may still be there.
    """
    known: dict[int, Indexed] = {}
    for number in sorted(editions):
        declared = editions[number].by_uuid.get(uuid)
        for uid, its in declared.by_uid.items() if declared else ():
            before = known.get(uid)
            if its.index is None:
                index = before.index if before else None
                known[uid] = Indexed(its, index, _NEVER)
            elif before is None:  # all its values were put under editions that index it
                known[uid] = Indexed(its, its.index, 0.0)
            elif before.since == _NEVER:
                known[uid] = Indexed(its, its.index, editions[number].in_force.timestamp())
            else:
                known[uid] = Indexed(its, its.index, before.since)
    return known

"""A compartment as this process serves it: storage, keys, trail, and how a record opens."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

from vault.audit.chain import Chain
from vault.audit.event import Event
from vault.crypto import capability
from vault.crypto import record as sealing
from vault.crypto.primitives import DamagedError, mac
from vault.crypto.record import Address, DataKey, SealedRecord, Value
from vault.errors import Reason, VaultError
from vault.keys.keyring import KeyKind, KeyName, Keyring, WrappedKey
from vault.names import Pseudonym
from vault.sealed.v1 import sealed_pb2
from vault.service.history import History
from vault.service.limits import Limits
from vault.store.commit import Committer
from vault.store.engine import Database
from vault.store.load import Loader, StoredRecord, WrappedDataKey
from vault.store.lookups import Identity, KeyRow, Lookups

FIRST_EPOCH = 1


class WrongDatabaseError(Exception):
    """The database belongs to another compartment."""


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """A record whose first layer is open: enough to decide. Its values are still sealed."""

    address: Address
    data_key: DataKey
    row: SealedRecord
    about: sealed_pb2.Record

    def values(self, uids: Iterable[int] | None = None) -> Mapping[int, Value]:
        """Open the second layer for these fields (all, if None); absent ones are left out.

        Call it once the event is durable, or to seal anew in a change.
        """
        return sealing.open_fields(self.address, self.data_key, self.row, self.about, uids)


class ServedCompartment:
    """One compartment's storage, keys and trail in this process."""

    def __init__(
        self,
        name: str,
        uuid: bytes,
        database: Database,
        keyring: Keyring,
        capability_keys: Mapping[bytes, bytes],
        history: History,
        limits: Limits,
    ) -> None:
        self.name = name
        self.uuid = uuid
        self._capability_keys = capability_keys
        self.history = history
        self.limits = limits
        self.database = database
        self.keyring = keyring
        self.loader = Loader(database)
        self.lookups = Lookups(database)
        self.epoch = FIRST_EPOCH
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        chain = Chain(uuid, self._audit_key)
        self.committer: Committer[Event] = Committer(database, chain, lambda: self.epoch)

    async def establish(self) -> Identity:
        """Make sure that database and key server belong together; draw first keys for a new one.

        Returns what the database says of itself.

        Raises WrongDatabaseError, keyring.WrongKeyServerError, VaultError. Two processes that
        meet a new compartment together end with the keys of one of them.
        """
        if await self.lookups.identity() is None:
            await self._found()
        identity = await self.lookups.identity()
        if identity is None or identity.uuid != self.uuid:
            raise WrongDatabaseError(
                f"This database belongs to another compartment than {self.name}. "
                "Check the `url` in the configuration; nothing was changed."
            )
        await self.keyring.check_canary(identity.canary)
        self.epoch = identity.epoch
        await self._take_keys()
        return identity

    async def close(self) -> None:
        """Finish what waits, then let go of the database."""
        await self.committer.close()
        await self.loader.close()
        await self.database.close()

    def address(self, pseudonym: str) -> Address:
        """Read a pseudonym; raise VaultError(MALFORMED_PSEUDONYM) if it can't be one."""
        try:
            return Address(self.uuid, Pseudonym.parse(pseudonym).raw)
        except ValueError:
            raise VaultError(
                Reason.MALFORMED_PSEUDONYM,
                "That is no pseudonym: one is psn_ and 43 characters, from PseudonymService.",
                violations={"pseudonym": "is malformed"},
            ) from None

    def bearer(self, token: str, holder: str) -> Address:
        """Return whose record the holder of a capability may act on, or raise VaultError."""
        pseudonym = capability.verify(token, self._capability_keys, self.uuid, holder, time.time())
        return Address(self.uuid, pseudonym.raw)

    async def open(self, address: Address) -> OpenedRecord:
        """Load a record and open its first layer.

        Raises VaultError(NOT_FOUND, ERASED, DAMAGED, KEYS_UNAVAILABLE, STORAGE_UNAVAILABLE).
        """
        opened = await self.open_if_any(address)
        if opened is not None:
            return opened
        if await self.lookups.has_tombstone(await self.tombstone(address)):
            raise VaultError(Reason.ERASED, "The subject erased their data here.")
        raise VaultError(
            Reason.NOT_FOUND, f"Nothing is registered under this pseudonym in {self.name}."
        )

    async def open_if_any(self, address: Address) -> OpenedRecord | None:
        """Load a record and open its first layer, or return None."""
        stored = await self.loader.load(address.pseudonym)
        if stored is None:
            return None
        try:
            return await self._open(address, stored)
        except DamagedError as e:
            raise VaultError(
                Reason.DAMAGED,
                f"A record's bytes in {self.name} don't hold: {e}. "
                "The security team must look at this.",
            ) from None

    async def _open(self, address: Address, stored: StoredRecord) -> OpenedRecord:
        row = SealedRecord(stored.row_version, stored.sealed)
        wrapped = stored.data_keys.get(row.data_key_id)
        if wrapped is None:
            raise DamagedError("its data key is missing")
        kek = await self.keyring.get(KeyName(KeyKind.KEK, wrapped.kek_version))
        data_key = sealing.unwrap_data_key(kek, address, wrapped.wrapped)
        return OpenedRecord(address, data_key, row, sealing.open_record(address, data_key, row))

    def turn(self, address: Address) -> asyncio.Lock:
        """Return the lock that writers of a record in this process take turns by."""
        return self._turns.setdefault(address.pseudonym, asyncio.Lock())

    async def wrap(self, address: Address, data_key: DataKey) -> WrappedDataKey:
        """Wrap a data key under the newest KEK."""
        name = self._newest(KeyKind.KEK)
        wrapped = sealing.wrap_data_key(await self.keyring.get(name), address, data_key)
        return WrappedDataKey(data_key.id, name.version, wrapped)

    async def tombstone(self, address: Address) -> bytes:
        """Return what an erasure of this record leaves behind."""
        return await self.mark(b"tombstone", address.pseudonym)

    async def mark(self, *parts: bytes) -> bytes:
        """Return a keyed hash: recognised again here, of no meaning elsewhere."""
        return mac(await self.keyring.get(self._newest(KeyKind.LOOKUP)), *parts)

    async def index_key(self, uid: int) -> bytes:
        """Return the index key of a field; a field that is new in the edition gets its first."""
        name = self.keyring.latest(KeyKind.INDEX, uid)
        if name is None:
            first = await self.keyring.new_key(KeyName(KeyKind.INDEX, field=uid))
            await self.lookups.add_key(_row(first))
            await self._take_keys()  # ours, or that of whoever was first
            name = self._newest(KeyKind.INDEX, uid)
        return await self.keyring.get(name)

    async def _audit_key(self) -> tuple[bytes, int]:
        name = self._newest(KeyKind.AUDIT)
        return await self.keyring.get(name), name.version

    def _newest(self, kind: KeyKind, uid: int = 0) -> KeyName:
        name = self.keyring.latest(kind, uid)
        if name is None:
            raise VaultError(Reason.DAMAGED, f"The keyring of {self.name} lacks its {kind} key.")
        return name

    async def _found(self) -> None:
        """Give a new database its identity and first keys."""
        kinds = (KeyKind.KEK, KeyKind.AUDIT, KeyKind.LOOKUP)
        keys = [await self.keyring.new_key(KeyName(kind)) for kind in kinds]
        canary = await self.keyring.new_canary()
        identity = Identity(self.uuid, FIRST_EPOCH, 0, b"", b"", canary)
        await self.lookups.establish(identity, [_row(key) for key in keys])

    async def _take_keys(self) -> None:
        self.keyring.hold([_key(row) for row in await self.lookups.keyring()])


def _row(key: WrappedKey) -> KeyRow:
    return KeyRow(key.name.kind, key.name.field, key.name.version, key.state, key.wrapped)


def _key(row: KeyRow) -> WrappedKey:
    return WrappedKey(KeyName(KeyKind(row.kind), row.version, row.field), row.state, row.wrapped)


def now() -> int:
    """Return the time in seconds since 1970."""
    return int(time.time())

"""A compartment as this process serves it: its storage, keys and trail."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from vault.audit.chain import Chain
from vault.audit.event import Event, SameSaid
from vault.crypto import attestation, capability
from vault.crypto import record as sealing
from vault.crypto.attestation import Attestation, Kind
from vault.crypto.primitives import mac
from vault.crypto.record import Address, DataKey
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState, Standing, check_state
from vault.keys.keyring import Keyring, clock
from vault.keys.signing import SigningKey
from vault.names import Pseudonym
from vault.service.call import Call
from vault.service.drawing import check_drawn, draw, until_written
from vault.service.flood import DENIALS_PER_SECOND, Flood
from vault.service.history import History
from vault.service.key_rows import key_of, row_of
from vault.service.limits import Limits
from vault.service.metrics import Metrics
from vault.service.opened import Opener
from vault.service.places import MOST_RECORDS, Places
from vault.store.commit import Committer
from vault.store.engine import Database
from vault.store.jobs import KeysChangedError
from vault.store.load import Loader, WrappedDataKey
from vault.store.lookups import SUSPENDED, Identity, Lookups
from vault.store.requests import Requests

FIRST_EPOCH = 1
KEY_STALE_AFTER = 10.0  # seconds


class WrongDatabaseError(Exception):
    """The database belongs to another compartment."""


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
        *,
        denials_per_second: float = DENIALS_PER_SECOND,
        metrics: Metrics | None = None,
        key_stale_after: float = KEY_STALE_AFTER,
        snapshot_retention_days: int | None = None,
        most_records: int = MOST_RECORDS,
        signing: SigningKey | None = None,
    ) -> None:
        self.name = name
        self.uuid = uuid
        self._capability_keys = capability_keys
        self.history = history
        self.limits = limits
        self.places = Places(most_records)
        self.database = database
        self.keyring = keyring
        self.loader = Loader(database)
        self.records = Opener(name, self.loader, keyring, self.is_erased)
        self.lookups = Lookups(database)
        self.requests = Requests(database)
        self.key_stale_after = key_stale_after
        self.snapshot_retention_days = snapshot_retention_days
        self._signing = signing
        keyring.watch(self.look_beyond, key_stale_after)
        self._looking = asyncio.Lock()
        self.rotation_wanted = asyncio.Event()  # wakes whoever carries rotations out
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        chain = Chain(uuid, self.audit_key)
        self.committer: Committer[Event | SameSaid] = Committer(
            database, chain, lambda: keyring.epoch, (metrics or Metrics()).wrote(name)
        )
        self.flood = Flood(self.committer.record, denials_per_second)

    async def establish(self) -> Identity:
        """Make sure that database and key server belong together; draw first keys for a new one.

        Returns what the database says of itself. Two processes that meet a new compartment together
        end with the keys of one of them. Raises WrongDatabaseError, keyring.WrongKeyServerError,
        VaultError.
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
        await self.look_at_keys()
        return identity

    @property
    def epoch(self) -> int:
        """The epoch of the keys that this process has."""
        return self.keyring.epoch

    async def look_at_keys(self) -> None:
        """Read the epoch, the state and the wrapped keys, and take them over.

        Raises VaultError(STORAGE_UNAVAILABLE).
        """
        at = clock()
        own, rows = await self.lookups.standing()
        if own is not None:
            suspended = own.state == SUSPENDED
            ring = [key_of(row) for row in rows]
            self.keyring.adopt(Standing(own.epoch, suspended, ring, at, own.evicted))

    async def look_beyond(self, known: Standing) -> None:
        """Look at the keys anew, unless somebody here did since this was all that was known."""
        async with self._looking:
            if self.keyring.standing is known:
                await self.look_at_keys()

    async def probe_key_server(self) -> None:
        """Have the key server open the canary, as it is stored now.

        Raises KeyServerError, keyring.WrongKeyServerError, VaultError(STORAGE_UNAVAILABLE).
        """
        identity = await self.lookups.identity()
        if identity is not None:
            await self.keyring.probe(identity.canary)

    async def close(self) -> None:
        """Finish what waits, then let go of the database."""
        await self.flood.close()
        await self.committer.close()
        await self.loader.close()
        await self.lookups.close()
        await self.requests.close()
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

    def bearer(self, token: str, holder: str, export_key: bytes = b"") -> Address:
        """Return whose record the holder of a capability may act on, or raise VaultError.

        With the thumbprint of an export key: whose record they may export to that key.
        """
        pseudonym = capability.verify(
            token, self._capability_keys, self.uuid, holder, time.time(), export_key
        )
        return Address(self.uuid, pseudonym.raw)

    async def touch(self, call: Call) -> None:
        """Return once the control chain has it that the caller's owner touched this compartment.

        Raises VaultError(NOT_GRANTED, POLICY_UNAVAILABLE), as `History.touch` does.
        """
        if await self.history.touch(call, self.uuid):
            # Here too, durably: a control chain without this touch is refused from now on.
            await self.lookups.saw_ledger(*self.history.seen)

    @asynccontextmanager
    async def writing(self, addresses: Iterable[Address]) -> AsyncIterator[None]:
        """Let the writers of records in this process take turns, each at all of its own.

        In one order: else two, each of whom has what the other waits for, would wait for ever.
        """
        pseudonyms = sorted(address.pseudonym for address in addresses)
        locks = [self._turns.setdefault(its, asyncio.Lock()) for its in pseudonyms]
        taken = 0
        try:
            for lock in locks:
                await lock.acquire()
                taken += 1
            yield
        finally:
            for lock in locks[:taken]:
                lock.release()

    async def wrap(self, address: Address, data_key: DataKey) -> WrappedDataKey:
        """Wrap a data key under the newest active KEK. Raises VaultError, KeysChangedError."""
        name = self._newest(KeyKind.KEK)
        wrapped = sealing.wrap_data_key(await self.key_in_use(name), address, data_key)
        return WrappedDataKey(data_key.id, name.version, wrapped)

    async def key_in_use(self, name: KeyName) -> bytes:
        """Return a key that was the one to use, when its name was looked up.

        Raises KeysChangedError if it was rotated out and destroyed since: by a process that was
        stopped in between, say. Whoever planned with it plans anew.
        """
        try:
            return await self.keyring.get(name)
        except VaultError as e:
            if e.reason is not Reason.KEY_DESTROYED:
                raise
        raise KeysChangedError

    async def tombstone(self, address: Address) -> bytes:
        """Return what an erasure of this record leaves behind."""
        return await self.mark(b"tombstone", address.pseudonym)

    async def is_erased(self, address: Address) -> bool:
        """Tell whether an erasure of this record left its tombstone."""
        return await self.lookups.has_tombstone(await self.tombstone(address))

    async def mark(self, *parts: bytes) -> bytes:
        """Return a keyed hash: recognised again here, of no meaning elsewhere."""
        (mark,) = await self.marks(parts)
        return mark

    async def marks(self, *of: Sequence[bytes]) -> Sequence[bytes]:
        """Return a keyed hash of each, as `mark` does."""
        key = await self.keyring.get(self._newest(KeyKind.LOOKUP))
        return [mac(key, *parts) for parts in of]

    async def attest(self, kind: Kind, body: bytes) -> bytes:
        """Sign something for a subject, who can show it to others.

        Raises VaultError(KEYS_UNAVAILABLE, KEYS_SUSPENDED).
        """
        await self.keyring.current()
        self.keyring.check_serving()
        said = Attestation(kind, self.uuid, body)
        payload, signature = await self.signing.sign(self.uuid, said.payload, attestation.to_sign)
        return payload + signature

    @property
    def signing(self) -> SigningKey:
        """The key that signs what subjects are handed; a drill's compartment has none."""
        if self._signing is None:
            raise VaultError(Reason.KEYS_UNAVAILABLE, "Nothing is signed by this process.")
        return self._signing

    async def index_names(self, uid: int) -> Sequence[KeyName]:
        """Return the index keys of a field that write: the active one, then one being built.

        A field that is new in the edition gets its first.
        """
        versions = self.keyring.versions(KeyKind.INDEX, uid)
        if not versions:
            await until_written(lambda: self._draw_index_key(uid))
            await self.look_at_keys()  # ours, or that of whoever was first
            versions = self.keyring.versions(KeyKind.INDEX, uid)
        building = [row.name for row in versions if row.state == KeyState.BUILDING]
        return [self._newest(KeyKind.INDEX, uid), *building]

    async def _draw_index_key(self, uid: int) -> None:
        first = await draw(self.keyring, self.lookups, KeyName(KeyKind.INDEX, field=uid))
        await self.lookups.add_key(row_of(first), check_drawn)

    async def audit_key(self) -> tuple[bytes, int]:
        """Return the audit-data key that writes, and its version; it goes on in a suspension."""
        name = self._newest(KeyKind.AUDIT)
        return await self.keyring.get(name), name.version

    def _newest(self, kind: KeyKind, uid: int = 0) -> KeyName:
        name = self.keyring.latest(kind, uid)
        if name is not None:
            return name
        for row in reversed(self.keyring.versions(kind, uid)):
            check_state(row.name, row.state)  # says why the newest doesn't write
            if row.state == KeyState.BUILDING:
                raise VaultError(
                    Reason.KEYS_UNAVAILABLE,
                    "The index of this field is being built, after a restore. Retry later.",
                    retry_after=60.0,
                )
        raise VaultError(
            Reason.DAMAGED, f"The keyring of {self.name} has no {kind} key that may write."
        )

    async def _found(self) -> None:
        """Give a new database its identity and first keys."""
        kinds = (KeyKind.KEK, KeyKind.AUDIT, KeyKind.LOOKUP)
        keys = [await self.keyring.new_key(KeyName(kind)) for kind in kinds]
        canary = await self.keyring.new_canary()
        identity = Identity(self.uuid, FIRST_EPOCH, 0, b"", b"", canary)
        await self.lookups.establish(identity, [row_of(key) for key in keys])


def now() -> int:
    """Return the time in seconds since 1970."""
    return int(time.time())

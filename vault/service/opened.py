"""Opening records: the first layer to decide by, the second for the values."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from vault.crypto import record as sealing
from vault.crypto.primitives import DamagedError, Key, cipher
from vault.crypto.record import Address, DataKey, SealedRecord, Value
from vault.errors import Reason, VaultError, returned
from vault.frozen import dataclass
from vault.keys.key import KeyKind, KeyName
from vault.keys.keyring import Keyring
from vault.sealed.v1 import sealed_pb2
from vault.store.load import Loader, StoredRecord


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """A record whose first layer is open: enough to decide. Its values are still sealed.

    `may_open` raises VaultError unless its KEK may be used now.
    """

    address: Address
    data_key: DataKey
    row: SealedRecord
    about: sealed_pb2.Record
    may_open: Callable[[], None]

    def copied_about(self) -> sealed_pb2.Record:
        """Return a copy of what is said about the record, to be changed."""
        about = sealed_pb2.Record()
        about.CopyFrom(self.about)
        return about

    def values(self, uids: Iterable[int] | None = None) -> Mapping[int, Value]:
        """Open the second layer for these fields (all, if None); absent ones are left out.

        Call it once the event is durable, or to seal anew in a change. Raises VaultError where
        the keys were suspended since the first layer was opened, or that can't be told.
        """
        self.may_open()
        return sealing.open_fields(self.address, self.data_key, self.row, self.about, uids)


@dataclass(frozen=True, slots=True)
class _Kek:
    """The key of data keys, and whether what it opened may be read on."""

    key: Key
    may_open: Callable[[], None]


class Opener:
    """Loads a compartment's records and opens their first layer."""

    def __init__(
        self,
        compartment: str,
        loader: Loader,
        keyring: Keyring,
        is_erased: Callable[[Address], Awaitable[bool]],
    ) -> None:
        self._compartment = compartment
        self._loader = loader
        self._keyring = keyring
        self._is_erased = is_erased

    async def open(self, address: Address) -> OpenedRecord:
        """Load a record and open its first layer.

        What the law has kept of an erased one lies under no subject's pseudonym: nobody may name
        its place (`keep` opens it). Raises VaultError(NOT_FOUND, ERASED, DAMAGED, KEYS_UNAVAILABLE,
        KEYS_SUSPENDED, KEY_DESTROYED, STORAGE_UNAVAILABLE).
        """
        (opened,) = await self.open_each((address,))
        return returned(opened)

    async def open_each(self, addresses: Sequence[Address]) -> Sequence[OpenedRecord | VaultError]:
        """Load records together; return of each what `open` returns or raises.

        Raises VaultError(STORAGE_UNAVAILABLE).
        """
        opened = await self.open_each_or_none(addresses)
        found = [None if _is_kept(its) else its for its in opened]
        absent = [address for address, its in zip(addresses, found, strict=True) if its is None]
        if not absent:
            return [its for its in found if its is not None]
        why = iter(await asyncio.gather(*map(self._why_absent, absent)))
        return [next(why) if its is None else its for its in found]

    async def _why_absent(self, address: Address) -> VaultError:
        try:
            if await self._is_erased(address):
                return VaultError(Reason.ERASED, "The subject erased their data here.")
        except VaultError as e:
            return e
        where = self._compartment
        return VaultError(
            Reason.NOT_FOUND, f"Nothing is registered under this pseudonym in {where}."
        )

    async def open_or_none(self, address: Address) -> OpenedRecord | None:
        """Return what lies there, kept by the law or not, opened as `open` does; None if nothing.

        Raises VaultError.
        """
        (opened,) = await self.open_each_or_none((address,))
        return returned(opened)

    async def open_each_or_none(
        self, addresses: Sequence[Address]
    ) -> Sequence[OpenedRecord | VaultError | None]:
        """Return of each what `open_or_none` returns or raises.

        Raises VaultError(STORAGE_UNAVAILABLE).
        """
        opened = await self._read(addresses)
        late = [n for n, its in enumerate(opened) if _is_destroyed(its)]
        if late:  # their data keys may have a newer KEK since they were read
            again = await self._read([addresses[n] for n in late])
            for n, its in zip(late, again, strict=True):
                opened[n] = its
        return opened

    async def _read(self, addresses: Sequence[Address]) -> list[OpenedRecord | VaultError | None]:
        stored = await self._loader.load_each([address.pseudonym for address in addresses])
        keks: dict[int, _Kek | VaultError] = {}
        return [await self._open(its, stored.get(its.pseudonym), keks) for its in addresses]

    async def _open(
        self, address: Address, stored: StoredRecord | None, keks: dict[int, _Kek | VaultError]
    ) -> OpenedRecord | VaultError | None:
        if stored is None:
            return None
        try:
            row = SealedRecord(stored.row_version, stored.sealed)
            wrapped = stored.data_keys.get(row.data_key_id)
            if wrapped is None:
                raise DamagedError("its data key is missing")
            if wrapped.kek_version not in keks:
                keks[wrapped.kek_version] = await self._kek(wrapped.kek_version)
            kek = keks[wrapped.kek_version]
            if isinstance(kek, VaultError):
                return kek
            data_key = sealing.unwrap_data_key(kek.key, address, wrapped.wrapped)
            about = sealing.open_record(address, data_key, row)
            return OpenedRecord(address, data_key, row, about, kek.may_open)
        except DamagedError as e:
            return VaultError(
                Reason.DAMAGED,
                f"A record's bytes in {self._compartment} don't hold: {e}. "
                "The security team must look at this.",
            )

    async def _kek(self, version: int) -> _Kek | VaultError:
        name = KeyName(KeyKind.KEK, version)
        try:
            return _Kek(cipher(await self._keyring.get(name)), partial(self._may_open, name))
        except VaultError as e:
            return e

    def _may_open(self, name: KeyName) -> None:
        """Raise VaultError unless a record may be read on, whose data key this KEK opened.

        A KEK that was destroyed since then wraps its data key no more, a newer one does: what began
        before ends.
        """
        try:
            self._keyring.check(name)
        except VaultError as e:
            if e.reason is not Reason.KEY_DESTROYED:
                raise


def _is_kept(opened: OpenedRecord | VaultError | None) -> bool:
    """Tell whether it is what the law has kept: that is read by its subject's pseudonym alone."""
    return isinstance(opened, OpenedRecord) and bool(opened.about.kept)


def _is_destroyed(opened: OpenedRecord | VaultError | None) -> bool:
    return isinstance(opened, VaultError) and opened.reason is Reason.KEY_DESTROYED

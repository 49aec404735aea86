"""A restore drill: whether backups bring back every living record, and no erased one."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, SealedRecord, open_record, unwrap_data_key
from vault.errors import UNREADABLE, VaultError
from vault.keys.key import KeyKind, KeyName
from vault.sealed.v1 import sealed_pb2
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.verify import Kind, Report, verify_compartment
from vault.service.verify_trail import batches, first_day, subject_tokens
from vault.store.backup import Progress
from vault.store.drill import Compared, compare
from vault.store.engine import Database
from vault.store.load import Loader
from vault.store.restore import Restored, restore_compartment
from vault.store.walk import events_of


@dataclass(frozen=True, slots=True)
class Drilled:
    """What came back, how it opens, and how the live database compares with it."""

    restored: Restored
    report: Report
    compared: Compared | None

    @property
    def in_backup(self) -> int:
        """How many records the data backup has."""
        return self.restored.rows["records"] + self.restored.erased

    @property
    def opened(self) -> int:
        """How many records came back and read: every envelope opens."""
        return self.report.opened

    @property
    def passed(self) -> bool:
        """Whether every living record reads, and no erased one does."""
        together = self.compared
        kept = together is None or not (together.living_lost or together.erased_back)
        nobody_back = not self.report.counts[Kind.ERASED_BACK]
        return kept and nobody_back and self.opened == self.restored.rows["records"]


async def drill(
    served: ServedCompartment,
    editions: Editions,
    data: Path,
    keys: Path,
    live: Database | None,
    progress: Progress = lambda what, done, total: None,
) -> Drilled:
    """Restore into `served`, whose database is an empty scratch; open all of it.

    Raises BackupError, SchemaError, keyring.WrongKeyServerError, VaultError.
    """
    restored = await restore_compartment(served.database, served.uuid, data, keys, progress)
    await served.establish()
    compared = None
    if live is not None:
        loader = Loader(live)

        async def lasting(pseudonyms: Collection[bytes]) -> set[bytes]:
            return {raw for raw in pseudonyms if await _is_lasting(loader, served, raw)}

        try:
            compared = await compare(data, served.database, live, lasting, progress)
        finally:
            await loader.close()

    def opening(what: str, done: int, total: int) -> None:
        progress(f"open {what}", done, total)

    report = await verify_compartment(served, editions, progress=opening)
    return Drilled(restored, report, compared)


async def _is_lasting(live: Loader, restored: ServedCompartment, pseudonym: bytes) -> bool:
    """Tell whether who lives now was registered, by the same registration, in the data backup.

    Each registration draws a salt for the tokens of its events: the trail in the data backup has
    some of them, or it began later. Where it can't be told, nobody is passed for erased.
    """
    address = Address(restored.uuid, pseudonym)
    try:
        about = await _open(live, restored, address)
    except DamagedError:
        return True
    except VaultError as e:
        if e.reason not in UNREADABLE:
            raise
        return True
    if about is None:  # erased just now
        return False
    for tokens in batches(subject_tokens(about.audit_salt, first_day(about))):
        if await events_of(restored.database, tokens):
            return True
    return False


async def _open(
    live: Loader, restored: ServedCompartment, address: Address
) -> sealed_pb2.Record | None:
    """Open the first layer of a live record, with the keys that were restored."""
    stored = await live.load(address.pseudonym)
    if stored is None:
        return None
    row = SealedRecord(stored.row_version, stored.sealed)
    wrapped = stored.data_keys.get(row.data_key_id)
    if wrapped is None:
        raise DamagedError("its data key is missing")
    kek = await restored.keyring.get(KeyName(KeyKind.KEK, wrapped.kek_version))
    return open_record(address, unwrap_data_key(kek, address, wrapped.wrapped), row)

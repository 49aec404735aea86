"""A restore drill: whether backups bring back every living record, and no erased one."""

from dataclasses import dataclass
from pathlib import Path

from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.verify import Kind, Report, verify_compartment
from vault.store.backup import Progress
from vault.store.drill import Compared, compare
from vault.store.engine import Database
from vault.store.restore import Restored, restore_compartment


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
    compared = await compare(data, served.database, live, progress) if live else None

    def opening(what: str, done: int, total: int) -> None:
        progress(f"open {what}", done, total)

    report = await verify_compartment(served, editions, progress=opening)
    return Drilled(restored, report, compared)

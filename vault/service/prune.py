"""Retention of a trail: what is old enough is cut off at a checkpoint, and the rest still verifies.

The auditor says in a signed checkpoint what may go (`[auditor] keep_days`); the tables' owner
deletes it. Neither can do it alone.
"""

from dataclasses import dataclass

from vault.audit.checkpoint import Checkpoint
from vault.audit.verification import Verdict
from vault.service.verify_chains import Keys, Progress, ShippedFile, verify_database
from vault.store.checkpoints import checkpoints_from, cut_off, last_checkpoint
from vault.store.engine import Database
from vault.store.events import read_heads


class PruneError(Exception):
    """Nothing may be cut off; the message says why."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was cut off: how many events, and at which checkpoint."""

    events: int
    at: Checkpoint
    before: Verdict


async def prune(
    database: Database,
    shipped: ShippedFile | None,
    keys: Keys,
    progress: Progress = lambda what, done, total: None,
) -> Pruned:
    """Verify a trail, then delete what its newest checkpoint says may go.

    A trail that doesn't hold is left as it is: it is evidence. So is the last event of each
    writer, by which backups know what came before them. Raises PruneError, NoTrailError,
    VaultError(STORAGE_UNAVAILABLE).
    """
    verdict = await verify_database(database, shipped, keys, progress)
    if not verdict.holds:
        raise PruneError(
            f"The trail doesn't hold, so nothing of it is deleted: {verdict.faults.first}. "
            "`piivault audit verify` says more."
        )
    newest = await last_checkpoint(database)
    base = Checkpoint.read(newest.body).base if newest else None
    if base is None:
        raise PruneError(
            "No checkpoint says that anything may go. Set `keep_days` in [auditor], and wait for "
            "events that are older, and for the next checkpoint."
        )
    (row,) = await checkpoints_from(database, base.number, 1)
    at = Checkpoint.read(row.body)
    stored = await read_heads(database)
    first_kept = {  # a chain whose end is lost stays: its last event isn't the one that is signed
        writer: head.sequence
        for writer, head in at.heads.items()
        if stored.get(writer, -1) >= head.sequence
    }
    return Pruned(await cut_off(database, at.number, first_kept), at, verdict)

"""Retention of a trail: what is old enough is cut off at a checkpoint, and the rest still verifies.

The auditor says in a signed checkpoint what may go (`[auditor] keep_days`); the tables' owner
deletes it. Neither can do it alone.
"""

from dataclasses import dataclass

from vault.audit.checkpoint import Checkpoint
from vault.audit.signed import hash_of
from vault.audit.verification import Verdict
from vault.names import BROKER_TRAIL
from vault.service.verify_chains import Keys, Progress, ShippedFile, verify_database
from vault.store.checkpoints import checkpoints_from, cut_off
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
    uuid: bytes | None = None,
) -> Pruned:
    """Verify a trail, then delete what its newest checkpoint says may go.

    A trail that doesn't hold is left as it is: it is evidence. So is a writer's chain in which
    faults were accepted, and the last event of each writer, by which backups know what came
    before them. `uuid` is the compartment's, where it is known. Raises PruneError, NoTrailError,
    VaultError(STORAGE_UNAVAILABLE).
    """
    verdict = await verify_database(database, shipped, keys, progress, uuid)
    if not verdict.holds:
        raise PruneError(
            f"The trail doesn't hold, so nothing of it is deleted: {verdict.faults.first}. "
            "`piivault audit verify` says more."
        )
    newest = verdict.last  # the one that was verified: what is stored since may be anybody's
    if newest is None or newest.base is None:
        raise PruneError(
            "No checkpoint says that anything may go. Set `keep_days` in [auditor], and wait for "
            "events that are older, and for the next checkpoint."
        )
    rows = await checkpoints_from(database, newest.base.number, 1)
    if not rows or hash_of(rows[0].body) != newest.base.hash:
        raise PruneError(
            f"Checkpoint {newest.base.number}, where the trail may be cut off, isn't stored as it "
            "was signed, so nothing is deleted. `piivault audit verify` says more."
        )
    at, stored = Checkpoint.read(rows[0].body), await read_heads(database)
    noted = {writer for writer, _, _ in newest.accepted}
    first_kept = {  # a chain whose end is lost stays: its last event isn't the one that is signed
        writer: head.sequence
        for writer, head in at.heads.items()
        if writer not in noted and stored.get(writer, -1) >= head.sequence
    }
    begins = None if at.compartment == BROKER_TRAIL else at.at
    return Pruned(await cut_off(database, at.number, first_kept, begins), at, verdict)

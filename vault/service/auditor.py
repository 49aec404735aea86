"""The auditor's look at a trail when it starts: whether it can be read, and its end holds.

A trail that doesn't hold is reported and keeps no auditor from starting: somebody must say so.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise

from vault.audit.chain import WRITER_BYTES, Break, Link, first, hash_of, misplaced, open_event
from vault.audit.checkpoint import Checkpoint
from vault.audit.signed import CheckpointError
from vault.crypto.primitives import DamagedError
from vault.errors import UNREADABLE, VaultError
from vault.keys.key import KeyKind, KeyName
from vault.keys.keyring import Keyring
from vault.service.compartment import WrongDatabaseError
from vault.service.reading import why_unopened
from vault.store.broker import whose_trail
from vault.store.checkpoints import checkpoints_from, last_checkpoint
from vault.store.engine import Database
from vault.store.events import read_ends

log = logging.getLogger("piivault.audit")


async def look_at_trail(name: str, uuid: bytes, database: Database, keyring: Keyring) -> None:
    """Open the last events of each writer, and log which don't hold.

    A database that no worker has begun yet has no trail. Raises WrongDatabaseError,
    VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE).
    """
    whose = await whose_trail(database)
    if whose is None:
        return
    if whose != uuid:
        raise WrongDatabaseError(
            f"This database belongs to another compartment than {name}. "
            "Check the `url` in the configuration; nothing was changed."
        )
    links = [Link(*row) for row in await read_ends(database)]
    unopened = [b for link in links if (b := await _unopened(uuid, link, keyring))]
    broken = broken_ends(uuid, links, await _begins_at(database))
    for found in (*unopened, *broken):
        writer = found.writer[:WRITER_BYTES].hex()  # somebody may have stored a longer one
        where = f"the trail of {name}, writer {writer}, event {found.sequence}"
        log.error("%s: %s", where, found.what)


async def _unopened(uuid: bytes, link: Link, keyring: Keyring) -> Break | None:
    try:
        open_event(await keyring.get(KeyName(KeyKind.AUDIT, link.key_version)), uuid, link)
    except DamagedError as e:
        return Break(link.writer, link.sequence, str(e))
    except VaultError as e:
        if e.reason not in UNREADABLE:
            raise
        return Break(link.writer, link.sequence, why_unopened(e.reason))
    return None


async def _begins_at(database: Database) -> Mapping[bytes, int]:
    """Return where chains begin that were cut off for their age; nobody's word is checked here."""
    last, rows = await last_checkpoint(database), await checkpoints_from(database, 0, 1)
    try:
        base = Checkpoint.read(last.body).base if last else None
        if base and rows and rows[0].number <= base.number:
            heads = Checkpoint.read(rows[0].body).heads
            return {writer: head.sequence for writer, head in heads.items()}
    except CheckpointError as e:
        log.error("a checkpoint %s", e)
    return {}


def broken_ends(
    compartment: bytes, links: Sequence[Link], begins_at: Mapping[bytes, int] | None = None
) -> Iterator[Break]:
    """Check the last links of chains, sorted by writer and sequence; yield each break.

    `begins_at` says by writer where a chain may begin, other than at 0.
    """
    sound = [link for link in links if not misplaced(link)]  # others don't open, and have no hash
    for writer, group in groupby(sound, key=lambda link: link.writer):
        end = list(group)
        if end[0].sequence == 0 and end[0].previous != first(compartment, writer):
            yield Break(writer, 0, "isn't the first event of its writer")
        for before, link in pairwise(end):
            if link.previous != hash_of(compartment, before):
                yield Break(writer, link.sequence, "doesn't follow from the event before it")
        if end[-1].sequence and len(end) == 1 and end[-1].sequence != (begins_at or {}).get(writer):
            yield Break(writer, end[-1].sequence, "events are missing before this one")

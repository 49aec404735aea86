"""The auditor's look at a trail when it starts: whether it can be read, and its end holds.

A trail that doesn't hold is reported and keeps no auditor from starting: somebody must say so.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from vault.audit.chain import Break, Link, first, hash_of, open_event
from vault.crypto.primitives import DamagedError
from vault.keys.keyring import KeyKind, KeyName, Keyring, WrappedKey
from vault.service.compartment import WrongDatabaseError
from vault.store.engine import Database
from vault.store.events import read_ends
from vault.store.lookups import Lookups

log = logging.getLogger("piivault.audit")


async def look_at_trail(name: str, uuid: bytes, database: Database, keyring: Keyring) -> None:
    """Open the last events of each writer, and log which don't hold.

    A database that no worker has begun yet has no trail. Raises WrongDatabaseError,
    VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE).
    """
    lookups = Lookups(database)
    identity = await lookups.identity()
    if identity is None:
        return
    if identity.uuid != uuid:
        raise WrongDatabaseError(
            f"This database belongs to another compartment than {name}. "
            "Check the `url` in the configuration; nothing was changed."
        )
    rows = [row for row in await lookups.keyring() if row.kind == KeyKind.AUDIT]
    keyring.hold(
        [WrappedKey(KeyName(KeyKind.AUDIT, row.version), row.state, row.wrapped) for row in rows]
    )
    links = [Link(*row) for row in await read_ends(database)]
    unopened = [b for link in links if (b := await _unopened(uuid, link, keyring))]
    for found in (*unopened, *broken_ends(uuid, links)):
        where = f"the trail of {name}, writer {found.writer.hex()}, event {found.sequence}"
        log.error("%s: %s", where, found.what)


async def _unopened(uuid: bytes, link: Link, keyring: Keyring) -> Break | None:
    try:
        open_event(await keyring.get(KeyName(KeyKind.AUDIT, link.key_version)), uuid, link)
    except DamagedError as e:
        return Break(link.writer, link.sequence, str(e))
    return None


def broken_ends(compartment: bytes, links: Sequence[Link]) -> Iterator[Break]:
    """Check the last links of chains, sorted by writer and sequence; yield each break."""
    for writer, group in groupby(links, key=lambda link: link.writer):
        end = list(group)
        if end[0].sequence == 0 and end[0].previous != first(compartment, writer):
            yield Break(writer, 0, "isn't the first event of its writer")
        for before, link in pairwise(end):
            if link.previous != hash_of(compartment, before):
                yield Break(writer, link.sequence, "doesn't follow from the event before it")
        if end[-1].sequence and len(end) == 1:
            yield Break(writer, end[-1].sequence, "events are missing before this one")

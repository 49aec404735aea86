"""What a restored blind index needs: its rows may be of keys that are gone.

Data may be older than keys. Where an index was rotated in between, its rows are of the version
before, whose key is destroyed. Then no look-up goes by it, and no write makes rows in it, until a
worker has built the present version anew from the records: a rotation that is written here.
"""

import os
import time
from itertools import groupby
from operator import attrgetter

from sqlalchemy import select

from vault.store import tables as t
from vault.store.jobs import Transaction
from vault.store.lookups import KeyRow
from vault.store.rotation_rows import count
from vault.store.rotations import RUNNING, RotationRow, add, set_states


async def begin_rebuilding(transaction: Transaction) -> int:
    """Have workers build what is missing in restored indexes; return of how many fields."""
    pairs = select(t.blind_index.c.field, t.blind_index.c.version).distinct()
    held: dict[int, set[int]] = {}
    for uid, version in (await transaction.execute(pairs)).all():
        held.setdefault(uid, set()).add(version)
    kept = (t.keyring.c.kind == "index") & t.keyring.c.state.in_(("active", "building"))
    query = select(t.keyring).where(kept).order_by(t.keyring.c.field, t.keyring.c.version)
    keys = [KeyRow(*row) for row in (await transaction.execute(query)).all()]
    found = 0
    for uid, group in groupby(keys, key=attrgetter("field")):
        found += await _rebuild(transaction, uid, list(group), held.get(uid, set()))
    return found


async def _rebuild(transaction: Transaction, uid: int, keys: list[KeyRow], held: set[int]) -> bool:
    active = max((k.version for k in keys if k.state == "active"), default=0)
    lacking = any(version < active for version in held)
    building = max((k.version for k in keys if k.state == "building"), default=0)
    if not lacking and not building:
        return False
    to = building or active
    if lacking:
        becomes = "decrypt-only" if building else "building"
        await set_states(transaction, "index", uid, "active", becomes, active + 1)
    row = RotationRow(
        id=os.urandom(16),
        level="index",
        field=uid,
        state=RUNNING,
        from_version=min(held, default=0),
        to_version=to,
        done=0,
        total=await count(transaction, t.records),
        cursor=b"",
        error="",
        started=int(time.time()),
        ended=0,
    )
    await add(transaction, row)
    return True

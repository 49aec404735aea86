"""Rotations that wrap keys anew and leave what they seal as it is: of the KEK, of Transit."""

from collections.abc import AsyncIterator, Sequence

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, unwrap_data_key
from vault.errors import LOST, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState, transit_version
from vault.service.compartment import ServedCompartment
from vault.service.key_rows import row_of
from vault.service.rotation_steps import Did, Step, Work
from vault.store import keys, rotation_rows, rotations
from vault.store.jobs import Transaction
from vault.store.rotation_rows import DataKeyRow, in_epoch

_PAGE = 500  # data keys


async def kek(work: Work) -> AsyncIterator[Step]:
    """Wrap all data keys anew that an older KEK wraps."""
    async for step in _all_rewrapped(work):
        yield step
    if work.runs:
        yield await work.end()


async def epoch(work: Work) -> AsyncIterator[Step]:
    """Wrap all data keys anew, and destroy the older KEKs. The rest is an officer's to do."""
    if all_destroyed(work.served, work.row.to_version):
        return
    async for step in _all_rewrapped(work):
        yield step
    if work.row.unreadable:
        yield await work.end()
    elif await _destroy_older(work):
        yield Step(Did.DESTROYED)
    else:
        await work.begin_again()


async def transit(work: Work) -> AsyncIterator[Step]:
    """Have the key server wrap every key and the canary anew."""
    served = work.served
    wrapped = [key for key in served.keyring.rows if key.wrapped]
    for of_trail in (False, True):
        its = [key for key in wrapped if (key.name.kind is KeyKind.AUDIT) == of_trail]
        for key in sorted(its, key=lambda key: transit_version(key.wrapped)):
            anew = await served.keyring.rewrapped(key)
            if transit_version(anew) == transit_version(key.wrapped):
                break  # the oldest is as new as can be, so all others are
            await rotations.replace_wrapped(served.database, row_of(key), anew)
            yield await work.advance(b"", 1)
    identity = await served.lookups.identity()
    if identity is not None:
        anew = await served.keyring.rewrapped_canary(identity.canary)
        if transit_version(anew) != transit_version(identity.canary):
            await rotations.replace_canary(served.database, identity.canary, anew)
            yield await work.advance(b"", 1)
    if work.runs:
        yield await work.end()


def all_destroyed(served: ServedCompartment, below: int) -> bool:
    """Tell whether no KEK below a version is left."""
    older = [key for key in served.keyring.versions(KeyKind.KEK) if key.name.version < below]
    return all(key.state == KeyState.DESTROYED for key in older)


async def _all_rewrapped(work: Work) -> AsyncIterator[Step]:
    moved = work.row.cursor != b""  # another process came so far
    while work.runs:
        while work.runs and (page := await _page(work)):
            rewrapped = await _rewrap(work.served, page)
            moved = moved or rewrapped > 0
            unreadable = len(page) - rewrapped
            yield await work.advance(page[-1].pseudonym, len(page), unreadable=unreadable)
        if not moved:
            return
        await work.begin_again()  # for what was behind the cursor
        moved = False


async def _page(work: Work) -> Sequence[DataKeyRow]:
    row = work.row
    found = await rotation_rows.data_keys_below(
        work.served.database, row.to_version, row.cursor, _PAGE
    )
    whole = [key for key in found if key.pseudonym != found[-1].pseudonym]
    # Of the last pseudonym there may be more: its data keys come with the next page.
    return whole if whole and len(found) == _PAGE else found


async def _rewrap(served: ServedCompartment, page: Sequence[DataKeyRow]) -> int:
    """Wrap data keys anew under the newest KEK; return how many can be opened."""
    epoch, done = served.epoch, []
    for old in page:
        address = Address(served.uuid, old.pseudonym)
        try:
            key = await served.keyring.get(KeyName(KeyKind.KEK, old.kek_version))
            data_key = unwrap_data_key(key, address, old.wrapped)
        except DamagedError:
            continue
        except VaultError as e:
            if e.reason not in LOST:
                raise
            continue
        done.append((old, await served.wrap(address, data_key)))
    async with in_epoch(served.database, epoch) as transaction:
        await rotation_rows.rewrap(transaction, done)
    return len(done)


async def _destroy_older(work: Work) -> bool:
    """Take out all KEKs that are older than the new one; False if one is needed still."""
    below = work.row.to_version

    async def change(transaction: Transaction) -> bool:
        if await rotation_rows.count_data_keys_below(transaction, below):
            return False  # one was written since: the next run wraps it anew
        for key in await keys.versions(transaction, KeyKind.KEK, 0):
            if key.version < below and key.state != KeyState.DESTROYED:
                await rotations.destroy_key(transaction, key)
        await keys.next_epoch(transaction)
        return True

    return await work.alter(f"keys.destroy/kek/below/{below}", change)

"""Rewriting several records: what became of one is its own, whatever becomes of the others."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vault.crypto.record import Address, DataKey, SealedRecord, new_record, seal_record
from vault.errors import Reason, VaultError
from vault.service import repeating, rewrite
from vault.service.attempt import Attempt
from vault.service.changing import Planned
from vault.service.compartment import ServedCompartment
from vault.service.etags import etag_of
from vault.service.opened import OpenedRecord
from vault.service.repeating import TRIES
from vault.service.rewrite import Edited, Rewrite, rewrite_each
from vault.store.changes import stale
from vault.store.jobs import KeysChangedError
from vault.store.together import Replacement

GONE = VaultError(Reason.STORAGE_UNAVAILABLE, "The database can't be asked just now.")
DONE, STALE, KEYS = True, stale(), KeysChangedError()


class Compartment:
    """Its records, in memory. What a change returns is told beforehand, a try after another."""

    def __init__(self, tries: Sequence[Sequence[object]], look: VaultError | None = None) -> None:
        self.records = self
        self.keyring = SimpleNamespace(standing=SimpleNamespace(epoch=1))
        self.tries, self.look = list(tries), look
        self.written: list[SealedRecord] = []

    @asynccontextmanager
    async def writing(self, _: object) -> AsyncIterator[None]:
        yield

    async def open_each(self, addresses: Sequence[Address]) -> Sequence[OpenedRecord]:
        return [_opened(address) for address in addresses]

    async def look_beyond(self, _: object) -> None:
        if self.look:
            raise self.look

    async def change_all(
        self, _: object, planned: Sequence[Planned[Any]], epoch: int
    ) -> Sequence[object]:
        told = self.tries.pop(0)
        if isinstance(told[0], VaultError) and told[0] is GONE:
            raise GONE
        self.written += [
            cast(Replacement, its.change).by
            for its, one in zip(planned, told, strict=True)
            if one is DONE
        ]
        return told


def _opened(address: Address) -> OpenedRecord:
    about, key = new_record(1, 0), DataKey.new()
    row = seal_record(address, key, about, ())
    return OpenedRecord(address, key, row, about, lambda: None)


def _unchanged(record: OpenedRecord) -> Edited:
    return Edited(record.about, {})


STORIES: dict[str, tuple[Sequence[Sequence[object]], VaultError | None, list[str]]] = {
    # what the changes of each try return, what looking at keys raises, and what becomes of each
    "both are written": ([[DONE, DONE]], None, ["", ""]),
    "one is stale, and written the second time": ([[DONE, STALE], [DONE]], None, ["", ""]),
    "one's keys changed, and they can't be looked at": (
        [[DONE, KEYS]], GONE, ["", "STORAGE_UNAVAILABLE"]),
    "the database is gone when one is tried again": (
        [[DONE, STALE], [GONE]], None, ["", "STORAGE_UNAVAILABLE"]),
    "it is gone for both": ([[GONE]], None, ["STORAGE_UNAVAILABLE"] * 2),
    "one is stale for ever": ([[DONE, STALE], *[[STALE]] * TRIES], None, ["", "OVERLOADED"]),
}  # fmt: skip


@pytest.mark.parametrize(("tries", "look", "told"), STORIES.values(), ids=STORIES)
async def test_who_was_written_hears_so(
    monkeypatch: pytest.MonkeyPatch,
    tries: Sequence[Sequence[object]],
    look: VaultError | None,
    told: list[str],
) -> None:
    compartment = Compartment(tries, look)
    monkeypatch.setattr(rewrite, "change_all", compartment.change_all)
    monkeypatch.setattr(repeating, "_PAUSE", 0.0)
    attempted = cast(
        Attempt, SimpleNamespace(edition=None, met=lambda _: None, changed=lambda *_: None)
    )
    each = [
        Rewrite(attempted, Address(b"c" * 16, who * 32), _unchanged, None) for who in (b"a", b"b")
    ]
    outcomes = await rewrite_each(cast(ServedCompartment, compartment), each)
    assert [o.reason if isinstance(o, VaultError) else "" for o in outcomes] == told
    etags = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert etags == [etag_of(row) for row in compartment.written]
    assert compartment.tries == []

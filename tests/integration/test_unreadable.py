"""What can't be opened stops nobody who goes through all: it is counted, and the rest is done."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from tests import rotating
from tests.database import rows
from tests.rotating import check, person, register
from tests.served import UUID, serving_process
from vault.crypto import record as sealing
from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, Value
from vault.errors import Reason
from vault.keys.key import KeyKind, KeyState
from vault.keys.provision import worker
from vault.keys.transit import Transit
from vault.service.compartment import ServedCompartment
from vault.service.reading import TrailReader
from vault.service.rotation import Level
from vault.service.rotation_run import run
from vault.service.sweep import sweep
from vault.service.trail import AuditedTrail
from vault.service.verify_report import Report
from vault.service.verify_trail import ComparedTrail
from vault.store import tables as t
from vault.store.events import read_events
from vault.store.rotations import DONE, FAILED

WHOLE, BROKEN = person(1), person(2)


@pytest.fixture
async def served(
    sqlite_url: str, login_as: Callable[[str], Transit]
) -> AsyncIterator[ServedCompartment]:
    async with serving_process(sqlite_url, login_as(worker("accounts")), 3600.0) as one:
        await one.establish()
        for who in (WHOLE, BROKEN):
            await register(one, who)
        yield one


@pytest.fixture
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no field of one record open."""
    real = sealing.open_fields

    def opened(address: Address, *rest: Any) -> Mapping[int, Value]:
        if address == BROKEN.address:
            raise DamagedError("injected")
        return real(address, *rest)

    monkeypatch.setattr(sealing, "open_fields", opened)


@pytest.mark.usefixtures("_broken")
async def test_a_field_that_doesnt_open_fails_the_index_and_no_worker(
    served: ServedCompartment,
) -> None:
    await rotating.start(served, Level.INDEX)
    await run(served, rotating.policy, 1e6)
    (row,) = await rows(served.database, t.rotations)
    assert row.state == FAILED
    assert "can't be opened" in row.error
    await check(served, [WHOLE])


@pytest.mark.usefixtures("_broken")
async def test_a_field_that_doesnt_open_stops_no_sweep(
    served: ServedCompartment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.service.sweep.overdue", lambda *_: frozenset({1}))
    swept = await sweep(served, rotating.policy)
    assert (swept.looked_at, swept.damaged) == (2, 1)


async def test_a_rotation_of_a_newer_release_is_passed_over(
    served: ServedCompartment, caplog: pytest.LogCaptureFixture
) -> None:
    await rotating.start(served, Level.KEK)
    async with served.database.writes.begin() as connection:
        await connection.execute(t.rotations.update().values(level="moon"))
    await rotating.start(served, Level.DATA_KEY)
    await run(served, rotating.policy, 1e6)
    states = {row.level: row.state for row in await rows(served.database, t.rotations)}
    assert states == {"moon": "running", "data-key": DONE}
    assert "moon" in caplog.text


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (KeyState.SUSPENDED, Reason.KEYS_SUSPENDED),
        (KeyState.DESTROYED, Reason.KEY_DESTROYED),
    ],
    ids=["suspended", "destroyed"],
)
async def test_a_stopped_audit_key_leaves_its_own_events_unread_alone(
    served: ServedCompartment, state: KeyState, reason: Reason
) -> None:
    await rotating.start(served, Level.AUDIT)
    its = (t.keyring.c.kind == KeyKind.AUDIT) & (t.keyring.c.version == 1)
    async with served.database.writes.begin() as connection:
        await connection.execute(t.keyring.update().where(its).values(state=state))
    await served.look_at_keys()
    await register(served, person(3))
    stored = [event async for event in read_events(served.database)]
    opened = await TrailReader(UUID, served.database, served.keyring).opened(stored)
    assert {event.damaged for event in opened} == {True, False}
    report = Report("accounts")
    with ComparedTrail(AuditedTrail(UUID, served.database, served.keyring), report) as compared:
        await compared.gather(lambda what, done, total: None)
        record = await served.records.open(WHOLE.address)
        said = await compared.of(record.row, record.about)
        assert not said.known
        assert not compared.is_covered(said, record.about)
        newer = await served.records.open(person(3).address)
        assert (await compared.of(newer.row, newer.about)).known
    assert report.unopened == {reason: 1}
    assert report.is_clean

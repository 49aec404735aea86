"""Records in a compartment without a server in front, for rotations to go through.

people = [await register(served, n) for n in range(20)]
await check(served, people)       # each opens, has its values, and is found by them
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.served import UUID
from vault.audit.event import ALLOWED, Event
from vault.crypto.record import Address, DataKey, Value, new_record, seal_record
from vault.policy import Edition, compile_edition
from vault.service.call import PolicyState, Visit
from vault.service.compartment import ServedCompartment
from vault.service.find import look_up
from vault.service.ledger import Ledger
from vault.service.rotation import Level, begin
from vault.service.rotation_run import carry_out
from vault.service.rotation_steps import Step
from vault.service.values import index_rows
from vault.store import changes
from vault.store.jobs import Transaction
from vault.store.rotations import RUNNING, RotationRow, rotations

POLICY = Path(__file__).parents[1] / "examples/osh/policy.yaml"
EVENT = Event(1, "orders", "shop", "services", "test", "request", ALLOWED)
EDITION: Edition = compile_edition(POLICY.read_text(encoding="utf-8"))
EMAIL = EDITION.compartment("accounts").field("email")
PHONE = EDITION.compartment("accounts").field("phone")
OFFICER = Visit(PolicyState(EDITION, Ledger({})), None, "aida", "request")


def policy() -> PolicyState:
    """Return the policy of the example, in force."""
    return OFFICER.policy


@dataclass(frozen=True, slots=True)
class Person:
    """Who is registered, and their values."""

    address: Address
    values: Sequence[Value]

    @property
    def email(self) -> str:
        return self.values[0].value


def person(number: int, email: str = "") -> Person:
    """Make somebody up; the numbers are in the order of their pseudonyms."""
    address = Address(UUID, number.to_bytes(32, "big"))
    values = (
        Value(EMAIL.uid, EMAIL.type.value, email or f"resident{number}@example.kg", 0),
        Value(PHONE.uid, PHONE.type.value, f"+996 555 {100000 + number}", 0),
    )
    return Person(address, values)


async def register(served: ServedCompartment, who: Person) -> None:
    """Open somebody's record, as registering does."""
    data_key = DataKey.new()
    sealed = seal_record(who.address, data_key, new_record(1, 0), who.values)
    wrapped = await served.wrap(who.address, data_key)
    rows = await index_rows(served, EDITION, who.values)

    async def change(transaction: Transaction) -> None:
        pseudonym = who.address.pseudonym
        await changes.insert_record(
            transaction, pseudonym, sealed.row_version, sealed.sealed, wrapped
        )
        await changes.replace_index_rows(transaction, pseudonym, (), rows)

    await served.committer.change(change, lambda _: replace(EVENT, row_digest=sealed.digest))


async def put(served: ServedCompartment, who: Person, becomes: Person) -> None:
    """Change somebody's values, as a put does; `becomes` has the same address."""
    record = await served.records.open(who.address)
    sealed = seal_record(who.address, record.data_key, record.about, becomes.values)
    rows = await index_rows(served, EDITION, becomes.values)

    async def change(transaction: Transaction) -> None:
        pseudonym, uids = who.address.pseudonym, [value.uid for value in who.values]
        await changes.replace_record(
            transaction, pseudonym, record.row.row_version, sealed.row_version, sealed.sealed
        )
        await changes.replace_index_rows(transaction, pseudonym, uids, rows)

    await served.committer.change(change, lambda _: EVENT)


async def erase(served: ServedCompartment, who: Person) -> None:
    """Erase somebody."""
    tombstone = await served.tombstone(who.address)

    async def change(transaction: Transaction) -> None:
        await changes.take_row(transaction, who.address.pseudonym)
        await changes.erase_record(transaction, who.address.pseudonym, tombstone)

    await served.committer.change(change, lambda _: EVENT)


async def find(served: ServedCompartment, email: str) -> Sequence[bytes]:
    """Return whose e-mail address it is, as Find looks it up."""
    return await look_up(served, EDITION, EMAIL, email)


async def check(served: ServedCompartment, people: Sequence[Person]) -> None:
    """Assert that everybody's record opens, has all values, and is found by the e-mail address."""
    for who in people:
        record = await served.records.open(who.address)
        assert list(record.values().values()) == sorted(who.values, key=lambda v: v.uid)
        assert await find(served, who.email) == [who.address.pseudonym]


async def start(served: ServedCompartment, level: Level) -> RotationRow:
    """Begin a rotation; of an index, that of the e-mail address."""
    return await begin(served, OFFICER, level, EMAIL.uid if level is Level.INDEX else 0)


async def steps(served: ServedCompartment) -> AsyncIterator[Step]:
    """Carry out all rotations that run."""
    for row in await rotations(served.database):
        if row.state == RUNNING:
            async for step in carry_out(served, row, policy):
                yield step


async def finish(served: ServedCompartment) -> list[Step]:
    """Carry out all rotations to their end, and return the steps."""
    return [step async for step in steps(served)]

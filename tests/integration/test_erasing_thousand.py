"""A thousand subjects erase while services read them; afterwards nothing here holds any of them.

Neither a table nor an index, nor a log or any file of the server: no value, no data key, and no
pseudonym, in any spelling.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import piivault
import pytest
from piivault import errors

from tests.house import House, run_house
from tests.integration.test_sweep import swept
from tests.people import new_values
from tests.wire import PATIENCE
from vault.names import Pseudonym

SUBJECTS = 1000
AT_ONCE = 64
READERS = 4
KEY_SERVER = "openbao"
_WINDOW = 8  # bytes of a pseudonym: enough not to be met by chance
MARK = secrets.token_hex(8)  # in every value


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who registers in accounts, and erases."""

    subject: piivault.AsyncSubject
    pseudonym: str
    values: dict[str, str]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of this test's own: whatever lies in its folder is the server's."""
    folder = tmp_path_factory.mktemp("thousand")
    with run_house(folder / "state", postgres=False) as started:
        yield started


async def _register(client: piivault.AsyncClient, consents: list[piivault.Consent]) -> Person:
    subject = client.subject(piivault.new_root())
    own = {"email": f"{secrets.token_hex(6)}@{MARK}.kg", "city": f"Ош {MARK}"}
    values = new_values("accounts") | own
    await subject.register("accounts", values, consents)
    return Person(subject, await subject.pseudonym("accounts"), values)


async def _read(
    accounts: piivault.AsyncCompartmentClient, people: list[Person], gone: asyncio.Event
) -> dict[str, int]:
    """Read whoever; return what was told. Each read gives the value, or says that it is erased."""
    told = {"value": 0, "erased": 0}
    while not gone.is_set():
        person = secrets.choice(people)
        try:
            got = await accounts.reveal(person.pseudonym, ["phone"])
        except errors.Erased:
            told["erased"] += 1
        else:
            assert got["phone"].expose() == person.values["phone"]
            told["value"] += 1
    return told


async def _live_and_erase(house: House) -> tuple[list[Person], list[dict[str, int]]]:
    portal = {**house.environment("portal"), "PIIVAULT_TIMEOUT": str(PATIENCE)}
    orders = {**house.environment("orders"), "PIIVAULT_TIMEOUT": str(PATIENCE)}
    turns = asyncio.Semaphore(AT_ONCE)
    async with (
        piivault.AsyncClient.from_env(portal) as client,
        piivault.AsyncClient.from_env(orders) as reading,
    ):
        notices = await client.notices("accounts", "ky")
        consents = [notice.accept() for notice in notices]

        async def register() -> Person:
            async with turns:
                return await _register(client, consents)

        async def erase(person: Person) -> None:
            async with turns:
                erasure = await person.subject.erase("accounts")
            assert erasure.verified

        people = await asyncio.gather(*(register() for _ in range(SUBJECTS)))
        accounts, gone = reading.compartment("accounts", purpose="services"), asyncio.Event()
        readers = [asyncio.create_task(_read(accounts, people, gone)) for _ in range(READERS)]
        await asyncio.gather(*map(erase, people))
        for person in people[:: SUBJECTS // 20]:
            with pytest.raises(errors.Erased):
                await accounts.reveal(person.pseudonym, ["phone"])
        gone.set()
        return people, await asyncio.gather(*readers)


def test_a_thousand_are_erased_while_they_are_read_and_nothing_of_them_is_left(
    house: House,
) -> None:
    before = _counts(house)
    people, told = asyncio.run(_live_and_erase(house))
    assert sum(each["value"] for each in told) > 0
    assert sum(each["erased"] for each in told) > 0
    swept(house, "accounts")  # SQLite's write-ahead log has pages as they were, up to here

    assert _counts(house) == {**before, "tombstones": before["tombstones"] + SUBJECTS}
    assert _found(house.state, [person.pseudonym for person in people]) == set()


def test_what_is_looked_for_would_be_found(house: House) -> None:
    """The control: of somebody who is registered, the pseudonym is in a file."""
    person = house.register("accounts")
    assert _found(house.state, [person.pseudonym])


def _counts(house: House) -> dict[str, int]:
    return {
        table: house.sql("accounts", f"SELECT count(*) FROM {table}")[0][0]
        for table in ("records", "data_keys", "blind_index", "tombstones")
    }


def _found(folder: Path, pseudonyms: list[str]) -> set[str]:
    """Return the files that hold a value of those who erased, or a pseudonym in any spelling."""
    raws = [Pseudonym.parse(pseudonym).raw for pseudonym in pseudonyms]
    begins = {raw[:_WINDOW] for raw in raws} | {raw.hex()[:_WINDOW].encode() for raw in raws}

    def holds(data: bytes) -> bool:
        if MARK.encode() in data or b"psn_" in data:
            return True
        return any(data[at : at + _WINDOW] in begins for at in range(len(data)))

    return {name for name, data in _files(folder) if holds(data)}


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the server's files: the key server's own, which never sees any of it, are apart."""
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a socket, or a file that went meanwhile
            if file.is_file() and KEY_SERVER not in file.parts:
                yield str(file.relative_to(folder)), file.read_bytes()

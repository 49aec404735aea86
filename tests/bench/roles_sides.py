"""The two sides of the roles: the SDK on piivault, and SQLAlchemy on a plaintext table."""

import asyncio
import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from piivault import AsyncClient, AsyncSubject, Consent, RootId, errors
from piivault.auditors import AuditClient
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Table,
    Text,
    any_,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from tests.bench import plain
from tests.bench.clients import written
from tests.bench.plain import people
from tests.bench.population import FIELDS, LANGUAGE, PURPOSES, REVEALED, purposes, root, values
from tests.bench.roles import AT_ONCE, LOG_LINES, Operation
from vault.store.engine import Database

DONE, GONE, NOT_AGREED, THERE = "done", "gone", "not agreed", "there"
_CHANGED = "newsletter"  # the purpose that consents are given to and withdrawn for
_PRESENT = ("email", "phone")
_ASKED = "statistics"

log = Table(
    "log",
    plain.METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, index=True),
    Column("what", Text, nullable=False),
)
terms = Table(
    "purposes",
    plain.METADATA,
    Column("name", Text, primary_key=True),
    Column("fields", ARRAY(Text), nullable=False),
)


class Ours:
    """Through the SDK: the portal for subjects, a service, an auditor."""

    def __init__(
        self,
        compartment: str,
        portal: AsyncClient,
        service: AsyncClient,
        auditor: AuditClient,
        pseudonyms: Mapping[int, bytes],
    ) -> None:
        self._compartment = compartment
        self._portal = portal
        self._service = service
        self._auditor = auditor
        self._pseudonyms = pseudonyms
        self._threads = ThreadPoolExecutor(AT_ONCE)  # else there are fewer
        self._subjects: dict[int, AsyncSubject] = {}
        self._consents: dict[str, Consent] = {}

    async def start(self) -> None:
        """Read the notices, as a portal shows them."""
        notices = await self._portal.notices(self._compartment, LANGUAGE)
        self._consents = {notice.purpose: notice.accept() for notice in notices}

    async def do(self, operation: Operation) -> object:
        """Carry an operation out."""
        try:
            method = getattr(self, "_" + operation.kind.replace(" ", "_"))
            return await method(operation.person, operation.turn)
        except errors.NotFound:
            return GONE
        except errors.ConsentRequired:
            return NOT_AGREED

    def _subject(self, person: int) -> AsyncSubject:
        if person not in self._subjects:
            self._subjects[person] = self._portal.subject(RootId(root(person)))
        return self._subjects[person]

    async def _insert(self, person: int, turn: int) -> object:
        consents = [self._consents[purpose] for purpose in purposes(person)]
        await self._subject(person).register(self._compartment, values(person), consents)
        return DONE

    async def _delete(self, person: int, turn: int) -> object:
        await self._subject(person).erase(self._compartment)
        return DONE

    async def _consent(self, person: int, turn: int) -> object:
        if turn % 2:
            await self._subject(person).grant(self._compartment, [self._consents[_CHANGED]])
        else:
            await self._subject(person).withdraw(self._compartment, [_CHANGED])
        return DONE

    async def _view(self, person: int, turn: int) -> object:
        seen = await self._subject(person).view(self._compartment)
        return [secret.expose() if secret else None for secret in map(seen.get, FIELDS)]

    async def _put(self, person: int, turn: int) -> object:
        await self._subject(person).put(self._compartment, {"city": _city(turn)})
        return DONE

    async def _view_consents(self, person: int, turn: int) -> object:
        seen = await self._subject(person).view(self._compartment, ["city"])
        return sorted(its.purpose for its in seen.consents if its.withdrawn_at is None)

    async def _reveal(self, person: int, turn: int) -> object:
        pseudonym = written(self._pseudonyms[person])
        compartment = self._service.compartment(self._compartment, purpose="service")
        seen = await compartment.reveal(pseudonym, REVEALED)
        return [seen[name].expose() for name in REVEALED]

    async def _presence(self, person: int, turn: int) -> object:
        pseudonym = written(self._pseudonyms[person])
        compartment = self._service.compartment(self._compartment, purpose=_ASKED)
        seen = await compartment.reveal(pseudonym, _PRESENT)
        return [seen.present(name) for name in _PRESENT]

    async def _describe(self, person: int, turn: int) -> object:
        purpose = list(PURPOSES)[turn % len(PURPOSES)]
        told = await self._service.compartment(self._compartment, purpose=purpose).describe()
        return sorted(field.name for field in told.fields)

    async def _verify_deletion(self, person: int, turn: int) -> object:
        await self._reveal(person, turn)
        return THERE

    async def _logs(self, person: int, turn: int) -> object:
        def newest() -> int:
            events = self._auditor.events(self._compartment, page_size=LOG_LINES)
            return len(list(itertools.islice(events, LOG_LINES)))

        return await asyncio.get_running_loop().run_in_executor(self._threads, newest)


class Plain:
    """Statements on a table in clear."""

    def __init__(self, database: Database) -> None:
        self._reads = database.reads
        self._writes = database.writes

    async def start(self) -> None:
        """Write what the tables beside the persons hold."""
        lines = [{"id": n, "at": datetime.now(UTC), "what": "read"} for n in range(10_000)]
        rows = [{"name": name, "fields": list(seen)} for name, seen in PURPOSES.items()]
        async with self._writes.begin() as connection:
            await connection.execute(insert(log), lines)
            await connection.execute(insert(terms), rows)

    async def do(self, operation: Operation) -> object:
        """Carry an operation out."""
        method = getattr(self, "_" + operation.kind.replace(" ", "_"))
        return await method(operation.person, operation.turn)

    async def _insert(self, person: int, turn: int) -> object:
        row = {"id": root(person), "purposes": purposes(person), **values(person)}
        async with self._writes.begin() as connection:
            await connection.execute(insert(people).values(row))
        return DONE

    async def _delete(self, person: int, turn: int) -> object:
        await self._changed(delete(people).where(people.c.id == root(person)))
        return DONE  # as an erasure that was done before

    async def _consent(self, person: int, turn: int) -> object:
        kept = func.array_remove(people.c.purposes, _CHANGED)
        kept = func.array_append(kept, _CHANGED) if turn % 2 else kept
        statement = update(people).where(people.c.id == root(person)).values(purposes=kept)
        return await self._changed(statement)

    async def _put(self, person: int, turn: int) -> object:
        statement = update(people).where(people.c.id == root(person)).values(city=_city(turn))
        return await self._changed(statement)

    async def _view(self, person: int, turn: int) -> object:
        row = await self._row(select(*(people.c[name] for name in FIELDS)), person)
        return list(row) if row else GONE

    async def _view_consents(self, person: int, turn: int) -> object:
        row = await self._row(select(people.c.purposes), person)
        return sorted(row.purposes) if row else GONE

    async def _reveal(self, person: int, turn: int) -> object:
        return await self._for("service", person, *(people.c[name] for name in REVEALED))

    async def _presence(self, person: int, turn: int) -> object:
        return await self._for(_ASKED, person, *(people.c[n].is_not(None) for n in _PRESENT))

    async def _describe(self, person: int, turn: int) -> object:
        purpose = list(PURPOSES)[turn % len(PURPOSES)]
        async with self._reads.connect() as connection:
            query = select(terms.c.fields).where(terms.c.name == purpose)
            return sorted((await connection.execute(query)).scalar_one())

    async def _verify_deletion(self, person: int, turn: int) -> object:
        return THERE if await self._row(select(people.c.id), person) else GONE

    async def _logs(self, person: int, turn: int) -> object:
        async with self._reads.connect() as connection:
            query = select(log).order_by(log.c.at.desc()).limit(LOG_LINES)
            return len((await connection.execute(query)).all())

    async def _for(self, purpose: str, person: int, *columns: Any) -> object:
        agreed = literal(purpose) == any_(people.c.purposes)
        row = await self._row(select(agreed, *columns), person)
        if row is None:
            return GONE
        return list(row[1:]) if row[0] else NOT_AGREED

    async def _row(self, query: Any, person: int) -> Any:
        async with self._reads.connect() as connection:
            return (await connection.execute(query.where(people.c.id == root(person)))).first()

    async def _changed(self, statement: Any) -> object:
        async with self._writes.begin() as connection:
            return DONE if (await connection.execute(statement)).rowcount else GONE


def _city(turn: int) -> str:
    return f"Ош {turn}"

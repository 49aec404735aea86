"""Filling compartments fast: records sealed as `register` seals them, written by COPY.

A million registrations through the broker would take an hour. What is in the tables is the same;
the trail alone doesn't have them.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.bench import population
from tests.bench.sample import Progress
from vault import app, config
from vault.crypto.record import Address, DataKey, Value, new_record, seal_record, wrap_data_key
from vault.dev import Running
from vault.keys.key import KeyKind
from vault.policy import Edition, SubjectKind, notice
from vault.sealed.v1 import sealed_pb2
from vault.service.compartment import ServedCompartment, now
from vault.service.values import index_rows
from vault.store.engine import connect

_EACH = 20_000  # records a task
_RECORDS = ("pseudonym", "row_version", "sealed")
_DATA_KEYS = ("pseudonym", "id", "kek_version", "wrapped")
_INDEX = ("field", "version", "value", "slot", "pseudonym")
# In the order of the key: PostgreSQL keeps the pages that an index leads to, but few of a scan. The
# OFFSET has it keep to that order, though a count doesn't ask for one.
_WARMING = (
    "SELECT count(sealed) FROM (SELECT sealed FROM records ORDER BY pseudonym OFFSET 0) AS its",
    "SELECT count(wrapped) FROM (SELECT wrapped FROM data_keys ORDER BY pseudonym OFFSET 0) AS its",
)

Rows = dict[str, list[tuple[Any, ...]]]


def fill(
    running: Running,
    compartment: str,
    count: int,
    pseudonyms: Callable[[range], Sequence[bytes]],
    progress: Progress,
) -> None:
    """Write the records of so many persons, on all cores, and say how many are committed."""
    spans = [range(first, min(first + _EACH, count)) for first in range(0, count, _EACH)]
    doing, done = f"loading {compartment}", 0
    progress(f"{doing}: 0 of {count:,} records")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        url = running.owner_urls[compartment]
        tasks = [
            pool.submit(_fill, running.config, url, compartment, span.start, pseudonyms(span))
            for span in spans
        ]
        for task in as_completed(tasks):
            done += task.result()
            progress(f"{doing}: {done:,} of {count:,} records")
    progress(f"{doing}: having PostgreSQL look over it")
    asyncio.run(_settle(url))


async def _settle(url: str) -> None:
    """Have PostgreSQL know what it has, and have it at hand, as in a database of some age."""
    database = connect(url)
    async with database.reads.connect() as connection:
        await connection.exec_driver_sql("VACUUM ANALYZE")
        await connection.exec_driver_sql("SET enable_seqscan = off")
        for asked in _WARMING:
            await connection.exec_driver_sql(asked)
        await connection.exec_driver_sql("RESET enable_seqscan")
    await database.close()


def _fill(
    configuration: Path, url: str, compartment: str, first: int, pseudonyms: Sequence[bytes]
) -> int:
    """Write records in a process of its own; return how many."""
    asyncio.run(_write(configuration, url, compartment, first, pseudonyms))
    return len(pseudonyms)


async def _write(
    configuration: Path, url: str, compartment: str, first: int, pseudonyms: Sequence[bytes]
) -> None:
    settings = config.load(configuration, {})
    async with app.opened(settings, compartment) as (served, editions):
        edition = editions.state().current
        rows = await _sealed(served, edition, first, pseudonyms)
    database = connect(url)
    async with database.writes.begin() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        for table, columns in (
            ("records", _RECORDS),
            ("data_keys", _DATA_KEYS),
            ("blind_index", _INDEX),
        ):
            await raw.copy_records_to_table(table, records=sorted(rows[table]), columns=columns)
    await database.close()


async def _sealed(
    served: ServedCompartment, edition: Edition, first: int, pseudonyms: Sequence[bytes]
) -> Rows:
    kek = served.keyring.latest(KeyKind.KEK)
    assert kek is not None
    key = await served.keyring.get(kek)
    consents = {p: _consent(edition, served.name, p) for p in population.PURPOSES}
    fields = edition.compartment(served.name).fields
    rows: Rows = {"records": [], "data_keys": [], "blind_index": []}
    for number, pseudonym in enumerate(pseudonyms, first):
        address, data_key = Address(served.uuid, pseudonym), DataKey.new()
        about = new_record(SubjectKind.PERSON.value, now())
        about.consents.extend(consents[p] for p in sorted(population.purposes(number)))
        values = [
            Value(fields[name].uid, fields[name].type.value, value, about.registered_at)
            for name, value in population.values(number).items()
        ]
        sealed = seal_record(address, data_key, about, values)
        wrapped = wrap_data_key(key, address, data_key)
        rows["records"].append((pseudonym, sealed.row_version, sealed.sealed))
        rows["data_keys"].append((pseudonym, data_key.id, kek.version, wrapped))
        rows["blind_index"] += [
            (row.uid, row.version, row.value, b"" if row.unique else pseudonym, pseudonym)
            for row in await index_rows(served, edition, values)
        ]
    return rows


def _consent(edition: Edition, compartment: str, purpose: str) -> sealed_pb2.Consent:
    shown = notice(edition, compartment, purpose, population.LANGUAGE)
    return sealed_pb2.Consent(
        purpose=purpose,
        edition=edition.number,
        language=population.LANGUAGE,
        notice_digest=shown.digest,
        given_at=now(),
    )

"""Reveal (two fields, durable audit, PostgreSQL, mutual TLS) against a bare echo, and more.

All are measured in one run, turn by turn, by one client; the figures to trust are the ratios.
"""

import itertools
import random
from base64 import b64encode
from collections.abc import Sequence
from contextlib import AsyncExitStack

from piivault import AsyncClient
from piivault.v1 import record_service_pb2_grpc as pb_grpc
from sqlalchemy import schema

from tests.bench import naive, plain
from tests.bench.clients import (
    batching,
    channel,
    putting,
    requests,
    revealing,
    streaming,
    tls,
    written,
)
from tests.bench.load import fill
from tests.bench.population import FIELDS, REVEALED, SMALL, purposes, reader, unissued, values
from tests.bench.processes import echo
from tests.bench.processes import naive as naive_server
from tests.bench.sample import Candidate, Line, Progress, measure
from vault.dev import Running
from vault.keys.transit import Transit
from vault.store.engine import connect

PERSONS = 10_000
NAIVE_PERSONS = 1_000
BATCH = 100
STREAM, BULK = 200, 250  # records a stream
COPIED = 2_000  # rows a COPY
_KEY = "bench-naive"
_MOST_A_BATCH = 200  # that the key server takes


def load(running: Running, progress: Progress) -> None:
    """Fill the compartment that is revealed from."""
    fill(running, SMALL, PERSONS, lambda span: [unissued(SMALL, n) for n in span], progress)


async def compare(running: Running, worker: str, seconds: float, progress: Progress) -> list[Line]:
    """Measure a worker, by its address, for so many seconds in all."""
    pseudonyms = [written(unissued(SMALL, number)) for number in range(PERSONS)]
    progress("encrypting what the naive server has")
    token = await _fill_naive(running, pseudonyms[:NAIVE_PERSONS])
    random.shuffle(pseudonyms)
    async with AsyncExitStack() as stack:
        identity = tls(running, reader(SMALL))
        own = await stack.enter_async_context(channel(worker, identity))
        answer = await pb_grpc.RecordServiceStub(own).Reveal(next(requests(SMALL, pseudonyms)))
        echoing = stack.enter_context(echo(running, answer))
        echoing_to = await stack.enter_async_context(channel(echoing.address, identity))
        url = running.owner_urls[SMALL]
        other = stack.enter_context(naive_server(running, url, token, _KEY))
        naive_to = await stack.enter_async_context(channel(other, identity))
        sdk = await stack.enter_async_context(AsyncClient(worker, tls=identity))
        asked = requests(SMALL, pseudonyms)
        few = requests(SMALL, [written(unissued(SMALL, n)) for n in range(NAIVE_PERSONS)])
        calls = {
            "echo": revealing(echoing_to, asked),
            "Reveal": revealing(own, asked),
            "naive": revealing(naive_to, few),
        }
        accounts, turn = sdk.compartment(SMALL, purpose="service"), itertools.cycle(pseudonyms)

        def at(name: str, in_flight: int) -> Candidate:
            return Candidate(name, calls[name], in_flight)

        client = Candidate(
            "Reveal by AsyncClient", lambda: accounts.reveal(next(turn), REVEALED), 16
        )
        database = connect(running.owner_urls[SMALL])
        stack.push_async_callback(database.close)
        fields = BATCH * len(REVEALED)
        people = [written(unissued(SMALL, number)) for number in range(PERSONS)]
        batch = Candidate(
            f"BatchReveal of {BATCH}, fields", batching(own, SMALL, pseudonyms, BATCH), 4, fields
        )
        whole = Candidate(
            f"BatchReveal of {BATCH}, all fields",
            batching(own, SMALL, pseudonyms, BATCH, "register", list(FIELDS)),
            4,
            BATCH * len(FIELDS),
        )
        stream = Candidate(
            "StreamReveal, fields",
            streaming(own, SMALL, pseudonyms, STREAM),
            4,
            STREAM * len(REVEALED),
        )
        bulk = Candidate("BulkPut of 6 fields, records", putting(own, SMALL, people, BULK), 4, BULK)
        copy = Candidate("COPY of the plaintext", await plain.copying(database, COPIED), 1, COPIED)
        lines = [
            Line(at("Reveal", 1), at("echo", 1)),
            Line(at("Reveal", 16), at("echo", 16), p99_at_most=4),
            Line(at("Reveal", 64), at("echo", 64), at_least=0.35),
            Line(client, at("echo", 16)),
            Line(batch, at("echo", 64), at_least=4),
            Line(whole, at("echo", 64)),
            Line(stream, at("echo", 64)),
            Line(bulk, at("echo", 64), at_least=0.5),
            Line(bulk, copy),
            Line(at("Reveal", 16), at("naive", 16)),
            Line(at("Reveal", 64), at("naive", 64), at_least=8),
        ]
        await measure(lines, seconds, progress)
        return lines


async def _fill_naive(running: Running, pseudonyms: Sequence[str]) -> str:
    """Make the naive server's tables and key; return a token for its calls."""
    admin = running.admin
    admin.write(f"transit/keys/{_KEY}")
    columns = {
        name: _encrypted(admin, [values(number)[name] for number in range(len(pseudonyms))])
        for name in REVEALED
    }
    rows = [
        {
            "pseudonym": pseudonym,
            "purposes": purposes(number),
            **{name: columns[name][number] for name in REVEALED},
        }
        for number, pseudonym in enumerate(pseudonyms)
    ]
    database = connect(running.owner_urls[SMALL])
    async with database.writes.begin() as connection:
        await connection.execute(schema.CreateSchema(naive.SCHEMA))
        await connection.run_sync(naive.METADATA.create_all)
        await connection.execute(naive.people.insert(), rows)
    await database.close()
    token: str = admin.write("auth/token/create", ttl="4h")["auth"]["client_token"]
    return token


def _encrypted(admin: Transit, texts: Sequence[str]) -> list[str]:
    found: list[str] = []
    for start in range(0, len(texts), _MOST_A_BATCH):
        batch = [
            {"plaintext": b64encode(text.encode()).decode()}
            for text in texts[start : start + _MOST_A_BATCH]
        ]
        answer = admin.write(f"transit/encrypt/{_KEY}", batch_input=batch)
        found += [one["ciphertext"] for one in answer["data"]["batch_results"]]
    return found

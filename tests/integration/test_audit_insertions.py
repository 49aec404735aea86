"""Rows that a worker's login may insert into a trail, and no worker writes.

The table takes any bytes and any number from a login that may insert. The auditor starts all the
same, verification says in words what is wrong, a list goes on telling, and the chains of others are
covered.
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from piivault.v1 import audit_service_pb2 as pb
from sqlalchemy import insert

from tests.auditing import NewAuditor, stored
from tests.database import Cluster, put
from tests.trails import KEYS
from tests.written import COMPARTMENT, MINUTE, START, Written
from vault.audit.chain import Link, body_of, first, place_of, seal_body
from vault.audit.event import ALLOWED, Event
from vault.cli.audit_verdict import tell
from vault.rpc.audits import AuditServicer
from vault.sealed.v1 import sealed_pb2
from vault.service.auditor import look_at_trail
from vault.service.audits import Audited, Audits, Filter
from vault.service.editions import Editions
from vault.service.export import opened_lines, sealed_lines
from vault.service.following import Follower
from vault.service.ledger import Ledger
from vault.service.reading import SECOND, ReadEvent, Span, span
from vault.service.verify_chains import ShippedFile, verify_database, verify_export
from vault.store import role_sql
from vault.store import tables as t
from vault.store.control import ControlChain
from vault.store.engine import Database, connect
from vault.store.rights import Rights

WRITER = b"\xff" * 16  # after all others in the key
PLAIN = Link(WRITER, 0, first(COMPARTMENT, WRITER), bytes(16), b"\x01\x01\0" + bytes(60))


def _unknown_key(version: int) -> bytes:
    return b"\x01\x01\0" + version.to_bytes(8, "big") + bytes(60)


# What is inserted, and what `audit verify` says of it: nothing where the chain holds.
BAD: Mapping[str, tuple[Link, str]] = {
    "a sequence below 0": (replace(PLAIN, sequence=-1), "its sequence is below 0"),
    "the least sequence": (replace(PLAIN, sequence=-(2**63)), "its sequence is below 0"),
    "the last sequence": (replace(PLAIN, sequence=2**63 - 1), "events are missing"),
    "a writer without a name": (replace(PLAIN, writer=b""), "its writer has 0 bytes"),
    "a writer of 17 bytes": (replace(PLAIN, writer=bytes(17)), "its writer has 17 bytes"),
    "a writer of 2,000 bytes": (replace(PLAIN, writer=bytes(2000)), "its writer has 2000 bytes"),
    "no previous hash": (replace(PLAIN, previous=b""), "doesn't follow"),
    "a previous hash of 33 bytes": (replace(PLAIN, previous=bytes(33)), "doesn't follow"),
    "a token of 3 bytes": (replace(PLAIN, token=b"abc"), "its token has 3 bytes"),
    "no body": (replace(PLAIN, sealed=b""), "its sealed body has 0 bytes"),
    "a body of 38 bytes": (replace(PLAIN, sealed=bytes(38)), "its sealed body has 38 bytes"),
    "a body over 1 MiB": (replace(PLAIN, sealed=bytes(2**20 + 1)), "its sealed body has 1048577"),
    # Chains hold without keys: this one is for the auditor to say, who opens it.
    "a key that isn't there": (replace(PLAIN, sealed=_unknown_key(99)), ""),
    "a key of the last number": (replace(PLAIN, sealed=_unknown_key(2**64 - 1)), ""),
    "a body that doesn't open": (replace(PLAIN, sealed=_unknown_key(1)), ""),
}


@pytest.fixture
def worker_url(database_url: str, request: pytest.FixtureRequest) -> str:
    """A worker's own login on PostgreSQL; SQLite has none."""
    if database_url.startswith("sqlite"):
        return database_url
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.create_role(database_url)


@pytest.fixture
async def worker(database: Database, worker_url: str) -> AsyncIterator[Database]:
    opened = connect(worker_url)
    if database.is_postgresql:
        role = opened.writes.url.username
        assert role is not None
        await role_sql.grant(database, role, Rights.WORKER)
    yield opened
    await opened.close()


async def _insert(worker: Database, *links: Link) -> None:
    rows = [{name: getattr(link, name) for name in Link.__slots__} for link in links]
    async with worker.writes.begin() as connection:
        await connection.execute(insert(t.audit), rows)


def _audited(written: Written) -> Audited:
    editions = Editions(ControlChain(written.database), {})
    editions.ledger = Ledger({})
    follower = Follower(written.reader, lambda events: None, 60.0)
    return Audited(written.reader, follower, editions)


async def _listed(audited: Audited, most: int, wanted: Filter) -> list[ReadEvent]:
    found, token = await audited.page(wanted, most, "")
    while token:
        more, token = await audited.page(wanted, most, token)
        found += more
    return found


@pytest.mark.parametrize(("link", "said"), BAD.values(), ids=BAD)
async def test_the_auditor_goes_on_whatever_a_worker_inserts(
    written: Written, worker: Database, auditor: NewAuditor, ship_file: Path,
    link: Link, said: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    database, true, other = written.database, written.chain(), written.chain()
    await put(database, t.compartment, uuid=COMPARTMENT)
    await written.write(true, [START, START + SECOND])
    await auditor().look()
    await _insert(worker, link)

    await look_at_trail("accounts", COMPARTMENT, database, written.reader._keyring)
    assert "the trail of accounts" in caplog.text

    for most in (1, 100):
        found = await _listed(_audited(written), most, Filter())
        assert [e.body.request_id for e in found if not e.damaged] == ["r1", "r0"]
    follower = Follower(written.reader, lambda events: None, 60.0)
    await follower.start(START)
    await follower.look()

    for events in (2, 4):  # by one auditor, and by one that starts anew
        await written.write(other, [START + 2 * SECOND] * 2)
        checkpoints = auditor()
        await checkpoints.look()
        last = (await stored(database))[-1]
        assert last.heads[other._writer].sequence == events - 1
        assert bool(checkpoints.faults) is bool(said)

    verdict = await verify_database(database, ShippedFile(ship_file), KEYS)
    assert tell("accounts", verdict) is (said == "")
    assert said in capsys.readouterr().out
    export = [line async for line in sealed_lines(database, "accounts")]
    _, elsewhere = verify_export(b"".join(export).splitlines(), ShippedFile(ship_file), KEYS)
    assert list(elsewhere.faults) == list(verdict.faults)
    opened = [line async for line in opened_lines(written.reader, "accounts", {})]
    assert len(b"".join(opened).splitlines()) == 9  # header, 7 events, end


@pytest.mark.parametrize("sequence", [-1, -(2**63)])
async def test_what_no_chain_can_have_beside_a_true_writers_events_is_met_by_the_auditor(
    written: Written, worker: Database, auditor: NewAuditor, sequence: int
) -> None:
    """The end of that chain is as it was; it goes on being covered."""
    chain, checkpoints = written.chain(), auditor()
    await written.write(chain, [START])
    await checkpoints.look()
    await _insert(worker, replace(PLAIN, writer=chain._writer, sequence=sequence))
    await written.write(chain, [START])
    await checkpoints.look()
    assert [fault.sequence for fault in checkpoints.faults] == [-1]
    assert "that no chain can have" in str(checkpoints.faults[0])
    assert (await stored(written.database))[-1].heads[chain._writer].sequence == 1


async def test_an_event_that_no_chain_can_have_is_not_accepted(
    written: Written, worker: Database, auditor: NewAuditor
) -> None:
    """Its place can't be signed: whoever owns the tables deletes it."""
    await put(written.database, t.compartment, uuid=COMPARTMENT)
    await written.write(written.chain(), [START])
    await auditor().look()
    await _insert(worker, replace(PLAIN, writer=b""), replace(PLAIN, sequence=-1))
    verdict = await verify_database(written.database, None, KEYS)
    assert verdict.faults.count == 2
    assert verdict.trusted == verdict.newest  # it takes no trust from what a checkpoint covers
    assert [fault.noted for fault in verdict.faults] == [None, None]


# Events that open, and hold what no worker writes: a process that was taken over has the key.


def _forged(written: Written, **body: object) -> Link:
    """An event that opens, in a chain of its own."""

    class Forged(Event):
        def to_message(self) -> sealed_pb2.AuditEvent:
            message = super().to_message()
            values: Any = body
            message.MergeFrom(sealed_pb2.AuditEvent(**values))
            return message

    said = Forged(1, "orders", "shop", "services", "reveal", "forged", ALLOWED, at=START)
    link = replace(PLAIN, token=said.token)
    return replace(
        link, sealed=seal_body(written.key, 1, place_of(COMPARTMENT, link), body_of(said))
    )


FORGED: Mapping[str, tuple[dict[str, object], str]] = {
    "a far future": ({"at": 2**61}, "9999-12-31T23:59:59.999999Z"),
    "the last number": ({"at": 2**63 - 1}, "9999-12-31T23:59:59.999999Z"),
    "before 1970": ({"at": -(2**63)}, "1970-01-01T00:00:00.000000Z"),
    "an outcome without a word": ({"outcome": 99}, '"outcome":"unknown"'),
    "a form without a word": ({"fields": [{"uid": 2**32 - 1, "form": 99}]}, '"form":"unknown"'),
    "a count and an edition": ({"count": 2**32 - 1, "edition": 2**32 - 1}, '"count":4294967295'),
    "a reason without a word": ({"reason": "NONE_SUCH"}, '"reason":"NONE_SUCH"'),
}


@pytest.mark.parametrize(("body", "said"), FORGED.values(), ids=FORGED)
async def test_a_forged_event_that_opens_is_read_and_hides_no_other(
    written: Written, worker: Database, body: dict[str, object], said: str
) -> None:
    await put(written.database, t.compartment, uuid=COMPARTMENT)
    await written.write(written.chain(), [START, START + SECOND])
    await _insert(worker, _forged(written, **body))
    servicer: Any = AuditServicer(Audits({"accounts": _audited(written)}))
    listed = await servicer.ListEvents(None, pb.ListEventsRequest(compartment="accounts"))
    assert {event.request_id for event in listed.events} == {"r0", "r1", "forged"}
    summed = await servicer.Summarize(None, pb.SummarizeRequest(compartment="accounts"))
    assert sum(its.count for its in summed.counts) >= 3
    opened = b"".join([line async for line in opened_lines(written.reader, "accounts", {})])
    assert re.search(re.escape(said), opened.decode())


# Who may only insert can't crowd out what others wrote.


async def test_events_that_do_not_open_come_last(written: Written, worker: Database) -> None:
    await written.write(written.chain(), [START + i * MINUTE for i in range(30)])
    await _insert(worker, *(replace(PLAIN, sequence=n) for n in range(3000)))
    for since in (None, START + 25 * MINUTE):
        found, _ = await _audited(written).page(Filter(since=since), 20, "")
        true = [e for e in found if not e.damaged]
        assert len(true) == (20 if since is None else 5)
        assert found[: len(true)] == true


async def test_events_that_do_not_open_are_of_the_time_of_those_before_them(
    written: Written, worker: Database
) -> None:
    chain = written.chain()
    await written.write(chain, [START + i * MINUTE for i in range(30)])
    forged = [replace(PLAIN, writer=chain._writer, sequence=30 + n) for n in range(700)]
    await _insert(worker, *forged)
    old = Span(START, START + 10 * MINUTE)
    assert [e.damaged for e in await written.read(old, 7)] == [False] * 10
    new = await written.read(span(START + 25 * MINUTE, None), 300)
    assert [e.damaged for e in new] == [True] * 700 + [False] * 5


async def test_a_page_goes_on_behind_the_last_sequences(written: Written, worker: Database) -> None:
    await written.write(written.chain(), [START, START + SECOND])
    await _insert(worker, *(replace(PLAIN, sequence=2**63 - n) for n in range(1, 6)))
    found = await _listed(_audited(written), 1, Filter())
    assert len(found) == 7
    assert [e.body.request_id for e in found[:2]] == ["r1", "r0"]

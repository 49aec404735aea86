"""The same moves with a defence off: they succeed, so it is the defence that stops them.

A worker of accounts in this process, where a defence can be taken out, beside the one that runs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc
import piivault
import pytest
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests.attack.attempts import CONTROL, Attempts, Wall
from tests.attack.rows import Rows
from tests.people import raw
from tests.split import SplitHouse
from tests.wire import open_channel, send
from vault.crypto import envelope
from vault.crypto.envelope import Kind
from vault.crypto.primitives import join
from vault.dev.local import serving
from vault.names import Pseudonym
from vault.service import find
from vault.store import tables as t


@contextmanager
def worker_here(house: SplitHouse, identity: str) -> Iterator[grpc.Channel]:
    """Run a worker of accounts in this process; yield a channel to it."""
    settings = house.settings_of("worker-accounts", SERVER__ADDRESS="127.0.0.1:0")
    with serving(settings) as port:
        channel = open_channel(f"127.0.0.1:{port}", house.tls(identity))
        yield channel
        channel.close()


def test_without_the_address_in_the_seal_a_moved_record_opens(
    split_house: SplitHouse,
    rows: Mapping[str, Rows],
    attempts: Attempts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One subject's row and data key in the place of another's: read as the other's."""
    house, database, joined = split_house, rows["accounts"], join

    def addressless(kind: bytes, *place: bytes) -> bytes:
        return joined(kind, *place) if kind == Kind.AUDIT.value else joined(kind)

    monkeypatch.setattr(envelope, "join", addressless)
    roots = [piivault.new_root() for _ in range(2)]
    here, there = (house.issue(root, "accounts") for root in roots)
    sent = [house.registration(root=root) for root in roots]
    view = subjects.ViewRequest(compartment="accounts", capability=here.capability)
    with worker_here(house, "portal") as worker:
        for request in sent:
            send(worker, request)
        place, source = (Pseudonym.parse(issued.pseudonym).raw for issued in (here, there))
        changes = []
        for table in (t.records, t.data_keys):
            ((old,), (new,)) = (database.all(table, pseudonym=p) for p in (place, source))
            changes.append((table, old, {**new, "pseudonym": place}))
        with database.changed(*changes):
            shown = {field.name: field.value for field in send(worker, view).fields if field.value}
        for root in roots:  # nobody else can open them
            house.client("portal").subject(root).erase("accounts")
    assert shown == {field.name: field.value for field in sent[1].fields}
    assert shown != {field.name: field.value for field in sent[0].fields}
    attempts.record(Wall.CIPHERTEXT, "move a record", "no address in the seal", CONTROL)


def test_without_asking_the_record_find_names_whom_the_index_says(
    split_house: SplitHouse,
    rows: Mapping[str, Rows],
    attempts: Attempts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An index row pointed at somebody else."""

    def believed(*_: object) -> bool:
        return True

    monkeypatch.setattr(find, "_holds", believed)
    one, other = split_house.register(), split_house.register()
    email = split_house.edition.compartment("accounts").fields["email"].uid
    (row,) = rows["accounts"].all(t.blind_index, pseudonym=raw(one), field=email)
    field = types_pb2.FieldValue(name="email", value=one.values["email"])
    request = records.FindRequest(compartment="accounts", purpose="account", field=field)
    pointed = {**row, "pseudonym": raw(other)}
    with (
        worker_here(split_house, "support") as worker,
        rows["accounts"].changed((t.blind_index, row, pointed)),
    ):
        assert send(worker, request).pseudonyms == [other.pseudonym]
    attempts.record(
        Wall.CIPHERTEXT, "point an index row at another", "the record isn't asked", CONTROL
    )

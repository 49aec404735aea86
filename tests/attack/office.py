"""What the attacks on the API, on editions and on the control chain share: officers and actors.

    office = Office(split_house)
    office.settle()                                  # an edition with all actors is in force
    office.ask("worker-web", "clerk-web", request)   # any process, as any service
    office.approve(EDITION, office.draft(("old", "new")).encode(), "aida")

Editions only add to the one before: what other tests of the house rely on stays as it was.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import uuid4

import grpc
import pytest
import yaml
from google.protobuf.message import Message
from piivault import TLS
from piivault.v1 import policy_service_pb2 as policies
from piivault.v1 import pseudonym_service_pb2 as pseudonyms
from piivault.v1 import record_service_pb2 as records

from tests import wire
from tests.policies import successor
from tests.split import SplitHouse
from tests.wire import PATIENCE, Refusal
from vault.dev import certificates
from vault.dev.layout import Layout
from vault.dev.local import officer_signs
from vault.opening import officer_keys
from vault.service.ledger import EDITION, Entry, Ledger, statement
from vault.store.control import ControlChain
from vault.store.engine import connect

COMPARTMENTS = ("accounts", "enterprises", "orders", "web")
PURPOSE = {"accounts": "services", "enterprises": "account", "orders": "services",
           "web": "statistics"}  # fmt: skip
INDEXED = {"accounts": "phone", "enterprises": "phone"}
FIELD = {"accounts": "phone", "enterprises": "name", "orders": "address", "web": "user_agent"}
KIOSK = "kiosk"  # a second subject-facing service
T = TypeVar("T")


def owner(name: str, ident: object = None) -> str:
    """Write an owner as an edition has it."""
    title = f"{{ky: {name}, ru: {name}, en: {name}}}"
    return f"  {name}: {{id: {ident or uuid4()}, title: {title}}}\n"


def service(name: str, of: str, *, spiffe: str = "", facing: bool = False) -> str:
    """Write a service as an edition has it."""
    what = ", subject_facing: true" if facing else ""
    return f"  {name}: {{owner: {of}, spiffe: {spiffe or spiffe_of(name)}{what}}}\n"


def grant(name: str, compartment: str, *operations: str, purpose: str = "") -> str:
    """Write a grant as an edition has it; for reveal, if no operations are given."""
    done = ", ".join(operations or ("reveal",))
    where = f"purpose: {purpose or PURPOSE[compartment]}, compartment: {compartment}"
    return f"  - {{service: {name}, {where}, operations: [{done}]}}\n"


def pair(one: str, other: str) -> str:
    """Write a joinable pair as an edition has it."""
    return f"  - between: [{one}, {other}]\n    reason: {{ky: себеп, ru: причина, en: a reason}}\n"


def adding(**sections: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the changes that put more into sections: owners=[…], services=[…], grants=[…]."""
    return tuple((f"\n{k}:\n", f"\n{k}:\n{''.join(lines)}") for k, lines in sections.items())


def spiffe_of(name: str) -> str:
    """Return a service's SPIFFE id."""
    return f"spiffe://oshto.kg/{name}"


def at_once(calls: Sequence[Callable[[], T]], threads: int = 16) -> list[T]:
    """Make calls at the same time, and return what they return, in order."""
    with ThreadPoolExecutor(min(threads, len(calls))) as pool:
        return [waiting.result() for waiting in [pool.submit(call) for call in calls]]


class Office:
    """Officers, and callers of our own making, of a house whose processes are apart."""

    def __init__(self, house: SplitHouse) -> None:
        self.house = house
        self._tls: dict[str, TLS] = {}
        self._channels: dict[tuple[str, str], grpc.Channel] = {}
        self._known = Ledger(self.officers())  # as it was read last: to follow anew takes long

    def close(self) -> None:
        """Close every way that was opened."""
        for channel in self._channels.values():
            channel.close()

    # Who calls.

    def tls(self, name: str, spiffe: str = "") -> TLS:
        """Have the house's own authority issue a certificate, once a name."""
        if name not in self._tls:
            layout = Layout(self.house.state)
            file = f"attack-{name}"
            admin = self.house.running.admin
            certificates.issue_client(layout, admin, file, spiffe or spiffe_of(name))
            parts = [layout.path("certificates", f"{file}.{kind}") for kind in ("pem", "key")]
            self._tls[name] = TLS(self.house.running.ca, *parts)
        return self._tls[name]

    def channel(self, process: str, name: str) -> grpc.Channel:
        """Return a channel to a process: for a service of ours, or for one of the example."""
        if name in self.house.running.environments:
            return self.house.channel_to(process, name)
        if (process, name) not in self._channels:
            address = self.house.running.servers[process].address
            self._channels[process, name] = wire.open_channel(address, self.tls(name))
        return self._channels[process, name]

    def ask(self, process: str, name: str, request: Message) -> Any:
        """Send a request to a process, whatever it serves. Raises grpc.RpcError."""
        return wire.send(self.channel(process, name), request)

    def refused(self, process: str, name: str, request: Message) -> Refusal:
        """Send a request that must be refused."""
        return wire.refused(self.channel(process, name), request)

    def told(self, process: str, name: str, request: Message) -> str:
        """Return the reason of the refusal, or "" if there is none."""
        try:
            self.ask(process, name, request)
        except grpc.RpcError as error:
            return wire.refusal_of(error).reason
        return ""

    def issue(self, name: str, root: bytes, compartment: str) -> pseudonyms.IssueResponse:
        """Return what the broker issues to a service."""
        request = pseudonyms.IssueRequest(compartment=compartment, root_id=root)
        answer: pseudonyms.IssueResponse = self.ask("broker", name, request)
        return answer

    # What officers do.

    def newest(self) -> str:
        """Return the text of the edition that was published last."""
        first = self.house.ask("officer-aida", policies.GetEditionRequest())
        request = policies.GetEditionRequest(number=first.newest)
        return str(self.house.ask("officer-aida", request).document)

    def draft(self, *changes: tuple[str, str]) -> str:
        """Write an edition that follows the newest one."""
        return successor(self.newest(), *changes)

    def sign(self, kind: str, body: bytes, *officers: str) -> dict[str, bytes]:
        """Sign as officers of the house."""
        signed = statement(kind, body)
        return {name: officer_signs(self.house.running, name)(signed) for name in officers}

    def approval(self, kind: str, body: bytes, officer: str) -> policies.ApproveRequest:
        """Write the request by which an officer approves."""
        (signature,) = self.sign(kind, body, officer).values()
        return policies.ApproveRequest(kind=kind, body=body, officer=officer, signature=signature)

    def approve(self, kind: str, body: bytes, *officers: str) -> policies.ApproveResponse:
        """Have officers approve, each by themselves; return what became of it at last."""
        for name in officers:
            answer = self.house.ask(f"officer-{name}", self.approval(kind, body, name))
        done: policies.ApproveResponse = answer
        return done

    def publish(self, text: str, *officers: str) -> None:
        """Publish an edition, by one officer or by as many as are named."""
        assert self.approve(EDITION, text.encode(), *(officers or ("aida",))).effective

    def refusal(self, text: str) -> str:
        """Return what an officer is told who publishes what must not be: a list of faults."""
        with pytest.raises(grpc.RpcError) as caught:
            self.approve(EDITION, text.encode(), "aida")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        return str(caught.value.details())

    def settle(self) -> None:
        """See to it that an edition with all actors is in force at every process."""
        if "clerk-accounts" not in self.newest():
            self.publish(self.draft(*_ACTORS))
        self.wait()

    def wait(self) -> None:
        """Return once every process has the newest edition."""
        number = yaml.safe_load(self.newest())["edition"]

        def caught_up() -> bool:
            try:
                self.issue(KIOSK, bytes(16), "web")
                return all(self._edition_at(name) == number for name in COMPARTMENTS)
            except grpc.RpcError:
                return False

        deadline = time.monotonic() + PATIENCE
        while not caught_up():
            assert time.monotonic() < deadline, "a process doesn't follow the control chain"
            time.sleep(0.05)

    def _edition_at(self, compartment: str) -> int:
        request = records.DescribeRequest(compartment=compartment, purpose=PURPOSE[compartment])
        return int(self.ask(f"worker-{compartment}", f"clerk-{compartment}", request).edition)

    # What an administrator of the control database does.

    def chain(self) -> list[Entry]:
        """Return the control chain as it is stored."""

        async def read() -> list[Entry]:
            database = connect(self.house.running.owner_urls["control"])
            try:
                rows = await ControlChain(database).since(0)
            finally:
                await database.close()
            return [Entry(r.sequence, r.previous, r.kind, r.body, r.signatures) for r in rows]

        return asyncio.run(read())

    def write_chain(self, entries: Iterable[Entry]) -> None:
        """Put another chain in its place, in one transaction."""
        self._insert(entries, "DELETE FROM chain")

    def append(self, *what: tuple[str, bytes, bytes]) -> None:
        """Write entries (kind, body, signatures) behind the last one, well linked."""
        known = self.chain()
        new = [Entry(0, b"", kind, body, signatures) for kind, body, signatures in what]
        self._insert(rehashed([*known, *new])[len(known) :])

    def _insert(self, entries: Iterable[Entry], *before: str) -> None:
        rows = [
            f"({e.sequence}, '\\x{e.previous.hex()}', '{e.kind}', "
            f"'\\x{e.body.hex()}', '\\x{e.signatures.hex()}')"
            for e in entries
        ]
        put = [f"INSERT INTO chain VALUES {', '.join(rows)}"] if rows else []
        self.house.sql_as("piivault_owner", *before, *put, database="piivault_control")

    def officers(self) -> Mapping[str, bytes]:
        """Return the officers' public keys, as every process pins them."""
        return officer_keys(self.house.settings_of("broker"))

    def ledger(self) -> Ledger:
        """Return what the control chain says to whoever reads it now."""
        entries, known = self.chain(), self._known
        there = entries[known.sequence - 1 : known.sequence] if known.sequence else []
        if not there or there[0].hash != known.head:
            known = Ledger(self.officers())
        self._known = known.follow(entries[known.sequence :])
        return self._known


def rehashed(entries: Iterable[Entry]) -> list[Entry]:
    """Link entries anew, as they stand: hashes have no key, so anybody can."""
    linked: list[Entry] = []
    for entry in entries:
        previous = linked[-1].hash if linked else bytes(32)
        last = linked[-1].sequence if linked else 0
        linked.append(Entry(last + 1, previous, entry.kind, entry.body, entry.signatures))
    return linked


# A service for each compartment, with all that its purpose allows, and owners that share nothing.
_CLERKS = {name: f"clerk-{name}" for name in COMPARTMENTS}
_ACTORS = adding(
    owners=[owner("kiosks"), *(owner(f"clerks-{c}") for c in _CLERKS)],
    services=[
        service(KIOSK, "kiosks", facing=True),
        *(service(name, f"clerks-{c}") for c, name in _CLERKS.items()),
    ],
    grants=[
        grant(name, c, "reveal", "put", *(("find",) if c in INDEXED else ()))
        for c, name in _CLERKS.items()
    ],
)

"""What the attacks on the API, on editions and on the control chain share: officers and actors.

    actors = Actors(split_house)
    actors.settle()                                  # an edition with all actors is in force
    actors.ask("worker-web", "clerk-web", request)   # any process, as any service
    actors.publish(actors.draft(("old", "new")))
    actors.chain.append((BLOCK, body, signatures))   # as the control database's administrator

Editions only add to the one before: what other tests of the house rely on stays as it was.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import uuid4

import grpc
import pytest
import yaml
from google.protobuf.message import Message
from piivault import TLS, errors
from piivault.v1 import policy_service_pb2 as policies
from piivault.v1 import pseudonym_service_pb2 as pseudonyms
from piivault.v1 import record_service_pb2 as records

from tests import wire
from tests.attack.chain import Chain
from tests.officers import Officers
from tests.people import COMPARTMENTS, NOBODY
from tests.split import SplitHouse
from tests.wire import PATIENCE, Refusal
from vault.dev import certificates
from vault.dev.layout import Layout
from vault.rpc.status import DETAILS
from vault.service.ledger import EDITION

PURPOSE = {"accounts": "services", "enterprises": "account", "orders": "services",
           "web": "statistics"}  # fmt: skip
INDEXED = {"accounts": "phone", "enterprises": "phone"}
FIELD = {"accounts": "phone", "enterprises": "name", "orders": "address", "web": "user_agent"}
KIOSK = "kiosk"  # a second subject-facing service
REVEAL = "/piivault.v1.RecordService/Reveal"
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


def reveal(compartment: str, pseudonym: str = NOBODY) -> records.RevealRequest:
    """Write what the clerk of a compartment may ask."""
    return records.RevealRequest(
        compartment=compartment, purpose=PURPOSE[compartment], pseudonym=pseudonym,
        fields=[FIELD[compartment]])  # fmt: skip


def told_with(channel: grpc.Channel, request: Message, *metadata: tuple[str, str | bytes]) -> str:
    """Send a Reveal with metadata; return the reason of the refusal, the transport's too."""
    call: Any = channel.unary_unary(REVEAL)
    try:
        call(request.SerializeToString(), timeout=PATIENCE, metadata=metadata)
    except grpc.RpcError as e:
        error: Any = e
        if dict(error.trailing_metadata() or ()).get(DETAILS):
            return wire.refusal_of(error).reason
        return str(error.code().name)
    return ""


def at_once(calls: Sequence[Callable[[], T]], threads: int = 16) -> list[T]:
    """Make calls at the same time, and return what they return, in order."""
    with ThreadPoolExecutor(min(threads, len(calls))) as pool:
        return [waiting.result() for waiting in [pool.submit(call) for call in calls]]


class Actors(Officers):
    """Officers, and callers of our own making, of a house whose processes are apart."""

    house: SplitHouse

    def __init__(self, house: SplitHouse) -> None:
        super().__init__(house)
        self.chain = Chain(house)
        self._tls: dict[str, TLS] = {}
        self._channels: dict[tuple[str, str], grpc.Channel] = {}

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
        return wire.reason_of(self.channel(process, name), request)

    def issue(self, name: str, root: bytes, compartment: str) -> pseudonyms.IssueResponse:
        """Return what the broker issues to a service."""
        request = pseudonyms.IssueRequest(compartment=compartment, root_id=root)
        answer: pseudonyms.IssueResponse = self.ask("broker", name, request)
        return answer

    # What officers do.

    def approval(self, kind: str, body: bytes, officer: str) -> policies.ApproveRequest:
        """Write the request by which an officer approves."""
        (signature,) = self.sign(kind, body, officer).values()
        return policies.ApproveRequest(kind=kind, body=body, officer=officer, signature=signature)

    def refusal(self, text: str) -> str:
        """Return what an officer is told who publishes what must not be: a list of faults."""
        with pytest.raises(errors.InvalidRequest) as caught:
            self.approve(EDITION, text.encode(), "aida")
        return str(caught.value)

    def settle(self) -> None:
        """See to it that an edition with all actors is in force at every process."""
        if "clerk-accounts" not in self.newest():
            self.publish(self.draft(*_ACTORS), "aida", "bakyt")  # one faces subjects
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

        wire.wait_for(caught_up, what="every process follows the control chain")

    def _edition_at(self, compartment: str) -> int:
        request = records.DescribeRequest(compartment=compartment, purpose=PURPOSE[compartment])
        return int(self.ask(f"worker-{compartment}", f"clerk-{compartment}", request).edition)


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

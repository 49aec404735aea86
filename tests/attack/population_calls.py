"""What the population does, as calls: by the guard's door, at simulated times.

Calls enter the guard as bytes, as gRPC hands them over, but without a network between: so there
are ten thousand in seconds, and all that a server logs is logged.
"""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf import message_factory
from google.protobuf.message import Message
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2 as types

from tests.attack.population import BEGAN, YEARS, Act, Person, Session
from tests.house import POLICY
from tests.people import COMPARTMENTS
from tests.wire import METHODS
from vault.audit import event as audit_event
from vault.crypto import capability
from vault.names import Pseudonym
from vault.policy import compile_edition, notices
from vault.rpc.guard import Guard
from vault.rpc.records import RecordServicer
from vault.rpc.subjects import SubjectServicer
from vault.service import compartment, consents, erase, repeating, requests
from vault.service.call import PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.house import House
from vault.store.lookups import Lookups

EDITION = compile_edition(POLICY.read_text(encoding="utf-8"))

_now: ContextVar[float] = ContextVar("now", default=float(BEGAN))
_worker: ContextVar[str] = ContextVar("worker", default="")


class Refused(Exception):
    """What gRPC's `abort` ends a call with."""


class Connection:
    """A call as gRPC tells the guard of it: the peer's certificate and the request id."""

    def __init__(self, spiffe: str, request_id: str) -> None:
        self._spiffe, self._request_id = spiffe, request_id

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return (("piivault-request-id", self._request_id),)

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {"peer_spiffe_id": [self._spiffe.encode()]}

    def time_remaining(self) -> float | None:
        return None

    def cancelled(self) -> bool:
        return False

    def set_trailing_metadata(self, _metadata: object) -> None:
        pass

    async def abort(self, _code: object, message: str, _metadata: object) -> None:
        raise Refused(message)


class Workers:
    """Workers of all compartments, behind the guard."""

    def __init__(
        self, served: Mapping[str, ServedCompartment], policy: PolicyState, editions: Editions
    ) -> None:
        guard = Guard(lambda: policy, {}, 60.0)
        house = House(editions, served, None, None, None)
        by_name = {"RecordService": RecordServicer(house), "SubjectService": SubjectServicer(house)}
        self._handlers: dict[str, Any] = {}
        for path, method in METHODS.items():
            servicer = by_name.get(method.containing_service.name)
            if servicer is not None:
                kind: Any = message_factory.GetMessageClass(method.input_type)
                handler = guard.unary(path, kind, getattr(servicer, method.name), guard.call)
                self._handlers[method.input_type.full_name] = handler.unary_unary

    async def ask(self, service: str, request: Any, request_id: str) -> None:
        """Send a request; raise Refused."""
        _worker.set(request.compartment)
        connection = Connection(EDITION.services[service].spiffe, request_id)
        handler = self._handlers[request.DESCRIPTOR.full_name]
        await handler(request.SerializeToString(), connection)


class Signer:
    """Signs capabilities in the broker's place, under a key that workers are told to pin."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def capability(self, compartment: str, pseudonym: bytes) -> str:
        """Let the portal act for a subject, longer than the simulation lasts."""
        holder = EDITION.services["portal"].spiffe
        uuid_ = EDITION.compartment(compartment).uuid
        issued = capability.Capability(uuid_, Pseudonym(pseudonym), holder, BEGAN + 2 * YEARS)
        payload = issued.payload(self.public)
        return capability.encode(payload, self._key.sign(capability.to_sign(payload)))


class Simulation:
    """Carries out sessions, and remembers whose each request was."""

    def __init__(
        self, workers: Workers, issued: Mapping[str, Mapping[int, bytes]], signer: Signer
    ) -> None:
        self._workers, self._issued, self._signer = workers, issued, signer
        self._notices = {c: {n.purpose: n for n in notices(EDITION, c, "ky")} for c in COMPARTMENTS}
        self.whose: dict[str, int] = {}  # request id to person
        self.refused = 0

    async def visit(self, session: Session) -> None:
        """Carry out a session: every act at its own second, in the order given."""
        for second, act in enumerate(session.acts):
            _now.set(session.at + second + random.random())
            try:
                await self._act(session.person, act)
            except Refused:
                if act.operation != "grant":
                    self.refused += 1
                    continue
                # It was swept meanwhile: so they come back.
                await self._act(session.person, Act("register", act.compartment, act.what))

    async def _act(self, person: Person, act: Act) -> None:
        request_id = str(uuid.uuid4())
        self.whose[request_id] = person.number
        request = self._request(person, act)
        await self._workers.ask(act.service or "portal", request, request_id)

    def _request(self, person: Person, act: Act) -> Message:
        name, raw = act.compartment, self._issued[act.compartment][person.number]
        if act.operation == "reveal":
            purpose, *fields = act.what
            return records.RevealRequest(
                compartment=name, purpose=purpose, pseudonym=str(Pseudonym(raw)), fields=fields
            )
        capability_ = self._signer.capability(name, raw)
        its: dict[str, Any] = {"compartment": name, "capability": capability_}
        match act.operation:
            case "register":
                kind = types.SUBJECT_KIND_PERSON
                if name == "enterprises":
                    kind = types.SUBJECT_KIND_ENTERPRISE
                fields_ = _fields(person.values[name])
                agreed = self._consents(name, act.what)
                return subjects.RegisterRequest(**its, kind=kind, fields=fields_, consents=agreed)
            case "grant":
                return subjects.GrantConsentRequest(**its, consents=self._consents(name, act.what))
            case "withdraw":
                return subjects.WithdrawConsentRequest(**its, purposes=act.what)
            case "put":
                fields_ = _fields({act.what[0]: act.what[1]})
                return subjects.SubjectServicePutRequest(**its, fields=fields_)
        return subjects.EraseRequest(**its)

    def _consents(self, compartment: str, purposes: Sequence[str]) -> list[types.Consent]:
        shown = (self._notices[compartment][purpose] for purpose in purposes)
        return [
            types.Consent(
                purpose=n.purpose, edition=n.edition, language=n.language, notice_digest=n.digest
            )
            for n in shown
        ]


def _fields(values: Mapping[str, str]) -> list[types.FieldValue]:
    return [types.FieldValue(name=name, value=value) for name, value in values.items()]


class _Time:
    """The module `time`, at the simulated moment of the task that asks."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def time() -> float:
        return _now.get()

    @staticmethod
    def time_ns() -> int:
        return int(_now.get() * 1e9)


class _Datetime(datetime):
    """The class `datetime`, at the simulated moment of the task that asks."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # one moment
        return datetime.fromtimestamp(_now.get(), tz)


@contextmanager
def simulated_time() -> Iterator[None]:
    """Have records, events, marks, consents and the sweeper live in simulated time."""

    async def now(_self: Lookups) -> datetime:
        return datetime.fromtimestamp(_now.get(), UTC)

    with pytest.MonkeyPatch.context() as patch:
        for module in (compartment, repeating, audit_event):
            patch.setattr(module, "time", _Time)
        for module in (consents, erase, requests):
            patch.setattr(module, "datetime", _Datetime)
        patch.setattr(Lookups, "now", now)
        yield


def set_clock(at: float) -> None:
    """Set the simulated moment of this task, and of those that it starts."""
    _now.set(at)


class Log(logging.Handler):
    """Each worker's log, as the operators keep it: a dated line a call."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: dict[str, list[str]] = {name: [] for name in COMPARTMENTS}

    def emit(self, record: logging.LogRecord) -> None:
        date = datetime.fromtimestamp(_now.get(), UTC).isoformat(timespec="milliseconds")
        line = f"{date} {record.levelname} {record.name} {record.getMessage()}"
        self.lines.get(_worker.get(), []).append(line)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep all that piivault logs while this lasts."""
        logger = logging.getLogger("piivault")
        level, propagate = logger.level, logger.propagate
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(level)
            logger.propagate = propagate


async def side_by_side(tasks: Sequence[Any]) -> None:
    """Await all of them, started in this order."""
    await asyncio.gather(*tasks)
